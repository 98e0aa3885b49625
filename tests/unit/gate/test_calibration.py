"""Rules about probabilities that mean what they say."""

import numpy as np
import pandas as pd
import pytest

from pipelines.contracts import Decision
from pipelines.gate.notary import follows
from pipelines.gate.rules.calibration import binned, check, curve, in_the_large
from pipelines.training.metrics import calibration_error
from tests.judging import case, spec

HOURS = np.arange(3000) // 15


def truth(seed: int, rows: int = 3000, off: float = 0.0):
    """Chances, and labels that come true as often as they say, or by `off` more often."""
    draw = np.random.default_rng(seed)
    said = draw.uniform(0.05, 0.7, rows)
    return said, (draw.random(rows) < said + off).astype("float64")


def judged(said, labels, **asked):
    rows = pd.DataFrame({"label": labels})
    return {rule.name: rule for rule in check(case(spec(calibration=asked), rows, said))}


def test_an_honest_model_passes() -> None:
    for seed in range(5):
        rules = judged(*truth(seed))
        assert len(rules) == 2
        assert {rule.decision for rule in rules.values()} == {Decision.PASS}


def test_a_model_that_says_too_little_beyond_doubt_fails() -> None:
    rules = judged(*truth(0, off=0.2))
    assert {rule.decision for rule in rules.values()} == {Decision.FAIL}


def test_a_model_that_overdoes_it_both_ways_is_right_on_average_and_fails_over_the_bins() -> None:
    said, labels = truth(1, rows=6000)
    extreme = np.where(said > 0.375, 0.95, 0.02)
    rules = judged(extreme, labels, mean=0.2)
    assert rules["calibration in the large"].decision is Decision.PASS
    assert rules["calibration over 10 bins"].decision is Decision.FAIL


def test_a_miss_that_may_be_chance_is_inconclusive() -> None:
    said, labels = truth(2, rows=150, off=0.09)
    gap = abs(said.mean() - labels.mean())
    rule = judged(said, labels, mean=gap * 0.95)["calibration in the large"]
    assert rule.decision is Decision.INCONCLUSIVE
    assert rule.low < rule.bound < rule.value


def test_the_noise_of_small_bins_is_taken_off() -> None:
    """Over honest models of 300 rows, most of the plain error is noise; half of it and more goes."""
    plain, quiet = [], []
    for seed in range(20):
        said, labels = truth(seed, rows=300)
        plain.append(calibration_error(labels, said, 10))
        quiet.append(binned(labels, said, HOURS[:300], 10).value)
    assert np.mean(plain) > 0.04
    assert np.mean(quiet) < 0.65 * np.mean(plain)


def test_an_honest_model_at_the_bound_seldom_fails() -> None:
    """The true gap is exactly the bound; FAIL must be beyond doubt."""
    failed = 0
    for seed in range(60):
        said, labels = truth(100 + seed, rows=1500, off=0.08)
        failed += in_the_large(labels, said, HOURS[:1500]).low > 0.08
    assert failed <= 6


def test_the_decisions_follow_from_the_numbers() -> None:
    found = [rule for off in (0.0, 0.07, 0.2) for rule in judged(*truth(4, off=off)).values()]
    assert len({rule.decision for rule in found}) > 1
    assert all(follows(rule) is rule.decision for rule in found)


def test_the_curve_holds_every_row() -> None:
    said, labels = truth(5)
    points = curve(labels, said, 10)
    assert sum(rows for _, _, rows in points) == len(said)
    assert [x for x, _, _ in points] == sorted(x for x, _, _ in points)


@pytest.mark.parametrize("asked", [spec("regression", calibration=None), spec(calibration=None)])
def test_no_rule_where_none_is_asked_or_there_are_no_probabilities(asked) -> None:
    said, labels = truth(6)
    assert check(case(asked, pd.DataFrame({"label": labels}), said)) == []
