"""Rules of the notary's own count: it agrees with the gate on any rows, and sees each number that was moved."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision
from pipelines.gate.case import Case
from pipelines.gate.notary.recount import Count, mistakes
from pipelines.gate.rules import calibration, classes, fairness, slices, soundness
from pipelines.prove.statistics.pairs import Drawn
from pipelines.prove.statistics.pairs import case as pair
from pipelines.training.answers import as_column
from tests.judging import of_classes, spec

GATE = {
    "slices": {
        "columns": ["origin", "distance", "few", "day"],
        "floors": {"roc_auc": 0.3},
        "minimum_rows": 100,
    },
    "fairness": [
        {"group": "origin", "measure": "equalized_odds_difference", "at_most": 0.3},
        {"group": "few", "measure": "demographic_parity_difference", "at_most": 0.3, "minimum_rows": 50},
    ],
    "calibration": {"error": 0.1, "mean": 0.08},
}
TASKS = ["classification", "multiclass", "regression"]
REGRESSION = {
    "slices": {"columns": ["origin", "distance"], "metric": "mae", "ceilings": {"mae": 9.0}},
    "fairness": [{"group": "origin", "measure": "mean_absolute_error_difference", "at_most": 2.0}],
}


@cache
def honest(task: str = "classification") -> Count:
    count = judged(1, spec(task, **GATE))
    assert list(mistakes(count)) == []
    return count


def judged(seed: int, asked: ModelSpec, rows: int = 1500) -> Count:
    """Rows with words, numbers, days and gaps among them, and what the gate says of them."""
    draw = np.random.default_rng(seed)
    truth = draw.normal(size=rows)
    said = [truth + draw.normal(size=rows) * size for size in (0.3, 0.5)]
    labels = truth + draw.normal(size=rows)
    if asked.task == "classification":
        said = [1 / (1 + np.exp(-one)) for one in said]
        labels = (draw.random(rows) < 1 / (1 + np.exp(-truth))).astype(float)
    if asked.task == "multiclass":
        labels, *said = of_classes(seed, rows)
    inputs = {
        "origin": np.where(draw.random(rows) < 0.1, None, draw.choice(["EWR", "JFK", "LGA"], rows)),
        "distance": np.where(draw.random(rows) < 0.1, np.nan, draw.integers(1, 90, rows) ** 2),
        "few": draw.integers(0, 4, rows),
        "day": pd.Timestamp("2013-01-01") + pd.to_timedelta(draw.integers(0, 30, rows), unit="D"),
    }
    return counted(pair(asked, Drawn(inputs, labels, draw.integers(0, 150, rows), *said)))


def counted(found: Case) -> Count:
    rules = [
        *soundness.enough(found),
        *slices.check(found),
        *calibration.check(found),
        *fairness.check(found),
        *classes.check(found),
    ]
    said = {who: as_column(answers) for who, answers in found.answers.items()}
    evidence = pd.DataFrame({"label": found.labels, "block": found.blocks, **said})
    return Count(found.spec, {rule.name: rule for rule in rules}, found.held, evidence)


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), rows=st.integers(1000, 3000), task=st.sampled_from(TASKS))
def test_the_notary_counts_what_the_gate_counted(seed: int, rows: int, task: str) -> None:
    found = judged(seed, spec(task, **(REGRESSION if task == "regression" else GATE)), rows)
    assert len([rule for rule in found.rules.values() if rule.value is not None]) > 5
    assert list(mistakes(found)) == []


def told(count: Count, name: str, **changed: object) -> list[str]:
    """What the notary says once a rule is another, or gone if nothing is changed."""
    rules = dict(count.rules)
    rule = rules.pop(name)
    if changed:
        rules[name] = replace(rule, **changed)
    return list(mistakes(replace(count, rules=rules)))


NAMES = [
    "enough rows", "enough hours",
    "slice origin = JFK", "slice distance part 2 of 4", "slice origin missing", "slice few = 3",
    "slice origin = JFK, roc_auc floor", "calibration over 10 bins", "calibration in the large",
    "fairness of origin: equalized_odds_difference", "fairness of few: demographic_parity_difference",
]  # fmt: skip


@pytest.mark.parametrize("how", ["left out", "moved", "loosened"])
@pytest.mark.parametrize("task", ["classification", "multiclass"])
def test_each_rule_that_was_left_out_moved_or_loosened_is_seen(task: str, how: str) -> None:
    """All at once: of many classes a recount takes seconds."""
    count, names = honest(task), NAMES
    names = [*names, "class early is found", "class never is found"] if task == "multiclass" else names
    rules = dict(count.rules)
    for name in names:
        rule = rules.pop(name)
        assert rule.value is not None
        if how != "left out":
            moved = how == "moved"
            rules[name] = replace(
                rule, **{"value": rule.value + 0.03} if moved else {"bound": (rule.bound or 0) * 2}
            )
    said = list(mistakes(replace(count, rules=rules)))
    assert [name for name in names if not any(name in one for one in said)] == []


def test_a_slice_that_passed_without_a_number_is_seen_where_its_rows_could_tell() -> None:
    count = honest()
    empty = {"value": None, "low": None, "high": None, "decision": Decision.PASS}
    assert any("could have told" in said for said in told(count, "slice origin = JFK", **empty))
    assert told(count, "calibration in the large", **empty)


def test_a_slice_cannot_be_judged_less_surely_than_all_of_them_together_ask() -> None:
    count = honest()
    assert told(count, "slice origin = JFK", confidence=0.8)


def test_answers_taken_for_the_truth_do_not_agree_with_the_rows() -> None:
    """Slices, gaps and rates of a gate that takes answers for labels."""
    count = honest()
    said = count.evidence["candidate"]
    lying = count.evidence.assign(label=(said > 0.5).astype(float))
    assert len(list(mistakes(replace(count, evidence=lying)))) > 10
