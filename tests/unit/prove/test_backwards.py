"""The candidate that is planted to answer the wrong way round does so, whatever the model's spec asks for."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.catalog import model
from pipelines.catalog.gate_spec import Direction
from pipelines.prove.gates.candidates import backwards

WANTED = {"up": 1, "not_down": 1, "down": -1, "not_up": -1}
DICE = np.random.default_rng(0)
INPUTS = pd.DataFrame({"told": DICE.normal(size=300), "idle": DICE.normal(size=300)})
LABELS: dict[str, Any] = {
    "regression": INPUTS.told * 3 + DICE.normal(size=300),
    "classification": (INPUTS.told > DICE.normal(size=300)).astype(int),
    "multiclass": pd.Series(np.digitize(INPUTS.told, [-0.5, 0.5])).map({0: "low", 1: "mid", 2: "high"}),
}
WHOSE = {"regression": "airport_hours", "classification": "flight_delays", "multiclass": "flight_delays"}


def asking(task: str, direction: Direction) -> Any:
    spec = model(WHOSE[task])
    behaviour = spec.gate.behaviour.model_copy(update={"directions": [direction]})
    gate = spec.gate.model_copy(update={"behaviour": behaviour})
    return spec.model_copy(update={"task": task, "gate": gate})


@pytest.mark.parametrize("by", [2.0, -2.0])
@pytest.mark.parametrize("expect", WANTED)
@pytest.mark.parametrize("task", LABELS)
def test_answers_move_against_what_is_declared(task: str, expect: Any, by: float) -> None:
    named = {"class": "high"} if task == "multiclass" else {}
    spec = asking(task, Direction(name="a rule", add={"told": by}, expect=expect, **named))
    planted = backwards(spec, INPUTS, LABELS[task])
    said = planted.predict if task == "regression" else planted.predict_proba
    moves = said(INPUTS.assign(told=INPUTS.told + by)) - said(INPUTS)
    if task != "regression":
        moves = moves[:, list(planted.classes_).index("high" if named else 1)]
    assert (moves * WANTED[expect] < 0).all()
