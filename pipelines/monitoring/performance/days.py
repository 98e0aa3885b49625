"""How a model does over time, by its answers and what became of them; and before that is known, an estimate."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.catalog import ModelSpec
from pipelines.catalog.gate_spec import METRICS
from pipelines.contracts import NothingToDo
from pipelines.gate.slicing import slices
from pipelines.monitoring.arms import Arms, Span, compared, with_arms
from pipelines.monitoring.calibration import NOTHING, Track, calibrated, expected
from pipelines.monitoring.figures import Figures, Part, figures, finite, part, said
from pipelines.monitoring.truth import KNOWN, answered
from pipelines.stores import Stores
from pipelines.training.metrics import measures

if TYPE_CHECKING:
    import pandas as pd

SHOWN = timedelta(days=90)
"""So long before the newest answer a page begins."""


@dataclass(frozen=True, kw_only=True)
class Period(Figures):
    """One version's answers about the events of one day (UTC), as the champion or as the challenger of a rollout.

    `expected` is calibrated by what `basis` says, without any label of that day; `claimed` is what the metric would be
    if the answers' own probabilities were right. `metrics` has every metric of the task.
    """

    day: str
    version: int
    arm: str
    claimed: float | None
    basis: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Performance:
    """A model's days, oldest first, by the metric that its monitor goes by.

    `slices` are those of the spec's gate, the worst first, all versions together; `enough` says how many known answers
    one needs for its place to mean something. `track` is how far estimates were off so far.
    """

    model: str
    as_of: datetime
    metric: str
    periods: tuple[Period, ...]
    whole: Part
    slices: tuple[Part, ...]
    enough: int
    arms: tuple[Arms, ...]
    track: Track


def performance(
    spec: ModelSpec, since: datetime, as_of: datetime, stores: Stores, rollouts: Sequence[Span] = ()
) -> Performance:
    """Day by day, version by version, in slices and arms, from the prediction log and the truth known at `as_of`.

    `rollouts` are those the model had, whenever.
    """
    of_features = not {*spec.gate.slices.columns} <= {*spec.entities, *spec.request}
    logged = stores.predictions.between(spec.name, since, as_of, of_features)
    rows = answered(spec, logged, as_of, stores)
    if rows.empty:
        raise NothingToDo(
            f"the prediction log holds no answer of {spec.name} about events from {since:%Y-%m-%d %H:%M} to"
            f" {as_of:%Y-%m-%d %H:%M}"
        )
    return judged(spec, rows, as_of, stores, rollouts)


def judged(
    spec: ModelSpec, rows: "pd.DataFrame", as_of: datetime, stores: Stores, rollouts: Sequence[Span] = ()
) -> Performance:
    """The same of answers that have met their truth, as `truth.answered` gives them."""
    cut = [each for column in spec.gate.slices.columns for each in slices(rows, column)]
    rows = with_arms(calibrated(spec, rows, as_of, stores), rollouts)
    name = metric_of(spec)
    parts = [part(spec, name, each.name.removeprefix("slice "), rows[each.mask]) for each in cut]
    periods = tuple(_periods(spec, name, rows))
    return Performance(
        model=spec.name,
        as_of=as_of,
        metric=name,
        periods=periods,
        whole=part(spec, name, "all", rows),
        slices=tuple(sorted(parts, key=lambda each: _place(spec, name, each))),
        enough=spec.gate.slices.minimum_rows,
        arms=compared(spec, name, rows, rollouts, stores),
        track=track(periods),
    )


def metric_of(spec: ModelSpec) -> str:
    """The metric by which a model's decay is judged; its task's usual one where that is not judged."""
    usual = "mae" if spec.task == "regression" else "log_loss"
    return str(spec.monitor.decay.metric) if spec.monitor.decay else usual


def _periods(spec: ModelSpec, metric: str, rows: "pd.DataFrame") -> Iterator[Period]:
    days = rows["event_timestamp"].dt.strftime("%Y-%m-%d")
    for (day, version, arm), some in rows.groupby([days, "version", "arm"]):
        known = some[some["state"] == KNOWN]
        yield Period(
            day=str(day),
            version=int(str(version)),
            arm=str(arm),
            claimed=expected(metric, said(some)) if spec.task == "classification" else None,
            basis=str(some["basis"].iloc[0]),
            metrics=measures(spec.task, known["label"].to_numpy("float64"), said(known)),
            **asdict(figures(spec, metric, some)),
        )


def _place(spec: ModelSpec, metric: str, found: Part) -> tuple[bool, float, str]:
    """Where a slice comes: the worst first, those that know too little last."""
    if found.metric is None or found.known < spec.gate.slices.minimum_rows:
        return True, -found.known, found.name
    return False, found.metric if METRICS[metric][1] else -found.metric, found.name


def track(periods: Sequence[Period]) -> Track:
    """How far the calibrated estimates were off on days whose truth is all there."""
    import numpy as np

    known = [
        (each.metric, each.expected, each.claimed, each.low, each.high)
        for each in periods
        if each.basis != NOTHING
        and each.pending == 0
        and None not in map(finite, (each.metric, each.expected, each.claimed))
    ]
    if not known:
        return Track(0)
    metric, estimate, claimed, low, high = np.array(known, dtype="float64").T
    inside = ((low <= estimate) & (estimate <= high))[~np.isnan(low)]
    return Track(
        days=len(known),
        error=float(np.abs(estimate - metric).mean()),
        claimed=float(np.abs(claimed - metric).mean()),
        inside=float(inside.mean()) if len(inside) else None,
    )
