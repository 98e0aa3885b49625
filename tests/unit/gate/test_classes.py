"""Rules of the gate about more than two classes: no class is forgotten, the worst is told of, and each is named."""

import json

import numpy as np
import pandas as pd
import pytest

from pipelines.contracts import Decision
from pipelines.gate.case import Case
from pipelines.gate.notary import asked_again
from pipelines.gate.report.details import _classes
from pipelines.gate.report.page import _confusion
from pipelines.gate.rules import behaviour, calibration, classes, fairness, weakest
from tests.judging import CLASSES, case, of_classes, spec


def judged(labels: np.ndarray, said: np.ndarray, **gate: object) -> Case:
    return case(
        spec("multiclass", **gate), pd.DataFrame({"label": labels, "x": np.arange(len(labels))}), said
    )


def test_a_class_that_is_never_predicted_fails_alone_though_the_mean_hardly_sees_it() -> None:
    labels, said, _ = of_classes(0, 2000, rare=3.0)
    blind = np.column_stack([said[:, :-1], np.zeros(len(said))])
    blind /= blind.sum(axis=1, keepdims=True)
    assert (labels == len(CLASSES) - 1).mean() < 0.1
    rules = {rule.name: rule.decision for rule in classes.check(judged(labels, blind))}
    assert rules.pop("class never is found") is Decision.FAIL
    assert set(rules.values()) == {Decision.PASS}


def test_a_class_of_too_few_rows_cannot_tell() -> None:
    labels, said, _ = of_classes(0, 2000)
    few = labels != 1
    few[np.flatnonzero(~few)[:19]] = True
    rules = {rule.name: rule for rule in classes.check(judged(labels[few], said[few]))}
    assert rules["class on time is found"].decision is Decision.INCONCLUSIVE
    assert "19 held-out rows" in rules["class on time is found"].explanation


@pytest.mark.parametrize("how", ["sum", "nan", "shape"])
def test_answers_that_are_no_probabilities_of_each_class_are_not_sound(how: str) -> None:
    labels, said, _ = of_classes(1)
    assert judged(labels, said).sound
    broken = {"sum": said * 0.99, "nan": np.where(said > 0.9, np.nan, said), "shape": said[:, :3]}[how]
    assert not judged(labels, broken).sound


def test_an_honest_model_is_calibrated_in_each_class_and_one_that_overdoes_one_class_is_not() -> None:
    labels, _, _ = of_classes(2, 4000, noise=0.0)
    honest = of_classes(2, 4000, noise=0.0)[1]
    assert {rule.decision for rule in calibration.check(judged(labels, honest))} == {Decision.PASS}
    loud = honest * np.array([1.0, 1.0, 12.0, 1.0])
    loud /= loud.sum(axis=1, keepdims=True)
    rules = calibration.check(judged(labels, loud))
    assert {rule.decision for rule in rules} == {Decision.FAIL}
    assert all(rule.explanation.startswith("late, the worst of 4 classes") for rule in rules)


def test_unfairness_in_one_class_is_the_worst_and_named() -> None:
    labels, said, _ = of_classes(3, 3000)
    group = np.arange(len(labels)) % 2
    asked = [{"group": "group", "measure": "equal_opportunity_difference", "at_most": 0.2}]
    unfair = said.copy()
    unfair[group == 1, 3] *= 0.1
    unfair /= unfair.sum(axis=1, keepdims=True)
    rows = pd.DataFrame({"label": labels, "group": group})
    fine, broken = (
        fairness.check(case(spec("multiclass", fairness=asked), rows, each))[0] for each in (said, unfair)
    )
    assert fine.decision is Decision.PASS
    assert broken.decision is Decision.FAIL
    assert "never against the rest is the worst of 4" in broken.explanation


class Leaning:
    """The larger x, the likelier the class `late`, and the less likely all others."""

    feature_names_in_ = ("x",)
    classes_ = np.arange(4)

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        late = 1 / (1 + np.exp(-rows["x"].to_numpy("float64")))
        return np.column_stack([(1 - late) / 3, (1 - late) / 3, late, (1 - late) / 3])


@pytest.mark.parametrize(("named", "goes"), [("late", "up"), ("early", "down")])
def test_a_direction_is_that_of_the_class_it_names_and_the_notary_agrees(named: str, goes: str) -> None:
    tests = {
        "directions": [{"name": "more x", "class": named, "add": {"x": 1}, "expect": goes, "share": 0.9}],
        "minimums": [
            {"name": "at nought", "class": "late", "question": {"x": 0.0}, "at_least": 0.4, "at_most": 0.6}
        ],
        "invariances": [{"name": "x", "change": {"x": 0.0}, "within": 0.9}],
    }
    labels, _, _ = of_classes(4, 300)
    rows = pd.DataFrame({"label": labels, "x": np.random.default_rng(0).normal(size=300)})
    found = case(spec("multiclass", behaviour=tests), rows, Leaning().predict_proba(rows), Leaning())
    rules = {rule.name: rule for rule in behaviour.check(found)}
    assert {rule.decision for rule in rules.values()} == {Decision.PASS}
    assert f"for {named}" in rules["behaviour: more x"].explanation
    hearing = asked_again.Hearing(found.spec, rules, found.held, found.said)
    assert list(asked_again.mistakes(hearing)) == []


def test_the_worst_slice_is_looked_for_by_the_loss_of_the_class_that_happened() -> None:
    labels, said, _ = of_classes(5, 500)
    found = judged(labels, said, slices={"metric": "f1"})
    found.answers["champion"] = said[:, ::-1]
    gains = weakest.gains(found)
    place = labels.astype(int)
    rows = np.arange(len(labels))
    np.testing.assert_allclose(gains, np.log(said[rows, place]) - np.log(said[rows, 3 - place]))


def test_the_page_counts_what_was_taken_for_what_and_names_nothing_unescaped() -> None:
    labels, said, _ = of_classes(6, 500)
    told = json.loads(json.dumps(_classes(judged(labels, said))))["classes"]
    assert sum(map(sum, told["confusion"])) == 500
    assert [sum(row) for row in told["confusion"]] == [int((labels == place).sum()) for place in range(4)]
    assert list(told["calibration"]) == list(CLASSES)
    shown = _confusion(["<b>", *told["names"][1:]], told["confusion"])
    assert "&lt;b&gt;" in shown
    assert f">{told['confusion'][0][0]:,}<" in shown
