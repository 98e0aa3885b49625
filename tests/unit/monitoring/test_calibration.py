"""Rules of the estimate before the truth: calibrated on what was known, never on its own day, and honest of itself."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines import catalog
from pipelines.contracts import EvergreenError
from pipelines.monitoring import calibration
from pipelines.monitoring.calibration import GATE, NOTHING, OWN, calibrated, expected
from pipelines.monitoring.performance.days import Performance, judged
from pipelines.training.metrics import measure
from tests.answered import AS_OF, BEGIN, DAYS, NO_RECORD, SHAPES, answered_rows, as_known

REAL = catalog.model("flight_delays")
WHOLE = REAL.gate.model_copy(update={"slices": REAL.gate.slices.model_copy(update={"columns": ()})})
SPEC = REAL.model_copy(update={"gate": WHOLE})


def told(rows: pd.DataFrame) -> Performance:
    found = judged(SPEC, rows, AS_OF, NO_RECORD)
    assert len(found.periods) == DAYS
    return found


def chances(rows: pd.DataFrame) -> pd.DataFrame:
    return calibrated(SPEC, rows, AS_OF, NO_RECORD)


@pytest.mark.parametrize("shape", SHAPES)
def test_of_probabilities_that_are_wrong_the_calibrated_estimate_is_far_nearer(shape: str) -> None:
    found = told(answered_rows(SHAPES[shape], a_day=200)).track
    assert found.days > 15
    assert found.error is not None
    assert found.claimed is not None
    assert found.error < found.claimed / 2
    assert found.inside is not None
    assert found.inside > 0.7


def test_of_probabilities_that_are_right_calibration_takes_little_away() -> None:
    found = told(answered_rows(a_day=200)).track
    assert found.error is not None
    assert found.claimed is not None
    assert found.error < found.claimed + 0.01


@pytest.mark.parametrize("day", [1, 7, 19])
def test_the_labels_of_a_day_do_not_move_its_own_estimate(day: int) -> None:
    rows = answered_rows(SHAPES["too high"])
    own = (rows["event_timestamp"] - pd.Timestamp(BEGIN)).dt.days == day
    assert own.sum() > 100
    flipped = rows.assign(label=rows["label"].where(~own, 1 - rows["label"]))
    before, after = chances(rows), chances(flipped)
    until = rows["event_timestamp"] < pd.Timestamp(BEGIN) + pd.Timedelta(days=day + 1)
    assert before["chance"][until].equals(after["chance"][until])
    assert day == DAYS - 1 or not before["chance"][~until].equals(after["chance"][~until])


@pytest.mark.parametrize("late", [timedelta(hours=6), timedelta(days=5)])
def test_a_days_estimate_is_the_one_that_could_be_made_when_it_ended(late: timedelta) -> None:
    rows = answered_rows(SHAPES["too sure"], late=late)
    whole = chances(rows)
    assert (whole["basis"] == OWN).any()
    for day in (2, 6, 12):
        end = BEGIN + timedelta(days=day + 1)
        then = chances(as_known(rows, end))
        own = then["event_timestamp"] >= pd.Timestamp(end - timedelta(days=1))
        assert own.any()
        assert then["chance"][own].equals(whole["chance"][: len(then)][own])


def test_drift_of_the_concept_is_not_seen_by_the_estimate_and_is_by_the_truth() -> None:
    """Two weeks late, no label of after the turn is known on any day that is shown."""

    def turned(chance: Any, days: Any) -> Any:
        return np.where(days < 10, chance, 1 - chance)

    late = timedelta(days=11)
    calm, drifted = (
        judged(SPEC, as_known(rows, AS_OF + late), AS_OF + late, NO_RECORD)
        for rows in (unknown_yet(late), unknown_yet(late, turned))
    )
    after = [(a, b) for a, b in zip(calm.periods, drifted.periods, strict=True) if b.day >= "2013-05-12"]
    assert len(after) == 9
    assert all(a.expected == pytest.approx(b.expected, abs=1e-9) for a, b in after)
    assert all(
        b.metric is not None and b.expected is not None and b.metric > 2 * b.expected for _, b in after
    )


def unknown_yet(late: timedelta, true: Any = lambda chance, days: chance) -> pd.DataFrame:
    """Rows with all their labels, each known `late`."""
    rows = answered_rows(late=timedelta(0), a_day=200, true=true)
    return rows.assign(label_known_at=rows["event_timestamp"] + late)


def test_harder_questions_are_seen_by_the_estimate_before_their_truth() -> None:
    rows = answered_rows()
    days = (rows["event_timestamp"] - pd.Timestamp(BEGIN)).dt.days
    hard = rows.assign(said=np.where(days == DAYS - 1, 0.5, rows["said"]))
    assert told(hard).periods[-1].expected > told(rows).periods[-1].expected + 0.05  # type: ignore[operator]


def test_without_enough_of_either_class_nothing_is_calibrated_and_says_so() -> None:
    rows = chances(answered_rows(a_day=20))
    first = rows[rows["event_timestamp"] < pd.Timestamp(BEGIN) + pd.Timedelta(days=1)]
    assert set(first["basis"]) == {NOTHING}
    assert first["chance"].equals(first["said"].astype("float64"))
    never = chances(answered_rows(true=lambda chance, days: chance * 0))
    assert set(never["basis"]) == {NOTHING}


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plants what a gate's record has of held-out rows of the week before BEGIN, on which all that was said is low."""

    def planted(as_of: Any, shift: timedelta = timedelta(0)) -> Any:
        dice = np.random.default_rng(3)
        chance = dice.beta(1.5, 4, 4000)
        asked = BEGIN - timedelta(days=7) + shift
        hours = int(asked.timestamp()) // 3600 + np.sort(dice.integers(0, 7 * 24, 4000))
        rows = pd.DataFrame(
            {"label": 1.0 * (dice.random(4000) < chance), "block": hours, "candidate": chance / 2}
        )
        monkeypatch.setattr(calibration.record, "read", lambda *_: type("Verdict", (), {"as_of": as_of}))
        monkeypatch.setattr(calibration.record, "evidence", lambda *_: rows)
        return type("Stores", (), {"tracking": type("Tracking", (), {"version": lambda *_: None})})

    return planted


def test_where_its_own_answers_are_too_few_the_gates_rows_calibrate_and_then_give_way(gate: Any) -> None:
    rows = answered_rows(lambda chance: chance / 2)
    found = calibrated(SPEC, rows, AS_OF, gate(BEGIN))
    days = (rows["event_timestamp"] - pd.Timestamp(BEGIN)).dt.days
    assert found["basis"][days == 0].eq(GATE).all()
    assert found["basis"][days > 5].eq(OWN).all()
    first = found[days == 0]
    assert first["chance"].mean() == pytest.approx(first["said"].mean() * 2, rel=0.1)


@pytest.mark.parametrize("when", ["judged later", "about later events", "asked before the verdict"])
def test_the_gates_rows_calibrate_no_day_that_came_before_them(gate: Any, when: str) -> None:
    rows = answered_rows(a_day=20)
    first = rows["event_timestamp"] < pd.Timestamp(BEGIN) + pd.Timedelta(days=1)
    if when == "judged later":
        found = calibrated(SPEC, rows, AS_OF, gate(BEGIN + timedelta(days=2)))
    elif when == "about later events":
        found = calibrated(SPEC, rows, AS_OF, gate(BEGIN, timedelta(days=7)))
    else:
        found = calibrated(SPEC, rows, BEGIN - timedelta(days=1), gate(BEGIN))
    assert set(found["basis"][first]) == {NOTHING}


def test_a_record_that_cannot_be_trusted_calibrates_nothing(
    gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = gate(BEGIN)

    def broken(*_: object) -> None:
        raise EvergreenError("it is not the record the gate wrote")

    monkeypatch.setattr(calibration.record, "read", broken)
    assert set(calibrated(SPEC, answered_rows(a_day=3), AS_OF, stores)["basis"]) == {NOTHING}


@pytest.mark.parametrize("metric", ["log_loss", "brier", "roc_auc", "average_precision"])
def test_the_expectation_is_the_mean_over_drawn_labels(metric: str) -> None:
    dice = np.random.default_rng(1)
    chance = dice.beta(1.5, 4, 20_000)
    said = SHAPES["too high"](chance)
    drawn = [measure(metric, 1.0 * (dice.random(len(chance)) < chance), said) for _ in range(20)]
    assert expected(metric, said, chance) == pytest.approx(np.mean(drawn), rel=0.01)
    assert expected("f1", said, chance) is None
    assert expected(metric, said, np.full(len(said), np.nan)) is None
