"""What one answer takes: a loaded version, the features that were found, and the row made of question and features."""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from pipelines.catalog import ModelSpec
from pipelines.stores.audit.licences import Licence

if TYPE_CHECKING:
    import pandas as pd

DTYPES: dict[str, Any] = {
    "string": "object",
    "integer": "int64",
    "float": "float64",
    "timestamp": "datetime64[us, UTC]",
}


@dataclass(frozen=True)
class Found:
    """The features of one question; `degraded` when the store could not be read, or knows too much: `reason` says.

    `known` says how far each view had come: version, as_of, and the Delta version of its table.
    """

    values: dict[str, Any]
    missing: list[str]
    degraded: bool = False
    known: dict[str, Any] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Served:
    """A loaded model version; replaced whole, never changed."""

    version: int
    digest: str
    as_of: Any
    licence: Licence
    pipeline: Any
    features: tuple[str, ...]
    views: Mapping[str, int] = field(default_factory=dict)
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    limited: threading.local = field(default_factory=threading.local, repr=False)
    controller: Any = field(default=None, repr=False)

    def answer(self, row: "pd.DataFrame") -> float:
        """P(label = 1) of a one-row frame, or a regression's value; anything but such a number is an error."""
        self._one_thread()
        if hasattr(self.pipeline, "predict_proba"):
            value, least, most = float(self.pipeline.predict_proba(row)[0, 1]), 0.0, 1.0
        else:
            value, least, most = float(self.pipeline.predict(row)[0]), -math.inf, math.inf
        if not (math.isfinite(value) and least <= value <= most):
            raise ValueError(
                f"the model answered {value}, which is no {'value' if most > 1 else 'probability'}"
            )
        return value

    def _one_thread(self) -> None:
        """One row is answered faster by one thread; OpenMP keeps its limit per thread, so each sets it."""
        if not getattr(self.limited, "done", False):
            self.controller.limit(limits=1)
            self.limited.done = True


def row(spec: ModelSpec, asked: BaseModel, features: Mapping[str, Any], pipeline: Any) -> "pd.DataFrame":
    """One row: entities, request, view__feature, typed as in training; a missing feature is NaN.

    The columns stand in the order the pipeline was fitted on, if it says.
    """
    import pandas as pd

    body = asked.model_dump()
    fields = {**spec.entities, **spec.request}
    values = {**body["entities"], **body["request"]}
    made: dict[str, Any] = {n: pd.Series([v], dtype=_dtype(fields[n].type, v)) for n, v in values.items()}
    made |= {name: [math.nan if value is None else value] for name, value in features.items()}
    frame = pd.DataFrame(made)
    columns = getattr(pipeline, "feature_names_in_", None)
    return frame if columns is None else frame[list(columns)]


def _dtype(kind: str, value: Any) -> Any:
    """The type in training; there a column of whole numbers is one of floats once one is missing."""
    return "float64" if value is None and kind == "integer" else DTYPES[kind]
