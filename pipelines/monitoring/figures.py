"""What some answers are worth, by those of them whose truth is known."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.gate.estimates import codes_of, estimated
from pipelines.gate.intervals import interval
from pipelines.monitoring.calibration import expected
from pipelines.monitoring.truth import KNOWN, NEVER, PENDING
from pipelines.training.metrics import defined

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Some answers. `metric` is of those whose truth is `known`, with its interval, hours left out together; None where
    it means nothing. `expected` is an estimate of it, for all of them."""

    answers: int
    known: int
    pending: int
    never: int
    degraded: int
    metric: float | None
    low: float | None
    high: float | None
    expected: float | None


@dataclass(frozen=True, kw_only=True)
class Day(Figures):
    """Those about the events of one day (UTC)."""

    day: str


@dataclass(frozen=True, kw_only=True)
class Part(Figures):
    """A slice, or an arm of a rollout, over all days and day by day."""

    name: str
    days: tuple[Day, ...]


def part(spec: ModelSpec, metric: str, name: str, rows: "pd.DataFrame") -> Part:
    """The rows as a whole and day by day, the oldest first."""
    each = rows.groupby(rows["event_timestamp"].dt.floor("D"))
    days = tuple(Day(day=f"{day:%Y-%m-%d}", **asdict(figures(spec, metric, some))) for day, some in each)
    return Part(name=name, days=days, **asdict(figures(spec, metric, rows)))


def figures(spec: ModelSpec, metric: str, rows: "pd.DataFrame") -> Figures:
    """Of rows as `truth.answered` gives them, with the `chance` of each."""
    counts = rows["state"].value_counts()
    value, low, high = measured(spec, metric, rows[rows["state"] == KNOWN])
    binary = spec.task == "classification" and len(rows)
    return Figures(
        answers=len(rows),
        known=int(counts.get(KNOWN, 0)),
        pending=int(counts.get(PENDING, 0)),
        never=int(counts.get(NEVER, 0)),
        degraded=int(rows["degraded"].sum()),
        metric=value,
        low=low,
        high=high,
        expected=expected(metric, said(rows), rows["chance"].to_numpy("float64")) if binary else None,
    )


def measured(
    spec: ModelSpec, metric: str, known: "pd.DataFrame"
) -> tuple[float | None, float | None, float | None]:
    """The metric and its interval, both None where too little is known for it to mean something."""
    import numpy as np

    labels = known["label"].to_numpy("float64")
    if not defined(spec.task, labels):
        return None, None, None
    hours = hours_of(known)
    with np.errstate(all="ignore"):
        found = estimated(metric, labels, said(known), codes_of(hours))
        told = interval(found, len(np.unique(hours)), CONFIDENCE)
    value, low, high = (finite(each) for each in (told.mean, told.low, told.high))
    return value, low, high


def finite(value: float | None) -> float | None:
    """The number; None for one that has no end, or is none."""
    from math import isfinite

    return float(value) if value is not None and isfinite(value) else None


def hours_of(rows: "pd.DataFrame") -> "NDArray[Any]":
    """The hour of each event, of which the rows go together."""
    import numpy as np

    moments = rows["event_timestamp"].to_numpy("datetime64[us]")
    return np.asarray(moments.astype("datetime64[h]").astype("int64"))


def said(rows: "pd.DataFrame") -> "NDArray[Any]":
    """The answers; (n,) or (n, classes)."""
    import numpy as np

    return np.array(rows["said"].tolist(), dtype="float64")
