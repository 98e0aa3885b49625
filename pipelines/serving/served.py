"""What one answer takes: a loaded version, the features that were found, and the row made of question and features."""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.stores.audit.licences import Licence
from pipelines.stores.feature_store.online_values import Online

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


UNREAD = "the feature store could not be read, so every feature is missing"
GONE = "the feature store has nothing of a view that the model reads; `evergreen features compute` brings it"
NOTHING = "nothing recent enough is known of these entities, so every feature is missing"
NEWER = "features are newer than the event asked about, so nobody could have known them before it"


@dataclass(frozen=True)
class Found:
    """The features of one question; `degraded` when they are not what the model needs: `reason` says why.

    `known` says how far each view had come: version, as_of, and the Delta version of its table; None of one that is
    not online at all, and altogether where the store could not be read.
    """

    values: dict[str, Any]
    missing: list[str]
    degraded: bool = False
    known: dict[str, Any] | None = None
    reason: str | None = None

    @property
    def broken(self) -> bool:
        """Whether the store failed, or lost a view: no question's fault."""
        return self.known is None or bool(_gone(self.known))


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


def judged(spec: ModelSpec, names: Sequence[str], online: Online, event: datetime | None) -> Found:
    """A question's features as the model takes them, and whether they are what it needs, by its spec."""
    values = {name: _without_nan(online.values.get(name)) for name in names}
    missing = [name for name, value in values.items() if value is None]
    reason = _reason(spec, values, len(missing), online, event)
    return Found(values, missing, degraded=reason is not None, known=online.known, reason=reason)


def _reason(
    spec: ModelSpec, values: Mapping[str, Any], missing: int, online: Online, event: datetime | None
) -> str | None:
    """Why an answer with these features is degraded; None if it is not."""
    gone = _gone(online.known)
    if gone:
        return f"{GONE}: {', '.join(gone)}"
    if values and missing == len(values):
        return NOTHING
    newer = [] if event is None else [name for name, at in online.since.items() if at > event]
    if newer:
        return f"{len(newer)} {NEWER}: {', '.join(newer[:5])}"
    lacking = spec.degraded.lacking(values)
    if lacking:
        return f"the model must know what is missing: {', '.join(lacking)}"
    if values and missing >= spec.degraded.missing * len(values):
        return f"{missing} of {len(values)} features are missing, which the model's spec calls degraded"
    return None


def _gone(known: Mapping[str, Any]) -> list[str]:
    """Views of which nothing is online: whatever a champion reads was there when it was trained."""
    return [view for view, state in known.items() if state is None]


def _without_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


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
