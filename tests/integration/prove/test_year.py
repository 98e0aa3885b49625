"""The promise of the replayed year, held on two days of January; and that each breach of it would be seen."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from pipelines import catalog
from pipelines.catalog import Comparison, ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.features import leakage
from pipelines.features.health import suites
from pipelines.loop import steps
from pipelines.prove import Proof, year
from pipelines.prove.promotion.world import tiny
from pipelines.prove.year import checks, findings
from pipelines.prove.year.life import Diary, Life
from pipelines.prove.year.story import Script, Year
from pipelines.settings import scratch
from pipelines.stores.answers.predictions import Prediction
from tests.hurried import few_rules

SCRIPT = Script(
    date(2013, 1, 5), date(2013, 1, 6), window=timedelta(hours=4), sample=25,
    watch=timedelta(days=30), sweep=timedelta(days=1), hours=(12, 18), late=0.2, never=0.05, wrong=0.1,
)  # fmt: skip


def small() -> ModelSpec:
    """The model, trained on days, with a gate that lets it through."""
    spec = tiny()
    training = spec.training.model_copy(update={"holdout": timedelta(days=2)})
    gate = spec.gate.model_copy(
        update={"floors": {"roc_auc": 0.4}, "baseline": Comparison(rule="not_worse", margin=0.5)}
    )
    return spec.model_copy(update={"training": training, "gate": gate})


class Killed(BaseException):
    """What ends a process."""


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Life, Proof]]:
    """A life that was killed while it asked, and went on; whether its features are good, others ask."""
    home = tmp_path_factory.mktemp("year")
    with pytest.MonkeyPatch.context() as patched, scratch(home):
        patched.setattr(catalog, "model", lambda _: small())
        patched.setattr(leakage, "check", lambda *_: None)
        few_rules(patched)
        patched.setattr(suites, "load", lambda *_: None)
        upstream = Year(small(), SCRIPT)
        patched.setattr(year.life, "Year", lambda *_: upstream)
        with killed_while_asking(at=2), pytest.raises(Killed):
            Life(small(), SCRIPT, steps.stores(), lambda _: None).lived()
        life = Life(small(), SCRIPT, steps.stores(), lambda _: None)
        life.lived()
        yield life, year.held(life, lambda _: None)


@contextmanager
def killed_while_asking(at: int) -> Iterator[None]:
    """The questions of one moment are asked, and it is never noted that they were."""
    from pipelines.prove.year import life

    asked = life.Life._ask
    count = iter(range(1, at + 1))

    def ask(self: Life, *given: object) -> int:
        number = asked(self, *given)
        if next(count) == at:
            raise Killed
        return number

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(life.Life, "_ask", ask)
        yield


@pytest.fixture
def log(lived: tuple[Life, Proof]) -> list[Prediction]:
    stores = lived[0].stores
    return stores.predictions.recent("flight_delays", stores.predictions.count("flight_delays"))


def test_a_life_that_was_cut_off_asks_each_question_once_and_holds(
    lived: tuple[Life, Proof], log: list[Prediction]
) -> None:
    life, proof = lived
    assert proof.holds, proof.failures
    assert [row["month"] for row in proof.rows] == ["2013-01", "all"]
    assert len(log) > 30
    trained = [each for each in life.diary.kept["retrainings"] if each["trained"]]
    assert [each["causes"] for each in trained] == [["data"], ["data"]]
    assert (life.stores.settings.home / "reports" / "performance" / "flight_delays.html").exists()


def test_a_life_that_is_over_stays_as_it_was(lived: tuple[Life, Proof], log: list[Prediction]) -> None:
    life = lived[0]
    Life(life.spec, SCRIPT, steps.stores(), lambda _: None).lived()
    assert life.stores.predictions.count(life.spec.name) == len(log)
    assert Life(life.spec, SCRIPT, life.stores, lambda _: None).diary.kept["refused"] == []
    with pytest.raises(EvergreenError, match="another script"):
        Life(life.spec, replace(SCRIPT, seed=1), life.stores, lambda _: None)


def test_a_life_may_end_sooner_or_later_until_it_has_come_to_its_last_day(tmp_path: Path) -> None:
    path, sooner, later = (
        tmp_path / "year.json",
        replace(SCRIPT, end=date(2013, 1, 5)),
        replace(SCRIPT, end=date(2013, 2, 1)),
    )
    diary = Diary(path, SCRIPT)
    diary.kept["done"] = "2013-01-05T12:00:00+00:00"
    diary.write()
    for script in (sooner, later, SCRIPT):
        assert Diary(path, script).kept["script"]["end"] == str(script.end)
    diary.kept["done"] = "2013-01-06T18:00:00+00:00"
    diary.write()
    assert Diary(path, later).kept["script"]["end"] == "2013-02-01"
    with pytest.raises(EvergreenError, match="beyond its last day"):
        Diary(path, sooner)


@pytest.mark.parametrize(
    ("found", "woken"), [((True, False), "monitor"), ((False, True), "monitor"), ((False, False), "schedule")]
)
def test_drift_and_decay_wake_the_retraining_and_so_does_the_schedule(
    lived: tuple[Life, Proof], monkeypatch: pytest.MonkeyPatch, found: tuple[bool, bool], woken: str
) -> None:
    life, told = (
        copy(lived[0]),
        {"drifted": found[0], "decayed": found[1], "explanation": "as it was looked at"},
    )
    monkeypatch.setattr(steps, "monitor", lambda *_, **__: told)
    life.script = replace(SCRIPT, watch=timedelta(days=1))
    later = SCRIPT.moments[-1] + timedelta(days=1)
    assert life._woken(later) == woken
    assert life.diary.kept["watched"][-1] == [later.isoformat(), "as it was looked at"]
    life.script = replace(SCRIPT, watch=timedelta(days=30), sweep=timedelta(days=30))
    assert life._woken(later) is None


def test_truth_comes_late_wrong_at_first_or_never(lived: tuple[Life, Proof], log: list[Prediction]) -> None:
    life = lived[0]
    rows = findings.answers(life.spec, SCRIPT, log, life.stores)
    late = rows["label_known_at"] - rows["event_timestamp"] > timedelta(days=1.5)
    assert 0 < late.sum() < len(rows) / 2
    assert 0 < rows["label"].isna().sum() < len(rows) / 4


def test_a_question_without_an_answer_and_one_with_two_are_told(
    lived: tuple[Life, Proof], log: list[Prediction]
) -> None:
    assert [*checks.once(lived[0], log)] == []
    (missing,) = checks.once(lived[0], log[1:])
    assert missing.startswith("1 questions have no answer")
    (twice,) = checks.once(lived[0], [*log, log[0]])
    assert "1 answers are there twice" in twice


def test_a_label_that_was_used_before_it_was_told_is_found(lived: tuple[Life, Proof]) -> None:
    """As if one flight of the first training set had landed only after it."""
    life, first = lived[0], lived[0].stores.tracking.version("flight_delays", 1)
    assert [*checks.trained_in_time(life)] == []
    with moved(life, first.as_of, "+ interval 1 day"):
        (found, *_) = checks.trained_in_time(life)
    assert "learned from" in found


def test_an_answer_that_was_given_after_its_truth_is_found(
    lived: tuple[Life, Proof], log: list[Prediction]
) -> None:
    life = lived[0]
    rows = findings.answers(life.spec, SCRIPT, log, life.stores)
    assert [*checks.before_the_truth(life, log, rows)] == []
    with moved(life, SCRIPT.begin, "- interval 3 day", "available_at >"):
        (found,) = checks.before_the_truth(life, log, rows)
    assert "knew too much" in found


@contextmanager
def moved(life: Life, moment: object, by: str, which: str = "available_at <=") -> Iterator[None]:
    """Upstream says of the truths up to a moment, or of those after it, that they were told at another time."""
    connection = life.year.connection
    connection.execute("begin")
    connection.execute(f"update flights set available_at = available_at {by} where {which} ?", [moment])
    try:
        yield
    finally:
        connection.execute("rollback")


def test_the_champions_are_worse_only_beyond_doubt() -> None:
    from pipelines.gate.intervals import Improvement

    said = {(0.0, 0.0): "the same", (0.1, 0.2): "better", (-0.2, -0.1): "worse", (-0.1, 0.1): "INCONCLUSIVE"}
    for (low, high), verdict in said.items():
        assert findings.verdict(Improvement((low + high) / 2, low, high, 30)) == verdict
