"""Cases made by hand for the checks that look at answers, labels and a model, and at nothing else."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.catalog.gate_spec import Gate
from pipelines.gate.case import Case

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
REAL = catalog.model("flight_delays")


def spec(task: str = "classification", threshold: float = 0.5, **gate: Any) -> ModelSpec:
    floors = {"roc_auc": 0.5} if task == "classification" else {"r2": 0.0}
    written = {"floors": floors, **gate}
    if task == "regression":
        written = {name: {"metric": "mae"} for name in ("baseline", "champion", "slices")} | written
    changed = {"task": task, "threshold": threshold, "gate": Gate.model_validate(written)}
    return REAL.model_copy(update=changed)


def case(model_spec: ModelSpec, rows: pd.DataFrame, said: Any, model: Any = None) -> Case:
    """`rows` hold at least `label`; rows of one hour follow each other, fifteen at a time."""
    asked = pd.Timestamp("2013-01-01", tz="UTC") + pd.to_timedelta(np.arange(len(rows)) // 15, unit="h")
    held = rows.assign(event_timestamp=asked)
    absent: Any = SimpleNamespace()
    made = Case(model_spec, absent, None, None, held, absent, absent, NOW)
    made.answers["candidate"] = np.asarray(said, dtype="float64")
    made.__dict__["model"] = model
    return made
