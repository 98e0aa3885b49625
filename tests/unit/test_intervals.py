"""Rules of the paired comparison."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.catalog import Comparison
from pipelines.contracts import Decision, Rule
from pipelines.stages.gate import overall
from pipelines.stages.gate.intervals import Improvement, decide, improvement, losses

BETTER, NOT_WORSE = Comparison(rule="better"), Comparison(rule="not_worse", margin=0.01)


def compared(gap: float, seed: int, rows: int = 1000) -> Improvement:
    draw = np.random.default_rng(seed)
    theirs = draw.random(rows)
    ours = theirs + draw.normal(scale=0.1, size=rows) - gap
    return improvement(ours, theirs, np.arange(rows) // 5, 0.95)


def test_an_equal_model_is_seldom_called_better() -> None:
    called = [decide(BETTER, compared(0.0, seed)) for seed in range(300)]
    assert called.count(Decision.PASS) <= 15


def test_a_worse_model_is_never_called_better() -> None:
    called = {decide(BETTER, compared(-0.02, seed)) for seed in range(50)}
    assert Decision.PASS not in called
    assert Decision.FAIL in called


def test_a_clearly_better_model_passes() -> None:
    assert {decide(BETTER, compared(0.03, seed)) for seed in range(50)} == {Decision.PASS}


@pytest.mark.parametrize(
    ("low", "high", "better", "not_worse"),
    [
        (0.001, 0.02, Decision.PASS, Decision.PASS),
        (-0.005, 0.005, Decision.INCONCLUSIVE, Decision.PASS),
        (-0.02, 0.005, Decision.INCONCLUSIVE, Decision.INCONCLUSIVE),
        (-0.009, -0.001, Decision.FAIL, Decision.PASS),
        (-0.03, -0.02, Decision.FAIL, Decision.FAIL),
        (0.0, 0.0, Decision.INCONCLUSIVE, Decision.PASS),
    ],
)
def test_the_whole_interval_must_lie_on_one_side(
    low: float, high: float, better: Decision, not_worse: Decision
) -> None:
    found = Improvement(0.0, low, high, 10)
    assert decide(BETTER, found) is better
    assert decide(NOT_WORSE, found) is not_worse


@given(st.permutations([Decision.PASS, Decision.INCONCLUSIVE, Decision.FAIL]), st.integers(1, 3))
def test_the_worst_rule_decides(order: list[Decision], count: int) -> None:
    worst = [Decision.FAIL, Decision.INCONCLUSIVE, Decision.PASS]
    rules = [Rule("r", decision, "") for decision in order[:count]]
    assert overall(rules) is min(order[:count], key=worst.index)


def test_no_rule_at_all_decides_nothing() -> None:
    assert overall([]) is Decision.INCONCLUSIVE


def test_the_same_rows_give_the_same_interval() -> None:
    assert compared(0.01, 3) == compared(0.01, 3)


def test_losses_are_what_scikit_learn_says() -> None:
    from sklearn.metrics import brier_score_loss, log_loss

    draw = np.random.default_rng(0)
    labels, chances = draw.integers(0, 2, 200).astype(float), draw.random(200)
    assert losses("log_loss", labels, chances).mean() == pytest.approx(log_loss(labels, chances))
    assert losses("brier", labels, chances).mean() == pytest.approx(brier_score_loss(labels, chances))
