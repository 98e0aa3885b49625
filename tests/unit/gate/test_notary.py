"""Rules of the notary: its arithmetic is its own and agrees, and decisions that do not follow are seen."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.catalog.gate_spec import METRICS
from pipelines.contracts import Decision, Kind, Rule
from pipelines.gate.notary import follows
from pipelines.gate.notary.arithmetic import metric, mistakes
from pipelines.gate.notary.expected import Demand
from pipelines.training.metrics import measure
from tests.judging import of_classes


def answered(task: str, seed: int, rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    if task == "multiclass":
        return tuple(of_classes(seed, rows, rare=3.0)[:2])
    if task == "regression":
        labels = draw.normal(10, 3, rows)
        return labels, labels + draw.normal(size=rows)
    chances = draw.random(rows).round(2)  # ties among them
    labels = (draw.random(rows) < chances).astype("float64")
    labels[:2] = 0, 1
    return labels, chances


@pytest.mark.parametrize(
    ("name", "task"), [(name, task) for name, (tasks, _) in sorted(METRICS.items()) for task in tasks]
)
@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_the_notarys_numbers_are_the_gates(name: str, task: str, seed: int) -> None:
    labels, said = answered(task, seed)
    assert metric(name, labels, said) == pytest.approx(measure(name, labels, said), abs=1e-9)


@given(
    st.floats(-1, 1), st.floats(-1, 1), st.sampled_from([Kind.AT_LEAST, Kind.AT_MOST]), st.sampled_from(Decision)
)  # fmt: skip
def test_a_pass_follows_only_from_a_value_on_the_right_side(
    value: float, bound: float, kind: Kind, said: Decision
) -> None:
    rule = Rule("r", said, "", value=value, bound=bound, kind=kind)
    holds = value >= bound if kind is Kind.AT_LEAST else value <= bound
    assert (follows(rule) is Decision.PASS) is holds


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(-1, 1))
def test_a_pass_follows_only_from_an_interval_above_its_bound(low: float, width: float, bound: float) -> None:
    rule = Rule("r", Decision.PASS, "", value=low, bound=bound, low=low, high=low + width, kind=Kind.ABOVE)
    assert (follows(rule) is Decision.PASS) is (low > bound)


def test_an_interval_that_is_missing_decides_nothing() -> None:
    rule = Rule("r", Decision.PASS, "", value=1.0, bound=0.0, kind=Kind.ABOVE)
    assert follows(rule) is Decision.INCONCLUSIVE


def compared(scale: float, shift: float = 0.0) -> list[str]:
    """What the notary says of an interval `scale` times as wide as it should be, around a value moved by `shift`."""
    labels, theirs = answered("classification", 3, 2000)
    ours = np.clip(theirs + np.random.default_rng(4).normal(0, 0.05, 2000), 0, 1)
    evidence = pd.DataFrame(
        {"label": labels, "candidate": ours, "champion": theirs, "block": np.arange(2000) // 10}
    )
    gain = (theirs - labels) ** 2 - (ours - labels) ** 2
    half = 1.96 * gain.std() / 2000**0.5 * scale
    value = gain.mean() + shift
    rule = Rule(
        "r", Decision.PASS, "", value, 0.0, value - half, value + half, Kind.ABOVE, "brier", 2000, 0.95
    )
    return list(mistakes(rule, Demand("r", "brier", 0.0, 0.95, "champion"), evidence, 1e-9))


def test_an_honest_interval_is_believed() -> None:
    assert compared(1.0) == []


def test_an_interval_far_too_narrow_is_not() -> None:
    assert any("too narrow" in said for said in compared(0.1))


def test_a_difference_that_the_evidence_does_not_show_is_not() -> None:
    assert any("the evidence says" in said for said in compared(1.0, shift=0.001))


def test_answers_that_are_not_in_the_evidence_are_missed() -> None:
    evidence = pd.DataFrame({"label": [0.0, 1.0], "candidate": [0.1, 0.9], "block": [0, 1]})
    rule = Rule("r", Decision.PASS, "", 0.1, 0.0, 0.05, 0.2, Kind.ABOVE, "brier", 2, 0.95)
    said = list(mistakes(rule, Demand("r", "brier", 0.0, 0.95, "champion"), evidence, 1e-9))
    assert said == ["`r`: the evidence lacks the champion"]
