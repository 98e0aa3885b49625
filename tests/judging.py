"""Cases made by hand for the checks that look at answers, labels and a model, and at nothing else."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.catalog.gate_spec import Gate, of_task
from pipelines.gate.case import Case

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
REAL = catalog.model("flight_delays")
CLASSES = ("early", "on time", "late", "never")


def spec(task: str = "classification", threshold: float = 0.5, **gate: Any) -> ModelSpec:
    floors = {"r2": 0.0} if task == "regression" else {"roc_auc": 0.5}
    written = {"floors": floors, **gate}
    written = written if task == "classification" else of_task(task, written)
    changed: dict[str, Any] = {"task": task, "threshold": threshold, "gate": Gate.model_validate(written)}
    if task == "multiclass":
        changed["label"] = REAL.label.model_copy(update={"classes": CLASSES})
    return REAL.model_copy(update=changed)


def of_classes(seed: int, rows: int = 600, noise: float = 1.0, rare: float = 0.0) -> list[np.ndarray]:
    """Places of CLASSES that were drawn, and the probabilities of two models that know about as much of them.

    Some answers tie, as they are of few decimals; `rare` makes the last class that much rarer.
    """
    draw = np.random.default_rng(seed)
    truth = draw.normal(size=(rows, len(CLASSES))) - rare * np.eye(len(CLASSES))[-1]
    chances, *said = (
        _softmax(np.round(truth + draw.normal(0, s, truth.shape), 1)) for s in (0, noise, noise)
    )
    labels = (chances.cumsum(axis=1) < draw.random((rows, 1))).sum(axis=1).astype("float64")
    return [np.minimum(labels, len(CLASSES) - 1), *said]


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores)
    return powers / powers.sum(axis=1, keepdims=True)


def case(model_spec: ModelSpec, rows: pd.DataFrame, said: Any, model: Any = None) -> Case:
    """`rows` hold at least `label`; rows of one hour follow each other, fifteen at a time."""
    asked = pd.Timestamp("2013-01-01", tz="UTC") + pd.to_timedelta(np.arange(len(rows)) // 15, unit="h")
    held = rows.assign(event_timestamp=asked)
    absent: Any = SimpleNamespace()
    made = Case(model_spec, absent, None, None, held, absent, absent, NOW)
    made.answers["candidate"] = np.asarray(said, dtype="float64")
    made.__dict__["model"] = model
    return made
