"""What one answer takes: a loaded version, the features that were found, and the row made of question and features."""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.stores.audit.licences import Licence

if TYPE_CHECKING:
    import pandas as pd

Said = float | list[float]
"""What a model answers one question with."""
SUM = 1e-6
"""How far probabilities may be from one in sum; 32-bit floats are a tenth of that."""
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


Body = Mapping[str, Mapping[str, Any]]
"""A question's entities and request, as values."""
Question = tuple[Body, Found]
"""What is asked, and the features that were found for it."""


@dataclass(frozen=True)
class Served:
    """A loaded model version; replaced whole, never changed. `shortly` says what `pipeline` says, in less time."""

    version: int
    digest: str
    as_of: Any
    licence: Licence
    pipeline: Any
    features: tuple[str, ...]
    classes: tuple[str | int, ...] = ()
    views: Mapping[str, int] = field(default_factory=dict)
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    limited: threading.local = field(default_factory=threading.local, repr=False)
    controller: Any = field(default=None, repr=False)
    shortly: Any = field(default=None, repr=False)

    def answers(self, rows: "pd.DataFrame") -> list[Said]:
        """Of each row P(label = 1), a regression's value, or the probability of each class in the spec's order;
        anything but such numbers is an error."""
        self.one_thread()
        return answers_of(self.shortly or self.pipeline, self.classes, rows)

    def one_thread(self) -> None:
        """One row is answered faster by one thread; OpenMP keeps its limit per thread, so each sets it."""
        if not getattr(self.limited, "done", False):
            self.controller.limit(limits=1)
            self.limited.done = True


def answers_of(pipeline: Any, classes: Sequence[str | int], rows: "pd.DataFrame") -> list[Said]:
    """As `Served.answers`, of a pipeline by itself."""
    if classes:
        return _of_classes(pipeline, rows, len(classes))
    if hasattr(pipeline, "predict_proba"):
        values, least, most = pipeline.predict_proba(rows)[:, 1], 0.0, 1.0
    else:
        values, least, most = pipeline.predict(rows), -math.inf, math.inf
    said = [float(value) for value in values]
    bad = next((value for value in said if not (math.isfinite(value) and least <= value <= most)), None)
    if bad is not None or len(said) != len(rows):
        raise ValueError(f"the model answered {bad}, which is no {'value' if most > 1 else 'probability'}")
    return [*said]


def _of_classes(pipeline: Any, rows: "pd.DataFrame", many: int) -> list[Said]:
    """Of each row a probability of each class, by its place; one that the model never saw has 0."""
    places = [*map(int, pipeline.classes_)]
    return [
        _distribution(dict(zip(places, row.tolist(), strict=True)), many)
        for row in pipeline.predict_proba(rows)
    ]


def _distribution(said: dict[int, float], many: int) -> list[float]:
    found = [float(said.pop(place, 0.0)) for place in range(many)]
    if said or not all(0 <= chance <= 1 for chance in found) or abs(math.fsum(found) - 1) > SUM:
        raise ValueError(f"the model answered {found}, which are no probabilities of {many} classes")
    return found


def rows(spec: ModelSpec, questions: Sequence[Question], pipeline: Any) -> "pd.DataFrame":
    """A row of each question, of one `kind`: entities, request, view__feature, typed as in training; missing is NaN.

    The columns stand in the order the pipeline was fitted on, if it says.
    """
    import pandas as pd

    fields, bodies = {**spec.entities, **spec.request}, [flat(asked) for asked, _ in questions]
    made: dict[str, Any] = {
        name: pd.Series([body[name] for body in bodies], dtype=_dtype(fields[name].type, first))
        for name, first in bodies[0].items()
    }
    for name in questions[0][1].values:
        made[name] = _column([found.values[name] for _, found in questions])
    columns = getattr(pipeline, "feature_names_in_", None)
    return pd.DataFrame(made if columns is None else {name: made[name] for name in columns})


def _column(values: Sequence[Any]) -> Any:
    """A feature of each question; numbers as the array that a frame would make of them."""
    import numpy as np

    known = [math.nan if value is None else value for value in values]
    return np.array(known) if type(known[0]) in (float, int) else known


def kind(question: Question) -> tuple[type, ...]:
    """The types of a question's values: in one frame with others of its kind it looks as it does alone.

    A feature that is missing is a float, which is what NaN is.
    """
    asked, found = question
    known = (float if value is None else type(value) for value in found.values.values())
    return (*map(type, flat(asked).values()), *known)


def flat(asked: Body) -> dict[str, Any]:
    """Each field of a question by its name."""
    return {**asked["entities"], **asked["request"]}


def _dtype(kind: str, value: Any) -> Any:
    """The type in training; there a column of whole numbers is one of floats once one is missing."""
    return "float64" if value is None and kind == "integer" else DTYPES[kind]
