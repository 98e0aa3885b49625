"""How a model does over time, by its answers and what became of them; and before that is known, an estimate."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import NothingToDo
from pipelines.gate.estimates import codes_of, estimated
from pipelines.gate.intervals import interval
from pipelines.monitoring.truth import KNOWN, NEVER, PENDING, answered
from pipelines.stores import Stores
from pipelines.training.metrics import defined, measures

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

CONFIDENCE = 0.95
SHOWN = timedelta(days=90)
"""So long before the newest answer a page begins."""
WEIGHTED = ("roc_auc", "average_precision", "log_loss", "brier")
"""Metrics whose expectation under the answers themselves can be told; only of probabilities."""


@dataclass(frozen=True)
class Period:
    """One version's answers about the events of one day (UTC).

    `metric` on those whose truth is `known`, with its interval, hours left out together; None where it means nothing.
    `expected` is what the metric would be if the answers' probabilities were right: an estimate, for all of them.
    `metrics` has every metric of the task.
    """

    day: str
    version: int
    answers: int
    known: int
    pending: int
    never: int
    degraded: int
    metric: float | None
    low: float | None
    high: float | None
    expected: float | None
    metrics: dict[str, float]


@dataclass(frozen=True)
class Performance:
    """A model's days, oldest first, by the metric that its monitor goes by."""

    model: str
    as_of: datetime
    metric: str
    periods: tuple[Period, ...]


def performance(spec: ModelSpec, since: datetime, as_of: datetime, stores: Stores) -> Performance:
    """Day by day and version by version, from the prediction log and the truth known at `as_of`."""
    rows = answered(spec, stores.predictions.between(spec.name, since, as_of), as_of, stores)
    if rows.empty:
        raise NothingToDo(
            f"the prediction log holds no answer of {spec.name} about events from {since:%Y-%m-%d %H:%M} to"
            f" {as_of:%Y-%m-%d %H:%M}"
        )
    name = metric_of(spec)
    return Performance(spec.name, as_of, name, tuple(_periods(spec, name, rows)))


def metric_of(spec: ModelSpec) -> str:
    """The metric by which a model's decay is judged; its task's usual one where that is not judged."""
    usual = "mae" if spec.task == "regression" else "log_loss"
    return str(spec.monitor.decay.metric) if spec.monitor.decay else usual


def _periods(spec: ModelSpec, metric: str, rows: "pd.DataFrame") -> Iterator[Period]:
    days = rows["event_timestamp"].dt.strftime("%Y-%m-%d")
    for day in sorted(days.unique()):
        some = rows[days == day]
        for version in sorted(some["version"].unique()):
            yield _period(spec, metric, day, int(version), some[some["version"] == version])


def _period(spec: ModelSpec, metric: str, day: str, version: int, rows: "pd.DataFrame") -> Period:
    counts, known = rows["state"].value_counts(), rows[rows["state"] == KNOWN]
    labels, said = known["label"].to_numpy("float64"), _said(known)
    hours = known["event_timestamp"].dt.floor("h").astype("int64").to_numpy()
    value, low, high = _measured(spec, metric, labels, said, hours)
    return Period(
        day=day,
        version=version,
        answers=len(rows),
        known=len(known),
        pending=int(counts.get(PENDING, 0)),
        never=int(counts.get(NEVER, 0)),
        degraded=int(rows["degraded"].sum()),
        metric=value,
        low=low,
        high=high,
        expected=expected(metric, _said(rows)) if spec.task == "classification" else None,
        metrics=measures(spec.task, labels, said),
    )


def _measured(
    spec: ModelSpec, metric: str, labels: "NDArray[Any]", said: "NDArray[Any]", hours: "NDArray[Any]"
) -> tuple[float | None, float | None, float | None]:
    """The metric and its interval, both None where too little is known for it to mean something."""
    import numpy as np

    if not len(labels) or not defined(spec.task, labels):
        return None, None, None
    with np.errstate(all="ignore"):
        found = estimated(metric, labels, said, codes_of(hours))
        told = interval(found, len(np.unique(hours)), CONFIDENCE)
    value, low, high = (float(v) if np.isfinite(v) else None for v in (told.mean, told.low, told.high))
    return value, low, high


def _said(rows: "pd.DataFrame") -> "NDArray[Any]":
    import numpy as np

    return np.array(rows["said"].tolist(), dtype="float64")


def expected(metric: str, said: "NDArray[np.float64]") -> float | None:
    """What a metric is on average if each probability is right: every row counts as both, by what it says of each.

    Confidence-based performance estimation without a calibration of its own: the gate holds the answers to theirs.
    """
    import numpy as np
    from sklearn import metrics

    if metric not in WEIGHTED or not len(said):
        return None
    both, weights = np.repeat([1.0, 0.0], len(said)), np.concatenate([said, 1 - said])
    function = {
        "roc_auc": metrics.roc_auc_score,
        "average_precision": metrics.average_precision_score,
        "log_loss": metrics.log_loss,
        "brier": metrics.brier_score_loss,
    }[metric]
    return float(function(both, np.tile(said, 2), sample_weight=weights))
