"""Rules of losses in a rollout: each pair meets the truth of its own question, hour by hour of when it was known."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from pipelines.catalog import Limits
from pipelines.rollout.evidence import breached, judged
from pipelines.rollout.look import _lost, compared, excess
from pipelines.stores import Stores
from pipelines.stores.answers.comparisons import Batch, Pair
from tests.integration.conftest import AS_OF
from tests.integration.monitoring.test_performance import BEGIN, SPEC, asked, flights

__all__ = ["asked", "flights"]
LONG_AGO = BEGIN - timedelta(days=1)


def pairs(stores: Stores, asked: dict[str, pd.Series], worse: float) -> list[Pair]:
    """What the champion answered, and a challenger that is further from the truth by so much."""
    found = []
    for name in sorted(asked):
        logged = stores.predictions.get(name)
        assert logged is not None
        late = asked[name].arrival_delay >= 15
        said = float(np.clip(logged.answer + (-worse if late else worse), 0, 1))
        found.append(Pair(name, "r", logged.answer, said))
    stores.comparisons.record(Batch("b", "r", LONG_AGO, len(found), 0, 0, len(found), 0, 1.0), found)
    return found


def test_the_loss_is_the_brute_force_one_over_the_rows_whose_truth_is_known(
    flown: Stores, asked: dict[str, pd.Series]
) -> None:
    rows = pairs(flown, asked, 0.2)
    lost = _lost(SPEC, "r", AS_OF, flown)
    by_hour: dict[pd.Timestamp, list[float]] = {}
    for row in rows:
        flight = asked[row.prediction_id]
        if pd.isna(flight.arrival_delay) or flight.available_at > pd.Timestamp(AS_OF):
            continue
        late = float(flight.arrival_delay >= 15)
        assert isinstance(row.champion, float)
        assert isinstance(row.challenger, float)
        more = (row.challenger - late) ** 2 - (row.champion - late) ** 2
        by_hour.setdefault(flight.available_at.floor("h"), []).append(more)
    assert len(by_hour) > 50
    expected = [float(np.mean(by_hour[hour])) for hour in sorted(by_hour)]
    assert lost.excess == pytest.approx(expected)
    assert (np.abs(lost.excess) <= lost.bound + 1e-12).all()


@pytest.mark.parametrize(("worse", "seen"), [(0.4, True), (0.0, False), (-0.2, False)])
def test_a_challenger_that_loses_more_is_seen_and_one_that_loses_less_is_not(
    flown: Stores, asked: dict[str, pd.Series], worse: float, seen: bool
) -> None:
    pairs(flown, asked, worse)
    lost = _lost(SPEC, "r", AS_OF, flown)
    found = judged(Limits(loss=0.01), 0.995, compared(flown.comparisons.batches("r")), lost)
    assert bool(breached(found)) == seen


def test_before_any_truth_is_known_nothing_is_lost(flown: Stores, asked: dict[str, pd.Series]) -> None:
    assert len(_lost(SPEC, "r", AS_OF, flown).excess) == 0
    pairs(flown, asked, 0.4)
    assert len(_lost(SPEC, "r", BEGIN, flown).excess) == 0
    assert len(_lost(SPEC, "another", AS_OF, flown).excess) == 0


def test_what_can_be_lost_is_bounded_by_the_answers_for_every_task() -> None:
    dice = np.random.default_rng(0)
    for labels in (np.zeros(50), np.ones(50)):
        one, other = dice.random(50), dice.random(50)
        found, bound = excess("classification", one, other, labels)
        assert (np.abs(found) <= bound + 1e-12).all()
        assert found == pytest.approx((other - labels) ** 2 - (one - labels) ** 2)
    many = [values / values.sum(axis=1, keepdims=True) for values in dice.random((2, 50, 4))]
    labels = dice.integers(0, 4, 50).astype(float)
    found, bound = excess("multiclass", *many, labels)
    truth = np.eye(4)[labels.astype(int)]
    assert found == pytest.approx(((many[1] - truth) ** 2).sum(1) - ((many[0] - truth) ** 2).sum(1))
    assert (np.abs(found) <= bound + 1e-12).all()
    found, bound = excess("regression", np.array([1.0, 5.0]), np.array([2.0, 4.0]), np.array([0.0, 0.0]))
    assert found.tolist() == [1, -1]
    assert bound.tolist() == [1, 1]
