"""Rules of evidence: no looking makes a challenger look worse than it is, and what is bad is seen."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.catalog import Limits
from pipelines.rollout.evidence import (
    QUIET,
    TESTS,
    Compared,
    Lost,
    breached,
    errors,
    judged,
    mean_above,
    share_above,
)

SURE = 0.995


def compared(alone: list[float], other: list[float] | None = None, **more: list[float]) -> Compared:
    none = [0.0] * len(alone)
    made = {"other": other or none, "differ": none, "times": [1.0] * len(alone)} | more
    return Compared(np.array(alone), **{name: np.array(values) for name, values in made.items()})


@pytest.mark.parametrize("limit", [0.01, 0.1, 0.5, 0.9])
def test_at_the_limit_evidence_is_one_on_average_and_below_it_less(limit: float) -> None:
    """Added up over every way in which eight observations can come out."""
    ways = np.array(list(product([0, 1], repeat=8)))
    for chance in (limit, limit / 2):
        weights = (chance**ways * (1 - chance) ** (1 - ways)).prod(axis=1)
        shares = [np.exp(share_above(limit, way)[-1]) for way in ways]
        means = [np.exp(mean_above(limit, way, 0.0)[-1]) for way in ways]
        for evidence in (shares, means):
            found = float(np.dot(weights, evidence))
            assert found == pytest.approx(1.0) if chance == limit else found < 1


@given(
    st.lists(st.sampled_from([-0.5, 0.5]), min_size=1, max_size=7),
    st.floats(0, 0.4),
    st.floats(0.5, 3),
)
def test_a_fair_gambler_gains_nothing_on_values_around_the_limit_whatever_came_before(
    past: list[float], limit: float, bound: float
) -> None:
    """One more value that is as likely as far above the limit as below leaves the evidence as it is on average."""
    values = [limit + value for value in past]
    after = [
        np.exp(
            mean_above(limit, np.array([*values, limit + more]), np.full(len(past) + 1, -bound - limit))[-1]
        )
        for more in (-0.5, 0.5)
    ]
    before = np.exp(mean_above(limit, np.array(values), np.full(len(past), -bound - limit))[-1])
    assert np.mean(after) == pytest.approx(before)


def test_the_chances_of_an_error_add_up_to_no_more_than_the_whole() -> None:
    assert sum(TESTS.values()) == pytest.approx(1)
    limits = Limits(apart=0.1, loss=0.0)
    found = judged(limits, SURE, compared([0.0]), Lost(np.zeros(1), np.ones(1)))
    assert sum(1 / each.level for each in found) == pytest.approx(1 - SURE)


def test_two_that_fail_together_say_nothing_of_each_other() -> None:
    assert errors(Limits(), 250, compared([0.0] * 5000)).evidence == 1


def test_one_that_fails_alone_is_seen_and_told() -> None:
    (found,) = breached(judged(Limits(), SURE, compared([0.0, 0.0, 0.25, 0.0] * 50), None))
    assert found.test == "errors"
    assert found.at is not None
    assert found.at < 100
    assert "6.25% of the questions" in found.explanation


def test_fewer_failures_than_the_limit_allows_are_borne() -> None:
    """Five of ten thousand questions, all the challenger's: beyond doubt more than the champion's, and allowed."""
    alone = [1.0 if place % 2000 == 0 else 0.0 for place in range(10_000)]
    assert not breached(judged(Limits(errors=0.001), SURE, compared(alone), None))
    assert breached(judged(Limits(errors=0.00001), SURE, compared(alone * 3), None))


def test_a_burst_of_failures_counts_once() -> None:
    burst = [1.0] * (QUIET + 1)
    one = errors(Limits(), 250, compared([*burst, *[0.0] * 100]))
    single = errors(Limits(), 250, compared([1.0, *[0.0] * (100 + QUIET)]))
    assert one.evidence == pytest.approx(single.evidence)


@pytest.mark.parametrize(
    ("test", "seen"),
    [
        ("latency", compared([0.0] * 60, times=[2.0] * 60)),
        ("agreement", compared([0.0] * 60, differ=[0.5] * 60)),
    ],
)
def test_what_is_slow_or_answers_otherwise_is_seen(test: str, seen: Compared) -> None:
    found = breached(judged(Limits(apart=0.2), SURE, seen, None))
    assert [each.test for each in found] == [test]


def test_what_was_not_measured_is_not_held_against_it() -> None:
    nan = [float("nan")] * 100
    assert not breached(judged(Limits(apart=0.2), SURE, compared([0.0] * 100, differ=nan, times=nan), None))


def test_a_greater_loss_is_seen_once_the_truth_is_there_and_a_smaller_never() -> None:
    chance = np.random.default_rng(0)
    for excess, seen in ((0.05, True), (-0.05, False)):
        values = excess + chance.uniform(-0.2, 0.2, 500)
        found = breached(judged(Limits(loss=0.01), SURE, compared([0.0]), Lost(values, np.full(500, 0.3))))
        assert bool(found) == seen


def test_before_anything_was_asked_there_is_nothing_to_say() -> None:
    empty = np.zeros(0)
    found = judged(Limits(apart=0.1, loss=0.0), SURE, Compared(*[empty] * 4), Lost(empty, empty))
    assert len(found) == len(TESTS)
    assert not breached(found)
