"""Rules of what a spec may say of more than two classes: everything that would be half working is refused by name."""

from copy import deepcopy
from typing import Any

import pytest
import yaml

from pipelines import catalog
from pipelines.catalog import ModelSpec

CLASSES = ["early", "on time", "late"]


def written(**gate: Any) -> dict[str, Any]:
    plain = yaml.safe_load((catalog.model("flight_delays").folder / "spec.yaml").read_text())
    for name in ("search", "threshold"):
        plain.pop(name)
    plain["label"]["classes"] = list(CLASSES)
    return {**plain, "task": "multiclass", "gate": {"floors": {"roc_auc": 0.6}, **gate}}


def read(plain: dict[str, Any]) -> ModelSpec:
    return ModelSpec.model_validate(deepcopy(plain))


def test_a_multiclass_answers_with_a_number_per_class_and_asks_for_something_of_each() -> None:
    spec = read(written())
    assert (spec.outputs, spec.label.classes) == (3, tuple(CLASSES))
    assert spec.gate.each_class is not None
    assert 0 < spec.gate.each_class.recall < 0.1
    assert set(spec.gate.suspicious) == {"accuracy"}
    assert catalog.model("flight_delays").outputs == 1
    assert catalog.model("flight_delays").gate.each_class is None


def test_a_multiclass_spec_is_read_again_as_it_was_written_for_the_probe() -> None:
    spec = read(written())
    plain = spec.model_dump(
        by_alias=True, exclude={"search", "parameters", "threshold", "training", "monitor"}
    )
    assert plain["label"]["classes"] == tuple(CLASSES)
    assert plain["gate"]["each_class"] == {"recall": 0.05, "minimum_rows": 20}


@pytest.mark.parametrize("classes", [[], ["early", "late"]])
def test_fewer_than_three_classes_are_no_multiclass(classes: list[str]) -> None:
    plain = written()
    plain["label"]["classes"] = classes
    with pytest.raises(ValueError, match=r"names its 3 classes or more.*task: classification"):
        read(plain)


@pytest.mark.parametrize(
    ("classes", "why"),
    [
        (["yes", "no", True], "put a word such as 'yes' in quotes"),
        ([1, 2, 2.5], "no word or whole number"),
        ([1, 2, "three"], "words or whole numbers, not both"),
        (["a", "b", "a"], "'a' stands there twice"),
        (["a", " ", "b"], "a word of 1 to 200 signs"),
        ([*range(101)], "at most 100"),
    ],
)
def test_classes_that_are_no_names_are_refused(classes: list[Any], why: str) -> None:
    plain = written()
    plain["label"]["classes"] = classes
    with pytest.raises(ValueError, match=why):
        read(plain)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_another_task_has_no_classes(task: str) -> None:
    plain = yaml.safe_load((catalog.model("flight_delays").folder / "spec.yaml").read_text())
    plain["label"]["classes"] = list(CLASSES)
    plain["gate"] = {"floors": {"r2": 0.0} if task == "regression" else {"roc_auc": 0.6}}
    plain["monitor"].pop("decay")
    plain.pop("search")
    with pytest.raises(ValueError, match=f"a {task} has none; say `task: multiclass`"):
        read({**plain, "task": task})


def test_a_threshold_decides_nothing_among_many_classes() -> None:
    with pytest.raises(ValueError, match="predicts the likeliest class and has none; remove it"):
        read({**written(), "threshold": 0.5})


@pytest.mark.parametrize("metric", ["average_precision", "mae"])
def test_a_metric_of_another_task_is_refused_by_name(metric: str) -> None:
    with pytest.raises(ValueError, match=f"{metric}: no metric of multiclass"):
        read(written(ceilings={metric: 0.5}))


def test_decay_goes_by_a_loss_of_classes() -> None:
    plain = written()
    plain["monitor"]["decay"] = {"metric": "mae", "margin": 0.1}
    with pytest.raises(ValueError, match="mae is no loss of a multiclass; use log_loss or brier"):
        read(plain)


@pytest.mark.parametrize("named", [{}, {"class": "never"}])
def test_a_direction_names_the_class_whose_probability_moves(named: dict[str, str]) -> None:
    test = {"name": "far", "add": {"distance": 100}, "expect": "up", **named}
    with pytest.raises(ValueError, match=r"'far' must name the `class`.*early, on time, late"):
        read(written(behaviour={"directions": [test]}))
    fine = read(written(behaviour={"directions": [{**test, "class": "late"}]}))
    assert fine.gate.behaviour.directions[0].of == "late"


def test_a_test_of_one_answer_names_no_class() -> None:
    plain = yaml.safe_load((catalog.model("flight_delays").folder / "spec.yaml").read_text())
    plain["gate"]["behaviour"] = {"minimums": [{"name": "some", "at_least": 0.1, "class": "late"}]}
    with pytest.raises(ValueError, match="'some' names a class, but a classification has one answer"):
        read(plain)


def test_only_a_multiclass_asks_for_something_of_each_class() -> None:
    plain = yaml.safe_load((catalog.model("flight_delays").folder / "spec.yaml").read_text())
    plain["gate"]["each_class"] = {"recall": 0.2}
    with pytest.raises(ValueError, match="each_class: only a multiclass has it"):
        read(plain)


def test_fairness_by_errors_is_for_numbers() -> None:
    asked = {"group": "origin", "measure": "mean_absolute_error_difference", "at_most": 1.0}
    with pytest.raises(ValueError, match="mean_absolute_error_difference: no metric of multiclass"):
        read(written(fairness=[asked]))
