"""Rules of how a changed spec is told: whatever loosens a gate or a monitor says so, in whichever way it is written."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from pipelines.catalog import ModelSpec
from pipelines.catalog.degraded_spec import Degraded
from pipelines.catalog.gate_spec import Gate, Promotion
from pipelines.catalog.model_spec import Monitor
from pipelines.review.changes import directions, rules
from pipelines.review.changes.change import Change, Leaf, Weight
from pipelines.settings import PROJECT

RAW = yaml.safe_load((PROJECT / "pipelines" / "models" / "flight_delays" / "spec.yaml").read_text())
LOOSENED, TIGHTENED, CHANGED, PLAIN = Weight.LOOSENED, Weight.TIGHTENED, Weight.CHANGED, Weight.PLAIN
NO_RULE = {
    "gate.metrics",
    "promotion.keep",
    "monitor.schedule",
    "monitor.window",
    "gate.behaviour.invariances.*.name",
}


def told(edit: Any, raw: dict[str, Any] = RAW) -> list[Change]:
    """What is said of one edit of the real spec."""
    edited = deepcopy(raw)
    edit(edited)
    specs = (ModelSpec.model_validate(each).model_dump(by_alias=True) for each in (raw, edited))
    return list(rules.changes(*specs))


def put(path: str, value: Any) -> Any:
    """An edit: a value at a dotted place, None to take it away."""
    *parts, last = path.split(".")

    def edit(spec: dict[str, Any]) -> None:
        at: Any = spec
        for part in parts:
            at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
        key: Any = int(last) if isinstance(at, list) else last
        if value is None:
            del at[key]
        else:
            at[key] = value

    return edit


EDITS = [
    ("gate.floors.roc_auc", 0.55, LOOSENED, "floor roc_auc 0.62 -> 0.55: LOOSENED"),
    ("gate.floors.roc_auc", 0.7, TIGHTENED, "floor roc_auc 0.62 -> 0.7: TIGHTENED"),
    ("gate.floors.log_loss", 0.7, TIGHTENED, "floor log_loss added: 0.7: TIGHTENED"),
    ("gate.ceilings.brier", 0.3, LOOSENED, "ceiling brier 0.25 -> 0.3: LOOSENED"),
    ("gate.ceilings.brier", None, LOOSENED, "ceiling brier removed, was: 0.25: LOOSENED"),
    ("gate.suspicious", {"roc_auc": 0.999, "r2": 0.999}, LOOSENED, "0.99 -> 0.999: LOOSENED"),
    ("gate.minimum_rows", 50, LOOSENED, "minimum rows 500 -> 50: LOOSENED"),
    ("gate.minimum_blocks", 3, LOOSENED, "minimum blocks 20 -> 3"),
    ("gate.baseline.confidence", 0.8, LOOSENED, "baseline confidence 0.9 -> 0.8"),
    ("gate.champion.rule", "not_worse", LOOSENED, "champion rule better -> not_worse"),
    ("gate.champion.margin", 0.001, TIGHTENED, "champion margin 0.01 -> 0.001"),
    ("gate.champion.stale_after", "1d", LOOSENED, "champion stale_after 7d -> 1d"),
    ("gate.guards.0.confidence", 0.9, LOOSENED, "guard roc_auc confidence 0.999 -> 0.9"),
    ("gate.champion.metric", "brier", CHANGED, "champion metric log_loss -> brier: CHANGED"),
    ("gate.guards", [], LOOSENED, "guard roc_auc removed"),
    ("gate.guards.0.margin", 0.05, LOOSENED, "guard roc_auc margin 0.02 -> 0.05"),
    ("gate.anchor", None, LOOSENED, "anchor removed"),
    ("gate.slices.columns", ["carrier"], LOOSENED, "slices columns origin removed: LOOSENED"),
    ("gate.slices.columns", ["carrier", "origin", "dest"], TIGHTENED, "slices columns dest added"),
    ("gate.slices.minimum_rows", 3000, LOOSENED, "slices minimum_rows 300 -> 3000"),
    ("gate.slices.search", False, LOOSENED, "slices search true -> false"),
    ("gate.slices.floors", {"roc_auc": 0.5}, TIGHTENED, "slices floor roc_auc added: 0.5"),
    ("gate.calibration", {"error": 0.2}, LOOSENED, "calibration error 0.1 -> 0.2"),
    ("gate.fairness", [], LOOSENED, "fairness origin equalized_odds_difference removed"),
    ("gate.fairness.0.at_most", 0.2, TIGHTENED, "at_most 0.3 -> 0.2"),
    ("gate.behaviour.invariances", [], LOOSENED, "behaviour invariances an aircraft's name says nothing removed"),
    ("gate.behaviour.invariances.0.within", 0.1, LOOSENED, "within 0.0 -> 0.1"),
    ("gate.behaviour.invariances.0.change.tailnum", "N1", CHANGED, "N0 -> N1: CHANGED"),
    ("gate.behaviour.directions.1.expect", "not_down", LOOSENED, "expect up -> not_down"),
    ("gate.behaviour.directions.0.share", 0.9, TIGHTENED, "share 0.8 -> 0.9"),
    ("gate.behaviour.minimums.1.at_least", 0.1, LOOSENED, "at_least 0.27 -> 0.1"),
    ("gate.behaviour.minimums.0.at_most", 0.9, LOOSENED, "at_most 0.6 -> 0.9"),
    ("gate.serving.p99_ms", 900, LOOSENED, "serving p99_ms 250.0 -> 900.0"),
    ("gate.serving.questions", 5, LOOSENED, "serving questions 200 -> 5"),
    ("gate.rebuild", False, LOOSENED, "rebuild true -> false: LOOSENED"),
    ("promotion.approval", True, TIGHTENED, "promotion approval false -> true"),
    ("promotion.verdict_valid", "30d", LOOSENED, "verdict_valid 7d -> 30d"),
    ("promotion.keep", 3, PLAIN, "promotion keep 10 -> 3"),
    ("monitor.drift_share", 0.9, LOOSENED, "drift share 0.5 -> 0.9"),
    ("monitor.decay", None, LOOSENED, "decay removed"),
    ("monitor.decay.margin", 0.01, TIGHTENED, "decay margin 0.05 -> 0.01"),
    ("schedule", "0 7 * * *", PLAIN, "schedule 0 6 * * * -> 0 7 * * *"),
    ("training.cool_down", "6h", PLAIN, "cool down 0m -> 6h"),
    ("training.holdout", "3d", PLAIN, "holdout 7d -> 3d"),
    ("parameters.max_iter", 30, PLAIN, "parameters max_iter 300 -> 30"),
    ("label.horizon", "1h", PLAIN, "label horizon 2h -> 1h"),
    ("owner", "others", PLAIN, "owner ml-flights -> others"),
    ("features.6", None, PLAIN, "features aircraft:* removed"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "weight", "said"), EDITS, ids=[f"{p}={v}" for p, v, *_ in EDITS])
def test_an_edit_is_told_by_what_it_loosens(path: str, value: Any, weight: Weight, said: str) -> None:
    (found, *rest) = told(put(path, value))
    assert rest == []
    assert said in str(found)
    assert found.weight is weight


def test_a_champion_that_need_only_be_not_worse_is_one_loosened_rule() -> None:
    without = deepcopy(RAW)
    put("gate.champion", {"metric": "log_loss"})(without)
    found = told(put("gate.champion", {"metric": "log_loss", "rule": "not_worse", "margin": 0.02}), without)
    assert [str(each) for each in found] == [
        "champion rule better -> not_worse: LOOSENED",
        "champion margin added: 0.02: LOOSENED",
    ]


def test_a_default_that_is_written_out_and_another_order_change_nothing() -> None:
    def edit(spec: dict[str, Any]) -> None:
        spec["gate"]["rebuild"] = True
        spec["features"].reverse()
        spec["gate"]["behaviour"]["minimums"].reverse()

    assert told(edit) == []


def test_a_rule_that_takes_the_place_of_another_does_not_hide_it() -> None:
    brier = {"metric": "brier", "rule": "not_worse", "margin": 0.9}
    found = told(put("gate.guards.0", brier))
    assert [each.weight for each in found] == [LOOSENED, TIGHTENED]
    assert "guard roc_auc removed" in str(found[0])


def test_of_two_guards_by_one_metric_none_is_lost() -> None:
    twice = deepcopy(RAW)
    twice["gate"]["guards"].append({"metric": "roc_auc", "rule": "better"})
    (found,) = told(put("gate.guards.1", None), twice)
    assert found.weight is LOOSENED
    assert "guard roc_auc #2 removed" in str(found)


def test_a_spec_that_does_not_load_is_compared_as_it_is_written() -> None:
    broken = deepcopy(RAW)
    broken["gate"]["florid"] = 1
    del broken["gate"]["floors"]
    said = {str(each) for each in rules.changes(RAW, broken)}
    assert "floor roc_auc removed, was: 0.62: LOOSENED" in said


def _fields(model: type[BaseModel], path: str) -> Iterator[str]:
    """Every place of a spec that holds a value, lists of rules by name."""
    for name, field in model.model_fields.items():
        inner = [
            each
            for each in _types(field.annotation)
            if isinstance(each, type) and issubclass(each, BaseModel)
        ]
        many = "tuple" in str(field.annotation)
        if inner:
            yield from _fields(inner[0], f"{path}.{name}.some" if many else f"{path}.{name}")
        else:
            yield f"{path}.{name}.some" if "dict" in str(field.annotation) else f"{path}.{name}"


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for each in get_args(annotation):
        yield from _types(each)


PLACES = [
    place
    for path, model in (
        ("gate", Gate),
        ("promotion", Promotion),
        ("degraded", Degraded),
        ("monitor", Monitor),
    )
    for place in _fields(model, path)
]


def test_every_field_of_gate_promotion_degraded_and_monitors_has_a_direction() -> None:
    """A field that is new in the catalog needs its line in directions.MODEL."""
    assert len(PLACES) > 50
    free = {"gate.metrics", "promotion.keep", "monitor.schedule", "monitor.window"}
    judged = {
        place: directions.weight(Leaf(tuple(place.split(".")), None, 1), directions.MODEL) for place in PLACES
    }
    assert {place for place, weight in judged.items() if weight is PLAIN} == free


def _weight(place: str, before: float, after: float) -> Weight:
    return directions.weight(Leaf(tuple(place.split(".")), before, after), directions.MODEL)


NUMBERS = [place for place in PLACES if {_weight(place, 1, 2), _weight(place, 2, 1)} == {LOOSENED, TIGHTENED}]


@given(st.sampled_from(NUMBERS), st.floats(0.01, 99), st.floats(0.01, 99))
def test_what_loosens_one_way_tightens_the_other(place: str, one: float, other: float) -> None:
    assert len(NUMBERS) > 25
    if one != other:
        assert {_weight(place, one, other), _weight(place, other, one)} == {LOOSENED, TIGHTENED}
