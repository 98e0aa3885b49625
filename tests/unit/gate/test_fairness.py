"""Rules about groups that are treated alike."""

import numpy as np
import pandas as pd
import pytest
from fairlearn.metrics import equalized_odds_difference
from pydantic import ValidationError

from pipelines.catalog.gate_spec import Fairness, fitting
from pipelines.contracts import Decision
from pipelines.gate.notary import follows
from pipelines.gate.report.details import _fairness as shown
from pipelines.gate.rules.fairness import check, table
from tests.judging import case, spec


def world(seed: int = 0, rows: int = 3000, unfair: float = 0.0, small: int = 0):
    """Two groups; of B the model misses more of what happens. The last `small` rows are of group C."""
    draw = np.random.default_rng(seed)
    group = np.where(draw.random(rows) < 0.5, "A", "B").astype(object)
    group[rows - small :] = "C"
    labels = (draw.random(rows) < 0.4).astype("float64")
    said = np.where(labels == 1, 0.8, 0.2) + draw.normal(0, 0.25, rows)
    said = np.clip(said - unfair * (group == "B") * labels, 0, 1)
    return pd.DataFrame({"group": group, "label": labels}), said


def judged(rows, said, **asked):
    wanted = {"group": "group", "at_most": 0.2, **asked}
    [rule] = check(case(spec(fairness=[wanted]), rows, said))
    assert follows(rule) is rule.decision
    return rule


def test_alike_groups_pass_and_the_value_is_fairlearns() -> None:
    rows, said = world()
    rule = judged(rows, said)
    assert rule.decision is Decision.PASS
    found = equalized_odds_difference(rows["label"], said >= 0.5, sensitive_features=rows["group"])
    assert rule.value == pytest.approx(found)
    assert rule.low <= rule.value <= rule.high


def test_a_group_that_is_treated_worse_beyond_doubt_fails() -> None:
    rule = judged(*world(unfair=0.5))
    assert rule.decision is Decision.FAIL
    assert "(B)" in rule.explanation
    assert "(A)" in rule.explanation


def test_few_rows_that_look_unfair_are_inconclusive() -> None:
    found = {judged(*world(seed, rows=160, unfair=0.1), minimum_rows=30).decision for seed in range(8)}
    assert Decision.INCONCLUSIVE in found
    assert Decision.FAIL not in found


def test_a_small_group_is_told_of_and_not_judged() -> None:
    rows, said = world(small=40)
    said[-40:] = 0.9
    rule = judged(rows, said)
    assert rule.decision is Decision.PASS
    assert "C (40 rows)" in rule.explanation
    assert rule.rows == 2960


def test_one_group_is_no_comparison() -> None:
    rows, said = world()
    rule = judged(rows.assign(group="A"), said)
    assert rule.decision is Decision.INCONCLUSIVE


def test_a_group_without_a_positive_is_inconclusive_not_fair() -> None:
    rows, said = world()
    rows.loc[rows["group"] == "B", "label"] = 0.0
    rule = judged(rows, said)
    assert rule.decision is Decision.INCONCLUSIVE
    assert "B has no row" in rule.explanation


def test_a_missing_column_is_inconclusive_and_named() -> None:
    rows, said = world()
    rule = judged(rows, said, group="nobody")
    assert rule.decision is Decision.INCONCLUSIVE
    assert "nobody" in rule.explanation


def test_rows_without_a_group_are_a_group() -> None:
    rows, said = world()
    made = case(
        spec(fairness=[{"group": "group", "at_most": 0.2}]),
        rows.assign(group=rows["group"].where(rows.index % 3 > 0)),
        said,
    )
    assert "missing" in table(made, made.spec.gate.fairness[0]).index


def test_what_the_page_shows_of_the_groups_is_plain_json() -> None:
    rows, said = world(small=40)
    [found] = shown(case(spec(fairness=[{"group": "group", "at_most": 0.2}]), rows, said))
    told = {each["group"]: each for each in found["groups"]}
    assert set(told) == {"A", "B", "C"}
    assert not told["C"]["judged"]
    assert 0 < told["A"]["true_positive_rate"] <= 1


def test_a_regression_is_asked_by_its_errors() -> None:
    rows, _ = world(rows=1000)
    rows = rows.assign(label=np.arange(1000.0))
    asked = {"group": "group", "measure": "mean_absolute_error_difference", "at_most": 5.0}
    far = rows["label"] + np.where(rows["group"] == "B", 20.0, 2.0)
    for said, wanted in ((rows["label"] + 2.0, Decision.PASS), (far, Decision.FAIL)):
        [rule] = check(case(spec("regression", fairness=[asked]), rows, said))
        assert rule.decision is wanted, rule.explanation
    assert rule.value == pytest.approx(18)


def test_a_measure_of_the_other_task_is_refused_by_the_catalog() -> None:
    gate = spec(fairness=[{"group": "group", "measure": "mean_absolute_error_difference", "at_most": 5}]).gate
    assert "mean_absolute_error_difference" in (fitting("classification", gate) or "")
    with pytest.raises(ValidationError, match="never above 1"):
        Fairness(group="group", at_most=1.5)
