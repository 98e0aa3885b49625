"""The real flights of 2013: which alarms of drift began when, and what the frozen model lost meanwhile."""

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec, model
from pipelines.contracts import Say
from pipelines.loop import steps
from pipelines.loop.replay import replay
from pipelines.monitoring.policy import Woken
from pipelines.prove import Proof
from pipelines.prove.alarms.days import Looked, looked
from pipelines.prove.alarms.picture import drawn
from pipelines.settings import scratch
from pipelines.stores import Stores

if TYPE_CHECKING:
    import pandas as pd

PROMISE = "each alarm of a year of real flights is told with its day, its column and what the frozen model lost then"


def prove(name: str, first: date, begin: date, end: date, home: Path, say: Say) -> Proof:
    """A model of the days from `first` to `begin` stays as it is, and is looked at each day up to `end`."""
    with scratch(home):
        spec, stores = model(name), steps.stores()
        begun, stop = midnight(begin), midnight(end)
        _trained(spec, first, begun, stop, stores, say)
        rows = _later(spec, begun, stop, stores)
        say(f"{len(rows):,} rows after the training")
        found = looked(spec, rows, begun, stop, stores, say)
        path = drawn(found, stores.settings.home / "reports" / "alarms.png")
        say(f"In its home, {path.relative_to(stores.settings.home)}: week by week")
    failures = (
        [] if found.days and found.calibrated else ["no day was looked at by a reference that is calibrated"]
    )
    return Proof(PROMISE, months(found), failures)


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _trained(spec: ModelSpec, first: date, begun: datetime, stop: datetime, stores: Stores, say: Say) -> None:
    """Version 1, of what was known when it begins; what a home has already is not made again."""
    if stores.tracking.newest(spec.name) is not None:
        return
    files = list(replay(spec.name, first, stop.date(), "bulk", stores.settings.landing_path))
    say(f"{len(files)} files landed")
    for dataset in spec.datasets:
        steps.ingest(dataset)
    say("ingested")
    for moment in (begun, stop):
        steps.all_computed(steps.features(moment.isoformat(), say=say))
    now = begun.isoformat()
    plan = steps.plan(spec.name, now, now=now, woken=Woken.PERSON, reason="the beginning")
    steps.train(spec.name, steps.training_set(spec.name, now), plan, now)
    say("trained")


def _later(spec: ModelSpec, begun: datetime, stop: datetime, stores: Stores) -> "pd.DataFrame":
    """The labelled rows after the training with the features that were known when they were asked, and what it says."""
    from pipelines.training.answers import answers
    from pipelines.training.training_set import as_served, labels

    version = stores.tracking.version(spec.name, 1)
    known = labels(spec, stop, stores)
    rows = as_served(spec, known[known["event_timestamp"] > begun - spec.monitor.window], version, stores)
    said = answers(stores.tracking.load(spec.name, 1), rows, spec.outputs)
    return rows.assign(said=said).sort_values("event_timestamp", ignore_index=True)


def months(found: Looked) -> list[dict[str, Any]]:
    """A row per month: the loss, how much of what the answers hang on moved, and the alarms that began."""
    told = []
    for month in sorted({day.day.replace(day=1) for day in found.days}):
        days = [each for each in found.days if each.day.replace(day=1) == month]
        begun = [each for each in found.alarms if each.day.replace(day=1) == month]
        loud = sorted(begun, key=lambda each: -each.finding.effect)
        told.append(
            {
                "month": f"{month:%B}",
                "log loss": f"{sum(d.lost for d in days) / sum(d.rows for d in days):.4f}",
                "at its gate": f"{found.at_gate:.4f}",
                "moved": f"{sum(d.share for d in days) / len(days):.0%}",
                "alarms": len(begun),
                "largest": ", ".join(dict.fromkeys(f"{a.finding.column} {a.day:%d.}" for a in loud[:3])),
            }
        )
    return told
