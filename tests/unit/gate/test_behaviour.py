"""Rules about the model as a function."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipelines.contracts import Decision, Kind, Rule
from pipelines.gate.case import with_columns
from pipelines.gate.notary import follows
from pipelines.gate.notary.asked_again import Hearing, mistakes
from pipelines.gate.rules.behaviour import check
from pipelines.training.answers import answers
from tests.judging import REAL, case, spec


class Made:
    """A model that is a formula: delay matters upwards, distance not at all, the name of B6 a little."""

    feature_names_in_ = np.array(["carrier", "distance", "delay"], dtype=object)

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        late = 0.2 + 0.004 * np.clip(rows["delay"].fillna(0), -30, 100) + 0.05 * (rows["carrier"] == "B6")
        return np.c_[1 - late, late]


def rows(many: int = 200) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    delay = np.where(draw.random(many) < 0.3, np.nan, draw.uniform(-20, 60, many))
    return pd.DataFrame(
        {
            "label": draw.integers(0, 2, many).astype("float64"),
            "carrier": draw.choice(["AA", "B6"], many),
            "distance": draw.integers(100, 900, many),
            "delay": delay,
        }
    )


def judged(held: pd.DataFrame | None = None, **tests):
    """The rule, once the notary has seen that it follows from its number, and found the same number."""
    held = rows() if held is None else held
    [rule] = check(case(spec(behaviour=tests), held, answers(Made(), held), Made()))
    assert rule.name == "behaviour: it"
    assert follows(rule) is rule.decision
    assert heard(rule, held, **tests) == []
    return rule


def heard(rule: Rule | None, held: pd.DataFrame, **tests) -> list[str]:
    """What the notary says of a rule."""
    rules = {"behaviour: it": rule} if rule else {}
    return list(mistakes(Hearing(spec(behaviour=tests), rules, held, lambda asked: answers(Made(), asked))))


@pytest.mark.parametrize(
    ("change", "within", "wanted"),
    [
        ({"distance": 5000}, 0.0, Decision.PASS),
        ({"carrier": "B6"}, 0.0, Decision.FAIL),
        ({"carrier": "B6"}, 0.06, Decision.PASS),
        ({"delay": None}, 0.0, Decision.FAIL),
        ({"nothing": 1}, 0.0, Decision.INCONCLUSIVE),
    ],
)
def test_what_must_not_matter(change, within, wanted) -> None:
    rule = judged(invariances=[{"name": "it", "change": change, "within": within}])
    assert rule.decision is wanted, rule.explanation


def test_a_change_that_changes_nothing_is_no_test() -> None:
    held = rows().assign(carrier="B6")
    rule = judged(held, invariances=[{"name": "it", "change": {"carrier": "B6"}}])
    assert rule.decision is Decision.INCONCLUSIVE


@pytest.mark.parametrize(
    ("add", "expect", "wanted"),
    [
        ({"delay": 10}, "up", Decision.PASS),
        ({"delay": 10}, "down", Decision.FAIL),
        ({"delay": 10}, "not_down", Decision.PASS),
        ({"delay": -10}, "up", Decision.FAIL),
        ({"distance": 10}, "up", Decision.FAIL),
        ({"distance": 10}, "not_up", Decision.PASS),
        ({"distance": 10}, "not_down", Decision.PASS),
        ({"carrier": 10}, "up", Decision.INCONCLUSIVE),
    ],
)
def test_what_must_matter_which_way(add, expect, wanted) -> None:
    rule = judged(directions=[{"name": "it", "add": add, "expect": expect, "share": 0.9}])
    assert rule.decision is wanted, rule.explanation


def test_rows_where_the_column_is_missing_do_not_count() -> None:
    rule = judged(directions=[{"name": "it", "add": {"delay": 10}, "expect": "up", "share": 1.0}])
    assert 0 < rule.rows == int(rows()["delay"].notna().sum()) < len(rows())
    assert rule.value == 1.0


def test_without_a_row_that_has_the_column_nothing_is_known() -> None:
    held = rows().assign(delay=np.nan)
    rule = judged(held, directions=[{"name": "it", "add": {"delay": 10}, "expect": "up"}])
    assert rule.decision is Decision.INCONCLUSIVE


@pytest.mark.parametrize(
    ("question", "bounds", "wanted"),
    [
        ({"delay": 100}, {"at_least": 0.5}, Decision.PASS),
        ({"delay": 0}, {"at_least": 0.5}, Decision.FAIL),
        ({"delay": 0}, {"at_most": 0.3}, Decision.PASS),
        ({"delay": 0, "carrier": "B6"}, {"at_least": 0.24, "at_most": 0.26}, Decision.PASS),
        ({"delay": 90, "carrier": "B6"}, {"at_least": 0.24, "at_most": 0.26}, Decision.FAIL),
        ({"nothing": 1}, {"at_most": 0.3}, Decision.INCONCLUSIVE),
    ],
)
def test_what_it_must_know(question, bounds, wanted) -> None:
    rule = judged(minimums=[{"name": "it", "question": question, **bounds}])
    assert rule.decision is wanted, rule.explanation


def test_what_is_not_asked_is_the_specs_example_and_features_are_missing() -> None:
    """The example's carrier is UA; a delay that is missing counts as none in this model."""
    rule = judged(minimums=[{"name": "it", "at_least": 0.2, "at_most": 0.2}])
    assert rule.decision is Decision.PASS, rule.explanation


@pytest.mark.parametrize(
    "tests",
    [
        {"invariances": [{"name": "it", "change": {"carrier": "B6"}}]},
        {"invariances": [{"name": "it", "change": {"carrier": None}}]},
        {"directions": [{"name": "it", "add": {"delay": 10}, "expect": "down"}]},
        {"directions": [{"name": "it", "add": {"delay": -10}, "expect": "not_down", "share": 0.9}]},
        {"minimums": [{"name": "it", "question": {"delay": 0}, "at_least": 0.5}]},
        {"minimums": [{"name": "it", "question": {"delay": 0}, "at_least": 0.5, "at_most": 0.6}]},
    ],
)
def test_a_test_that_failed_and_was_called_passed_is_heard(tests) -> None:
    """Left out, flipped, given a number on the right side, or held against a bound that it meets."""
    rule, held = judged(**tests), rows()
    assert rule.decision is Decision.FAIL
    passed = replace(rule, decision=Decision.PASS)
    best = 0.0 if "invariances" in tests else 1.0 if "directions" in tests else 0.55
    forged = [None, replace(passed, value=best), replace(passed, value=None)]
    if rule.bound is not None:
        forged.append(replace(passed, bound=rule.value))
    for one in forged:
        assert heard(one, held, **tests), one


@pytest.mark.parametrize(
    "tests",
    [
        {"invariances": [{"name": "it", "change": {"nothing": 1}}]},
        {"directions": [{"name": "it", "add": {"carrier": 10}, "expect": "up"}]},
    ],
)
def test_a_test_that_cannot_be_tried_does_not_pass_with_any_number(tests) -> None:
    for value in (None, 0.0, 1.0):
        rule = Rule("behaviour: it", Decision.PASS, "", value=value, bound=0.0, kind=Kind.AT_LEAST)
        assert heard(rule, rows(), **tests)


def test_the_columns_that_flight_delays_speaks_of_are_its_own(stores) -> None:
    tests = REAL.gate.behaviour
    named = {name for test in tests.invariances for name in test.change}
    named |= {name for test in tests.directions for name in test.add}
    named |= {name for test in tests.minimums for name in test.question}
    assert len(named) >= 8
    assert named <= {*REAL.entities, *REAL.request, *stores.features.feature_names(REAL)}


def test_a_column_may_be_named_as_pythons_own_words_are() -> None:
    """Values are changed in it as in any other."""
    told = with_columns(pd.DataFrame({"self": [1, 2], "copy": [3, 4]}), {"self": [5, 6], "cls": 7})
    assert told.to_dict("list") == {"self": [5, 6], "copy": [3, 4], "cls": [7, 7]}
