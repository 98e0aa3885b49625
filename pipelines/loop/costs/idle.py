"""Models that have a champion and answer nobody: what they cost a week."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.loop.costs.findings import Asked, Finding, said
from pipelines.loop.costs.shares import Users, alone
from pipelines.promotion import champions
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import CHAMPION
from pipelines.stores.watching.costs import OK, Figure

IDLE = "idle model"
WEEK = timedelta(days=7)


def findings(
    figures: list[Figure], known: Users, stores: Stores, now: datetime, asked: Asked
) -> Iterator[Finding]:
    """One for each model that had a champion for so many days and in them gave no answer and scored no file."""
    span = timedelta(days=min(asked.idle_days, stores.settings.prediction_log_days or asked.idle_days))
    traffic = stores.predictions.traffic()
    for name, spec in catalog.models().items():
        last = traffic[name][1] if name in traffic else None
        if (last is None or last < now - span) and not _scored(name, figures, now - span):
            since = _reigned(name, stores)
            if since is not None and since <= now - span:
                yield _finding(spec, last, since, figures, known, now)


def _scored(model: str, figures: list[Figure], since: datetime) -> bool:
    found = (f for f in figures if (f.stage, f.subject, f.outcome) == ("score", model, OK))
    return any(figure.began_at >= since for figure in found)


def _reigned(model: str, stores: Stores) -> datetime | None:
    """From when on the model has had a champion; None if it has none."""
    if stores.tracking.named(model, CHAMPION) is None:
        return None
    found = champions.tenures(model, stores)
    return found[0].since if found else None


def _finding(
    spec: ModelSpec,
    last: datetime | None,
    since: datetime,
    figures: list[Figure],
    known: Users,
    now: datetime,
) -> Finding:
    """What was measured in less than a week is told as it is; longer times, by the week."""
    parts = [(figure, part) for figure in figures if (part := alone(figure, spec.name, known))]
    begun = min((figure.began_at for figure in figures), default=now)
    weekly = sum(figure.cpu * float(part) for figure, part in parts) * (WEEK / max(now - begun, WEEK))
    monitor = catalog.place(spec, "monitor", "schedule")
    last_said = (
        f"the last answer was asked for at {last:%Y-%m-%d %H:%M} UTC" if last else "no answer is logged"
    )
    runs = sum(figure.runs for figure, _ in parts)
    return Finding(
        IDLE,
        (spec.name,),
        f"{spec.name} has had a champion since {since:%Y-%m-%d} and {last_said}, and no file was scored; {runs} runs of"
        f" steps for it alone since {begun:%Y-%m-%d} cost {said(weekly)} a week, which turning it off would save"
        " (features and datasets that others use as well would stay)",
        f"pause retrain_{spec.name} and monitor_{spec.name} in Airflow, or let them tick rarely:"
        f" {catalog.place(spec, 'schedule')} (schedule), {monitor} (monitor.schedule)",
        weekly if parts else None,
    )
