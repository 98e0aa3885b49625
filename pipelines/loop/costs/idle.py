"""Models that have a champion and answer nobody: what they cost a week."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.loop.costs.findings import Asked, Finding, said
from pipelines.loop.costs.shares import Users, alone, shares
from pipelines.promotion import champions
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import CHAMPION
from pipelines.stores.watching.costs import OK, SERVE, SERVE_IDLE, Figure

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
    """What was measured in less than a week is told as it is; longer times, by the week. What the answers took that it
    once gave is nothing that turning it off would save."""
    own = [(figure, alone(figure, spec.name, known)) for figure in figures if figure.stage != SERVE]
    parts = [(figure, part) for figure, part in own if part]
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
        f" (features and datasets that others use as well would stay)"
        f"{_served(spec.name, [each for each in figures if last is None or each.began_at >= last], known)}",
        f"pause retrain_{spec.name} and monitor_{spec.name} in Airflow, or let them tick rarely:"
        f" {catalog.place(spec, 'schedule')} (schedule), {monitor} (monitor.schedule)",
        weekly if parts else None,
    )


def _served(model: str, figures: list[Figure], known: Users) -> str:
    """What serving took that answers nobody, as far as it is this model's; nothing where none was measured."""
    idle = [figure for figure in figures if figure.stage == SERVE_IDLE and model in shares(figure, known)]
    if not idle:
        return ""
    its = sum(figure.cpu * float(shares(figure, known)[model]) for figure in idle)
    wall = sum(figure.wall for figure in idle) / 3600
    peak = max((figure.peak or 0 for figure in idle), default=0)
    memory = f" with up to {peak / 1e6:,.0f} MB each" if peak else ""
    others = sorted({name for figure in idle for name in shares(figure, known)} - {model})
    shared = f", its part beside {', '.join(others)}, which the same processes serve" if others else ""
    return (
        f"; serving stood idle for {wall:,.1f} hours of its processes since {idle[0].began_at:%Y-%m-%d}{memory}, which"
        f" took {said(its)}{shared}"
    )
