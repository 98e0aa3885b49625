"""Rules of what a monitor calls drift and decay, and of what it must never call so."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import catalog
from pipelines.catalog import Decay, ModelSpec
from pipelines.contracts import Cause, DecayFinding, EvergreenError, NothingToDo, as_json
from pipelines.gate.intervals import Improvement, improvement
from pipelines.monitoring.decay import at_gate, compared, decay, decay_of_given, held_out
from pipelines.monitoring.monitor import monitor, signal
from pipelines.monitoring.moved import Moved
from pipelines.monitoring.moved import moved as moved_columns
from pipelines.monitoring.pages import drift as drift_page
from pipelines.monitoring.pages.drift import Drawn
from pipelines.monitoring.samples import MOST
from pipelines.settings import PROJECT
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import MODEL_FILE
from pipelines.training.answers import answers
from tests.logged import logged
from tests.retrainings import HOUR, MODEL, NOW
from tests.training_sets import AS_OF, FEATURE, arrived, frame, spec

LATER = AS_OF + timedelta(days=28)


def model(margin: float = 0.05, drift_share: float = 0.5, **rule: object) -> ModelSpec:
    small = spec()
    watch = {"decay": Decay(margin=margin, **rule), "drift_share": drift_share}
    return small.model_copy(update={"monitor": small.monitor.model_copy(update=watch)})


def judged(stores: Stores, current: pd.DataFrame, of: ModelSpec | None = None) -> DecayFinding:
    champion = stores.tracking.champion(MODEL)
    loaded = stores.tracking.load(MODEL, champion.version)
    asked = of or model()
    return decay(asked, champion, loaded, current, at_gate(asked, champion, loaded, stores))


def test_a_champion_whose_truth_turned_round_has_decayed(watched: Stores) -> None:
    flipped = arrived(2000)
    flipped["label"] = 1 - flipped["label"]
    found = judged(watched, flipped)
    assert found.decayed
    assert found.low > 0.05
    assert found.since > found.at_gate
    assert "version 1's log_loss is" in found.explanation


@pytest.mark.parametrize("seed", range(5))
def test_a_champion_whose_feature_tells_nothing_any_more_has_decayed(watched: Stores, seed: int) -> None:
    assert judged(watched, arrived(2000, seed, signal=0.0)).decayed


@pytest.mark.parametrize("days", [3, 5, 7])
def test_the_fewest_days_that_are_judged_are_enough_to_find_a_champion_that_turned_round(
    watched: Stores, days: int
) -> None:
    rows = arrived(8000)
    begun = rows["event_timestamp"].dt.floor("D")
    few = rows[begun.isin(sorted(begun.unique())[1 : days + 1])].reset_index(drop=True)
    flipped = judged(watched, few.assign(label=1 - few["label"]))
    assert (few["event_timestamp"].dt.floor("D").nunique(), model().monitor.decay.minimum_days) == (days, 3)
    assert (flipped.decayed, flipped.rows) == (True, len(few))
    assert not judged(watched, few).decayed


@pytest.mark.parametrize("rows", [500, 2000, 8000])
def test_an_equal_champion_has_not_decayed(watched: Stores, rows: int) -> None:
    found = [judged(watched, arrived(rows, seed)) for seed in range(20)]
    assert not any(finding.decayed for finding in found)
    assert all(finding.rows == rows for finding in found)


def test_without_any_margin_an_equal_champion_is_seldom_called_decayed(watched: Stores) -> None:
    called = [judged(watched, arrived(2000, seed), model(margin=0.0)).decayed for seed in range(60)]
    assert sum(called) <= 5


@pytest.mark.parametrize("days", [3, 5, 7])
def test_weather_that_comes_and_goes_by_the_day_is_seldom_called_decay(days: int) -> None:
    """2.5% may be; 200 trials of 2.5% exceed 12 in one case of 200."""
    draw, rule = np.random.default_rng(days), Decay(margin=0.0)

    def week(count: int) -> Improvement:
        day = np.repeat(np.arange(count), 100)
        lost = 0.5 + draw.normal(0, 0.08, count)[day] + draw.normal(0, 0.5, len(day))
        return improvement(np.zeros_like(lost), lost, day, rule.confidence)

    assert sum(compared(rule, 1, week(7), week(days), 1).decayed for _ in range(200)) <= 12


def test_the_loss_at_the_gate_is_the_one_the_gate_wrote_down(watched: Stores) -> None:
    record = json.loads((watched.settings.home / "decisions" / MODEL / "1.json").read_text())
    found = judged(watched, arrived(1000))
    assert found.at_gate == pytest.approx(record["metrics"]["candidate"]["log_loss"])
    assert len(held_out(spec(), watched.tracking.champion(MODEL), watched)) == record["rows"]


@pytest.mark.parametrize(
    ("rows", "of", "said"),
    [
        (0, model(), r"0 rows on 0 days .* 500 on 3 needed"),
        (499, model(), r"499 rows on \d+ days .* 500 on 3 needed"),
        (2000, model(minimum_days=60), r"2,000 rows on \d+ days .* 500 on 60 needed"),
    ],
)
def test_too_few_rows_or_days_judge_nothing_however_bad_they_look(
    watched: Stores, rows: int, of: ModelSpec, said: str
) -> None:
    flipped = arrived(max(rows, 1)).head(rows)
    flipped["label"] = 1 - flipped["label"]
    found = judged(watched, flipped, of)
    assert not found.decayed
    assert re.search(said, found.explanation)


def test_rows_the_gate_or_the_training_saw_are_not_judged_again(watched: Stores) -> None:
    """Right after a promotion the window holds the gate's own rows, which can tell nothing new."""
    old = frame(4000, 0, 2.0)
    old["label"] = 1 - old["label"]
    found = judged(watched, old)
    assert (found.decayed, found.rows) == (False, 0)
    assert "not judged" in found.explanation


def test_a_spec_without_a_rule_for_decay_judges_none(watched: Stores) -> None:
    small = spec()
    without = small.model_copy(update={"monitor": small.monitor.model_copy(update={"decay": None})})
    assert "no monitor.decay" in judged(watched, arrived(2000, signal=0.0), without).explanation


def moved(rows: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The rows with some columns shifted far or turned into one value."""
    for name in columns:
        number = pd.api.types.is_numeric_dtype(rows[name])
        rows[name] = rows[name] * 3 + 5 if number else rows[name].iloc[0]
    return rows


def test_drift_is_called_when_the_share_of_moved_columns_reaches_the_spec(
    watched: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Evidently draws of it is asked elsewhere."""
    monkeypatch.setattr(drift_page, "_compared", lambda *_: (drift_page.PLAIN, {}, None, None))
    columns = ("distance", "origin_congestion__mean_departure_delay_1h", "carrier", "origin")
    old = frame(2000, 0, 2.0)
    none = monitor(model(), LATER, watched, old, arrived(2000))
    some = monitor(model(), LATER, watched, old, moved(arrived(2000), *columns[:1]))
    most = monitor(model(), LATER, watched, old, moved(arrived(2000), *columns))
    assert (none.drifted, some.drifted, most.drifted) == (False, False, True)
    assert 0 == none.drift_share < some.drift_share < most.drift_share
    assert [each.column for each in some.findings if each.moved and each.family == "input"] == ["distance"]
    for report in (none, some):
        signal(report, NOW + HOUR, watched)
    assert Cause.DRIFT not in {s.cause for s in watched.signals.pending(MODEL)}
    signal(most, NOW + HOUR, watched)
    assert Cause.DRIFT in {s.cause for s in watched.signals.pending(MODEL)}
    assert Path(most.html).exists()


def test_every_row_is_tested_and_counted_and_only_what_is_drawn_is_a_sample(
    watched: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Drawn] = []
    monkeypatch.setattr(drift_page, "_compared", lambda _, each, *__: (
        drawn.append(each), (drift_page.PLAIN, {}, None, None))[1])  # fmt: skip
    tested: list[Moved] = []

    def also(*asked: object) -> Moved:
        tested.append(moved_columns(*asked))
        return tested[-1]

    monkeypatch.setattr("pipelines.monitoring.monitor.moved", also)
    old, new = frame(7000, 0, 2.0), arrived(9000)
    new["origin_weather__visib"] = new["origin_weather__visib"].mask(np.arange(9000) % 3 == 0)
    report = monitor(model(), LATER, watched, old, new)
    assert (report.rows_reference, report.rows_current) == (7000, 9000)
    assert [(len(each.seen.old), len(each.seen.new)) for each in drawn] == [(MOST, MOST)] == [(5000, 5000)]
    [found] = tested
    assert found.window is not None
    assert found.reference is not None
    for name, column in found.reference.columns.items():
        sketch = found.window.of(name)
        assert (sketch.rows, sketch.missing) == (9000, new[name].isna().sum()), name
        assert column.counts.sum() == 7000, name
    apart = new["origin_weather__visib"].isna().mean() - old["origin_weather__visib"].isna().mean()
    assert report.columns["origin_weather__visib"] == pytest.approx(apart, abs=0.02)


def test_columns_that_go_together_as_they_did_not_are_told_in_report_and_page_and_ask_for_nothing(
    watched: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distance and congestion had nothing to do with each other; each alone has the values that it had."""
    monkeypatch.setattr(drift_page, "_compared", lambda *_: (drift_page.PLAIN, {}, None, None))
    old, new = frame(4000, 0, 2.0), arrived(4000)
    new["distance"] = np.sort(new["distance"])[new[DEAD].rank(method="first").astype(int) - 1]
    report = monitor(model(), LATER, watched, old, new)
    found = report.domain
    assert found is not None
    assert (found.told, set(found.columns[:2])) == (True, {"distance", DEAD})
    assert (len(found.past) >= 9, report.drifted, report.drift_share) == (True, False, 0.0)
    assert not any(
        each.moved for each in report.findings if each.column == "distance" and each.family == "input"
    )
    assert (
        "by all columns together the newest rows can be told from those at training, by "
        in report.explanation
    )
    body = Path(report.html).read_text()
    assert "All columns together" in body
    assert f"(AUC {found.auc:.2f}, {max(found.past):.2f} at most in {len(found.past)} past windows)" in body
    assert json.loads(Path(report.json).read_text())["domain"] == as_json(found)
    kept = watched.settings.home / "reports" / "monitor" / MODEL / f"domain_{report.version}.json"
    before = kept.read_bytes()
    again = monitor(model(), LATER + HOUR, watched, old, arrived(4000))
    assert again.domain is not None
    assert (again.domain.past, kept.read_bytes()) == (found.past, before)
    assert "all columns together" not in again.explanation or again.domain.told


def test_too_few_days_do_not_judge_all_columns_together_and_the_page_says_so(
    watched: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift_page, "_compared", lambda *_: (drift_page.PLAIN, {}, None, None))
    new = arrived(2000).assign(event_timestamp=pd.Timestamp(LATER) - timedelta(hours=3))
    report = monitor(model(), LATER, watched, frame(2000, 0, 2.0), new)
    assert report.domain is not None
    assert (report.domain.auc, report.domain.told) == (None, False)
    said = "All columns together are not judged: the window has rows of 1 days"
    assert said in Path(report.html).read_text()


DEAD = FEATURE


@pytest.mark.parametrize("how", ["nan", "NA", "absent"])
def test_a_dead_feed_does_not_stop_the_monitor_and_is_the_first_thing_it_says(
    watched: Stores, how: str
) -> None:
    current = moved(arrived(2000), "distance", "carrier", "origin", "dest")
    current[DEAD] = pd.Series(pd.NA, current.index, dtype="Float64") if how == "NA" else np.nan
    current = current.drop(columns=DEAD) if how == "absent" else current
    report = monitor(model(), LATER, watched, frame(2000, 0, 2.0), current)
    assert report.explanation.startswith(f"{DEAD} vanished: no value in the newest 2,000 rows; 100% had one")
    assert report.drifted
    assert report.columns[DEAD] == 1.0
    body = Path(report.html).read_text().partition("<body>")[2]
    assert 0 < body.index(DEAD) < 500
    assert next(iter(json.loads(Path(report.json).read_text()).items())) == ("vanished", report.vanished)
    signal(report, NOW + HOUR, watched)
    (drift, *_) = [s for s in watched.signals.pending(MODEL) if s.cause is Cause.DRIFT]
    assert drift.detail.startswith(f"{DEAD} vanished; ")


def test_a_report_comes_out_when_every_feed_is_dead_or_no_row_arrived(watched: Stores) -> None:
    old, inputs = frame(2000, 0, 2.0), ["carrier", "origin", "dest", "tailnum", "distance", DEAD]
    dead = arrived(2000).assign(**dict.fromkeys([*inputs, "origin_weather__visib"], np.nan))
    every = monitor(model(), LATER, watched, old, dead)
    assert every.drifted
    assert set(every.vanished) == {*inputs, "origin_weather__visib"}
    none = monitor(model(), LATER + HOUR, watched, old, arrived(10).head(0))
    assert (none.drifted, none.vanished, none.metrics) == (False, {}, {})
    assert "decay is not judged" in none.explanation
    assert all(Path(report.html).stat().st_size > 100 for report in (every, none))


def test_too_few_rows_are_neither_drift_nor_decay(watched: Stores) -> None:
    few = moved(arrived(150, signal=-2.0), "distance", "carrier", "origin", "dest")
    report = monitor(model(), LATER, watched, frame(2000, 0, 2.0), few)
    assert (report.drifted, report.decayed) == (False, False)
    assert "drift is not judged: 150 rows on one side, 200 needed" in report.explanation
    assert "decay is not judged: 150 rows" in report.explanation
    signal(report, NOW + HOUR, watched)
    assert watched.signals.pending(MODEL) == []


def test_a_decayed_champion_is_reported_and_its_signal_recorded_once(watched: Stores) -> None:
    report = monitor(model(), LATER, watched, frame(2000, 0, 2.0), arrived(2000, signal=-2.0))
    assert (report.drifted, report.decayed, report.version) == (False, True, 1)
    for minutes in (0, 30):
        signal(report, NOW + HOUR + timedelta(minutes=minutes), watched)
    (pending,) = watched.signals.pending(MODEL)
    assert (pending.cause, pending.version, pending.as_of) == (Cause.DECAY, 1, LATER)
    assert pending.recorded_at == NOW + HOUR
    signal(dataclasses.replace(report, as_of=LATER + HOUR), NOW + 2 * HOUR, watched)
    assert len(watched.signals.pending(MODEL)) == 2


def test_without_a_champion_there_is_nothing_to_watch(stores: Stores) -> None:
    with pytest.raises(NothingToDo, match="no champion to watch"):
        monitor(model(), LATER, stores, frame(300, 0, 2.0), arrived(300))


def test_a_champion_that_cannot_be_loaded_is_an_error_and_no_signal(watched: Stores) -> None:
    file = watched.tracking.file(watched.tracking.champion(MODEL))
    champion = dataclasses.replace(watched.tracking.champion(MODEL), digest="0" * 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(watched.tracking), "version", lambda *_: champion)
        patch.setattr(type(watched.tracking), "file", lambda *_: file)
        with pytest.raises(EvergreenError, match="changed after training"):
            monitor(model(), LATER, watched, frame(2000, 0, 2.0), arrived(2000, signal=-2.0))
    assert file.name == MODEL_FILE
    assert watched.signals.pending(MODEL) == []


def test_rows_of_the_gate_that_are_gone_are_an_error_that_names_the_remedy(watched: Stores) -> None:
    for path in (watched.settings.home / "training_sets" / MODEL).glob("*"):
        path.unlink()
    with pytest.raises(EvergreenError, match=f"evergreen train {MODEL} --as-of"):
        judged(watched, arrived(2000, signal=-2.0))


@pytest.fixture
def served(watched: Stores, monkeypatch: pytest.MonkeyPatch) -> tuple[Stores, pd.DataFrame]:
    """Stores with a champion, and flights whose labels land as they come."""
    rows = arrived(2000).drop_duplicates(["tailnum", "scheduled_departure"])

    def landed(_: ModelSpec, as_of: datetime, *__: object, **___: object) -> pd.DataFrame:
        return rows[rows["label_known_at"] <= pd.Timestamp(as_of)]

    monkeypatch.setattr("pipelines.training.training_set.labels", landed)
    return watched, rows


LONG = {"window": timedelta(days=40)}


def given(stores: Stores, current: pd.DataFrame, as_of: datetime = LATER, **rule: object) -> DecayFinding:
    champion = stores.tracking.champion(MODEL)
    of = model(**rule)
    of = of.model_copy(update={"monitor": of.monitor.model_copy(update=LONG)})
    loaded = stores.tracking.load(MODEL, champion.version)
    gate = at_gate(of, champion, loaded, stores)
    return decay_of_given(of, champion, loaded, current, gate, as_of, stores)


def champions(stores: Stores, rows: pd.DataFrame) -> np.ndarray:
    return answers(stores.tracking.load(MODEL, 1), rows)


def test_answers_as_good_as_at_the_gate_are_no_decay(served: tuple[Stores, pd.DataFrame]) -> None:
    stores, rows = served
    logged(stores, rows, champions(stores, rows))
    found = given(stores, rows)
    assert not found.decayed
    assert found.rows > 1500
    assert found.since == pytest.approx(found.at_gate, abs=0.05)


def test_answers_that_lose_more_than_at_the_gate_are_decay_if_the_champion_does(
    served: tuple[Stores, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    stores, rows = served
    flipped = rows.assign(label=1 - rows["label"])
    monkeypatch.setattr("pipelines.training.training_set.labels", lambda *_, **__: flipped)
    logged(stores, rows, champions(stores, rows))
    found = given(stores, flipped)
    assert found.decayed
    assert found.low > 0.05
    assert found.explanation.startswith("answers given: decayed: version 1's log_loss is")


def test_decay_of_the_answers_given_alone_is_a_signal(served: tuple[Stores, pd.DataFrame]) -> None:
    """Few of those questions are among the newest labelled rows, so that nothing speaks for the champion."""
    stores, rows = served
    logged(stores, rows, 1 - champions(stores, rows))
    elsewhere = arrived(2000, seed=11)
    of = model().model_copy(update={"monitor": model().monitor.model_copy(update=LONG)})
    report = monitor(of, LATER, stores, frame(2000, 0, 2.0), elsewhere)
    assert (report.decay.decayed, report.given.decayed, report.decayed) == (False, True, True)
    signal(report, NOW + HOUR, stores)
    (pending,) = stores.signals.pending(MODEL)
    assert (pending.cause, pending.detail) == (Cause.DECAY, report.given.explanation)


def test_answers_that_are_bad_where_the_champion_is_not_are_a_fault_of_features_and_no_decay(
    served: tuple[Stores, pd.DataFrame],
) -> None:
    stores, rows = served
    logged(stores, rows, 1 - champions(stores, rows))
    found = given(stores, rows)
    assert not found.decayed
    assert f"`evergreen parity {MODEL}`" in found.explanation


def test_answers_that_are_the_champions_own_stay_decay_where_the_same_questions_say_otherwise(
    served: tuple[Stores, pd.DataFrame],
) -> None:
    """None of those that were answered the wrong way round is asked again; the others were answered no worse then."""
    stores, rows = served
    right = champions(stores, rows)
    turned = np.arange(len(rows)) % 3 > 0
    logged(stores, rows, np.where(turned, 1 - right, right))
    assert given(stores, rows[~turned]).decayed
    assert not given(stores, rows).decayed


def test_degraded_answers_are_no_decay_however_bad_and_many(served: tuple[Stores, pd.DataFrame]) -> None:
    stores, rows = served
    right = champions(stores, rows)
    gone = np.arange(len(rows)) % 4 > 0
    logged(stores, rows, np.where(gone, 1 - right, right), gone)
    elsewhere = arrived(2000, seed=11)
    few = given(stores, elsewhere)
    assert not few.decayed
    assert re.search(
        r"answers of version 1 on \d+ days \(1,\d+ degraded ones left out\), 500", few.explanation
    )
    enough = given(stores, elsewhere, minimum_rows=200)
    assert not enough.decayed
    assert enough.rows == (~gone & (rows["label_known_at"] <= pd.Timestamp(LATER))).sum() > 400
    assert "degraded ones left out" in enough.explanation


def test_only_enough_answers_of_the_champion_since_its_training_whose_truth_is_known_count(
    served: tuple[Stores, pd.DataFrame],
) -> None:
    stores, rows = served
    none = given(stores, rows)
    assert "the truth is known of 0 answers of version 1 on 0 days, 500 on 3 needed" in none.explanation
    bad, elsewhere = 1 - champions(stores, rows), arrived(2000, seed=11)
    logged(stores, rows, bad, version=7)
    assert given(stores, elsewhere).rows == 0
    logged(stores, rows, bad)
    early = AS_OF + timedelta(days=10)
    known = rows["label_known_at"] <= pd.Timestamp(early)
    assert 200 < known.sum() < len(rows) - 200
    assert given(stores, elsewhere, early, minimum_rows=100).rows == known.sum()
    assert not given(stores, elsewhere, minimum_rows=len(rows) + 1).decayed
    assert not given(stores, elsewhere, minimum_days=60).decayed


def test_a_signal_of_the_monitor_wakes_the_retraining(tmp_path: Path) -> None:
    """The monitor's second task has the asset as its outlet, and the retraining's schedule listens to it."""
    script = """
import json
from airflow.dag_processing.dagbag import DagBag
bag = DagBag("dags").dags
retrain, monitor = bag["retrain_flight_delays"], bag["monitor_flight_delays"]
woken = sorted(asset.name for asset in retrain.timetable.asset_condition.objects)
outlets = {task.task_id: [asset.name for asset in task.outlets] for task in monitor.tasks}
print(json.dumps([woken, outlets]))
"""
    outside = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    paths = {"PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")])}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=os.environ | outside | paths,
        check=True,
    )
    woken, outlets = json.loads(done.stdout.splitlines()[-1])
    assert woken == ["decayed_flight_delays", "features"]
    assert outlets == {
        "report": [],
        "performance": [],
        "archive": [],
        "ask_for_training": ["decayed_flight_delays"],
    }
    assert catalog.model(MODEL).monitor.decay is not None
