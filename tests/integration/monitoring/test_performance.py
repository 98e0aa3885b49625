"""Rules of performance over time: each answer meets its own truth once it is known, and no figure says too much."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from pipelines import catalog
from pipelines.contracts import NothingToDo
from pipelines.loop import steps
from pipelines.monitoring.calibration import expected
from pipelines.monitoring.performance.days import Performance, performance
from pipelines.monitoring.performance.page import paged
from pipelines.monitoring.truth import KNOWN, NEVER, PENDING, answered
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.answers.predictions import Prediction, Truth
from tests.integration.conftest import AS_OF

SPEC = catalog.model("flight_delays")
FIELDS = [*SPEC.entities, *SPEC.request]
BEGIN = datetime(2013, 1, 1, tzinfo=UTC)
NEVER_FLOWN = 5


@pytest.fixture(scope="module")
def flights(january: Path) -> pd.DataFrame:
    """Every real flight of the January home, with what is known of it at AS_OF."""
    stores = Stores(Settings(_env_file=None, home=january))
    rows = stores.tables.silver(catalog.dataset("flights")).to_table().to_pandas()
    rows = rows[rows.scheduled_departure <= pd.Timestamp(AS_OF)]
    return rows.sort_values("available_at").drop_duplicates(FIELDS, keep="last").reset_index(drop=True)


@pytest.fixture
def asked(flown: Stores, flights: pd.DataFrame) -> dict[str, pd.Series]:
    """Some of them were asked about, two thirds by version 1, and a few that never flew; by the answer's id."""
    dice, some = np.random.default_rng(7), [row for _, row in flights.sample(600, random_state=3).iterrows()]
    answers = [_answer(row, 1 + n % 3 // 2, float(dice.uniform(0.01, 0.99))) for n, row in enumerate(some)]
    when = pd.Timestamp(BEGIN + timedelta(hours=9))
    ghosts = [{"tailnum": f"GHOST{number}", "scheduled_departure": when} for number in range(NEVER_FLOWN)]
    nobodys = [_answer(pd.Series({**some[0], **ghost}), 1, 0.5) for ghost in ghosts]
    flown.predictions.record(*answers, *nobodys)
    return {answer.prediction_id: row for answer, row in zip(answers, some, strict=True)}


def _answer(row: pd.Series, version: int, said: float) -> Prediction:
    event = row.scheduled_departure.to_pydatetime()
    plain = {n: None if pd.isna(row[n]) else row[n] for n in FIELDS}
    request = {
        n: v.to_pydatetime() if isinstance(v, pd.Timestamp) else int(v)
        for n, v in plain.items()
        if n in SPEC.request
    }
    return Prediction(
        prediction_id=str(uuid4()), model=SPEC.name, version=version, digest="d", answer=said, threshold=0.4,
        entities={n: plain[n] for n in SPEC.entities}, request=request, features={}, degraded=False,
        asked_at=event - timedelta(hours=2), event_time=event,
    )  # fmt: skip


def told(as_of: datetime, stores: Stores) -> pd.DataFrame:
    """The logged answers with the truth known by then."""
    logged = stores.predictions.between(SPEC.name, BEGIN - timedelta(days=1), as_of)
    return answered(SPEC, logged, as_of, stores)


def test_each_answer_meets_the_truth_of_its_own_question_and_no_other(
    flown: Stores, asked: dict[str, pd.Series]
) -> None:
    rows = told(AS_OF, flown).set_index("prediction_id")
    assert len(rows) == len(asked) + NEVER_FLOWN
    known = 0
    for name, flight in asked.items():
        out = flight.available_at <= pd.Timestamp(AS_OF) and not pd.isna(flight.arrival_delay)
        assert (rows.state[name] == KNOWN) == out, flight
        if out:
            known += 1
            assert rows.label[name] == float(flight.arrival_delay >= 15)
            assert rows.told[name] == "label"
    assert known > 300
    ghosts = rows[rows.tailnum.str.startswith("GHOST", na=False)]
    assert set(ghosts.state) == {NEVER}


def test_a_truth_counts_from_when_it_was_known(flown: Stores, asked: dict[str, pd.Series]) -> None:
    earlier = AS_OF - timedelta(days=3)
    rows = told(earlier, flown)
    assert (rows.event_timestamp <= pd.Timestamp(earlier)).all()
    later = told(AS_OF, flown).set_index("prediction_id")
    then = rows[rows.state == PENDING].prediction_id
    assert len(then) > 0
    assert (later.state[then] == KNOWN).sum() > 0


def _tell(stores: Stores, name: str, truth: float, known: datetime) -> None:
    stores.predictions.tell(Truth(str(uuid4()), name, truth, known, datetime.now(UTC)))


def test_what_is_told_of_an_answer_counts_from_then_on_and_a_later_word_corrects_it(
    flown: Stores, asked: dict[str, pd.Series]
) -> None:
    rows = told(AS_OF, flown).set_index("prediction_id")
    waiting, settled = rows.index[rows.state == PENDING][0], rows.index[rows.label == 0][0]
    _tell(flown, waiting, 1.0, AS_OF - timedelta(minutes=9))
    _tell(flown, waiting, 0.0, AS_OF - timedelta(minutes=5))
    _tell(flown, settled, 1.0, AS_OF - timedelta(minutes=1))
    _tell(flown, settled, 0.0, AS_OF + timedelta(minutes=1))  # nobody knows it yet
    after = told(AS_OF, flown).set_index("prediction_id")
    assert (after.label[waiting], after.state[waiting], after.told[waiting]) == (0.0, KNOWN, "feedback")
    assert (after.label[settled], after.told[settled]) == (1.0, "feedback")
    untouched = rows.index.difference([waiting, settled])
    assert after.label[untouched].equals(rows.label[untouched])


def test_the_label_that_is_known_later_than_what_was_told_counts(
    flown: Stores, asked: dict[str, pd.Series]
) -> None:
    rows = told(AS_OF, flown).set_index("prediction_id")
    name = rows.index[rows.label == 0][0]
    _tell(flown, name, 1.0, BEGIN)
    after = told(AS_OF, flown).set_index("prediction_id")
    assert (after.label[name], after.told[name]) == (0.0, "label")


def test_only_labels_that_can_be_the_truth_of_the_answers_are_read(
    flown: Stores, asked: dict[str, pd.Series], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of long before tell nothing; what is found is as if all had been read."""
    from pipelines.training import training_set

    training, monitor = (each.model_copy(update=short) for each, short in (
        (SPEC.training, {"holdout": timedelta(days=1)}), (SPEC.monitor, {"window": timedelta(days=1)}),
    ))  # fmt: skip
    spec, read = SPEC.model_copy(update={"training": training, "monitor": monitor}), []

    def counted(*args: Any, real: Any = training_set.labels, **named: Any) -> pd.DataFrame:
        read.append(real(*args, **named))
        return read[-1]

    logged = flown.predictions.between(SPEC.name, AS_OF - timedelta(days=2), AS_OF)
    assert len(logged) > 50
    monkeypatch.setattr(training_set, "labels", counted)
    narrow = answered(spec, logged, AS_OF, flown)
    monkeypatch.setattr("pipelines.monitoring.truth._since", lambda *_: None)
    whole = answered(spec, logged, AS_OF, flown)
    same = ["prediction_id", "label", "label_known_at", "told"]
    assert narrow[same].equals(whole[same])
    assert (narrow["state"] == KNOWN).sum() > 50
    assert len(read[0]) < 0.7 * len(read[1])


@pytest.fixture
def found(flown: Stores, asked: dict[str, pd.Series]) -> Performance:
    return performance(SPEC, BEGIN - timedelta(days=1), AS_OF, flown)


def test_a_days_figures_are_those_of_its_answers_whose_truth_is_known(
    found: Performance, flown: Stores
) -> None:
    rows = told(AS_OF, flown)
    assert found.metric == "log_loss"
    assert sum(each.answers for each in found.periods) == len(rows)
    measured = [each for each in found.periods if each.metric is not None]
    assert len(measured) > 10
    for each in measured:
        some = rows[
            (rows.event_timestamp.dt.strftime("%Y-%m-%d") == each.day) & (rows.version == each.version)
        ]
        known = some[some.state == KNOWN]
        assert each.metric == pytest.approx(log_loss(known.label, known.said), abs=1e-12)
        assert each.metrics["roc_auc"] == pytest.approx(roc_auc_score(known.label, known.said), abs=1e-12)
        assert each.low is None or each.low <= each.metric <= each.high
        assert (each.known, each.pending + each.never) == (len(known), len(some) - len(known))


def test_where_only_one_answer_ever_came_true_no_figure_is_told(flown: Stores, flights: pd.DataFrame) -> None:
    early = flights[flights.arrival_delay < 0].head(5)
    flown.predictions.record(*(_answer(row, 1, 0.2) for _, row in early.iterrows()))
    for each in performance(SPEC, BEGIN - timedelta(days=1), AS_OF, flown).periods:
        assert (each.metric, each.low, each.high) == (None, None, None)
        assert each.expected is not None


@pytest.mark.parametrize("metric", ["log_loss", "brier", "roc_auc"])
def test_what_is_expected_is_what_comes_true_where_the_probabilities_are_right(metric: str) -> None:
    from pipelines.training.metrics import measure

    dice = np.random.default_rng(1)
    said = dice.beta(1.5, 4, 200_000)
    true = (dice.random(len(said)) < said).astype("float64")
    assert expected(metric, said) == pytest.approx(measure(metric, true, said), rel=0.01)
    hopeful = np.clip(said * 1.6, 0, 1)
    assert expected("log_loss", hopeful) != pytest.approx(measure("log_loss", true, hopeful), rel=0.01)


def test_a_slice_of_a_feature_is_cut_by_what_serving_used(flown: Stores, flights: pd.DataFrame) -> None:
    some = [row for _, row in flights.sample(60, random_state=1).iterrows()]
    known = [{"aircraft__engines": n % 3 or None} for n in range(60)]
    flown.predictions.record(
        *(replace(_answer(row, 1, 0.3), features=each) for row, each in zip(some, known, strict=True))
    )
    slices = SPEC.gate.slices.model_copy(update={"columns": ("aircraft__engines",)})
    spec = SPEC.model_copy(update={"gate": SPEC.gate.model_copy(update={"slices": slices})})
    found = performance(spec, BEGIN - timedelta(days=1), AS_OF, flown).slices
    assert {each.name: each.answers for each in found} == {
        "aircraft__engines = 1.0": 20,
        "aircraft__engines = 2.0": 20,
        "aircraft__engines missing": 20,
    }


def test_a_model_that_nobody_asked_has_nothing_to_tell(flown: Stores) -> None:
    with pytest.raises(NothingToDo, match="holds no answer of flight_delays"):
        performance(SPEC, BEGIN, AS_OF, flown)


def test_the_page_has_every_day_and_stands_alone(found: Performance, tmp_path: Path) -> None:
    page = paged(found, tmp_path / "reports").read_text()
    assert all(f"<td>{each.day}</td><td>{each.version}</td>" in page for each in found.periods)
    assert "data:image/png;base64," in page
    assert not re.search(r"(src|href)=[\"']https?:", page)
    assert "no measurement" in page


def test_the_step_tells_and_writes_its_page(
    asked: dict[str, Any], flown: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "stores", lambda: flown)
    told = steps.performance(SPEC.name, as_of=AS_OF.isoformat())
    assert sum(each["answers"] for each in told["periods"]) == len(asked) + NEVER_FLOWN
    assert Path(told["page"]).exists()
    origins = [each for each in told["slices"] if each["name"].startswith("origin = ")]
    assert sum(each["answers"] for each in origins) == len(asked) + NEVER_FLOWN
    assert [each["arm"] for each in told["periods"]] == ["champion"] * len(told["periods"])


def test_a_page_begins_ninety_days_before_the_newest_answer(
    flown: Stores, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = flights.iloc[0], flights.iloc[-1]
    old = replace(_answer(first, 1, 0.5), event_time=BEGIN - timedelta(days=100))
    flown.predictions.record(old, _answer(first, 1, 0.5), _answer(last, 1, 0.5))
    monkeypatch.setattr(steps, "stores", lambda: flown)
    found = [steps.performance(SPEC.name, since)["periods"] for since in (None, "2012-01-01T00:00:00Z")]
    assert [sum(each["answers"] for each in periods) for periods in found] == [2, 3]
    with pytest.raises(NothingToDo):
        steps.performance("card_fraud")
