"""Numbers of each model: its champion, its trainings, and what the monitor said of it last."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pipelines import catalog
from pipelines.contracts import Cause
from pipelines.loop.gauges.names import Sample
from pipelines.stores.shared.files import Files
from pipelines.stores.watching.totals import Totals

if TYPE_CHECKING:
    from pipelines.stores.tracking.registry import Version

STEPS = ("planned", "began", "ended")
ASKING = (Cause.DRIFT, Cause.DECAY)


def champion(model: str, named: "Callable[[str], Version | None]") -> Iterator[Sample]:
    """Who the registry calls champion."""
    found = named(model)
    yield Sample("model_champion_version", (model,), found.version if found else 0)
    if found is not None:
        known = found.as_of.timestamp()
        yield Sample("model_champion_known_timestamp_seconds", (model, str(found.version)), known)


def trainings(totals: Totals) -> Iterator[Sample]:
    """How many trainings there were, and when the last ones began and ended."""
    for model, found in totals.trained().items():
        for step in STEPS:
            yield Sample("trainings", (model, step), getattr(found, step))
        yield Sample("trainings_open", (model,), found.open)
        for step, moment in (("began", found.last_began), ("ended", found.last_ended)):
            if moment is not None:
                yield Sample(f"training_{step}_timestamp_seconds", (model,), moment.timestamp())


def signals(totals: Totals) -> Iterator[Sample]:
    """What asks for a training and has none."""
    found = totals.signals()
    for model in catalog.models():
        for cause in ASKING:
            yield Sample("signals_open", (model, cause.value), found.get((model, cause.value), 0))


def answers(totals: Totals) -> Iterator[Sample]:
    """When each model answered last."""
    for model, moment in totals.answered(list(catalog.models())).items():
        yield Sample("model_answered_timestamp_seconds", (model,), moment.timestamp())


def thresholds() -> Iterator[Sample]:
    """What each model's spec calls drift."""
    for name, spec in catalog.models().items():
        yield Sample("drift_threshold", (name,), spec.monitor.drift_share)


def watched(model: str, files: Files) -> Iterator[Sample]:
    """What the monitor's last report says; nothing before there is one."""
    path = files.at("reports", "monitor", model, "latest.json")
    if not path.is_file():
        return
    said = json.loads(path.read_text())
    labels = (model, str(int(said["version"])))
    for name, key in (("drift_share", "drift_share"), ("drifted", "drifted"), ("decayed", "decayed")):
        yield Sample(name, labels, float(said[key]))
    yield Sample("watched_timestamp_seconds", (model,), path.stat().st_mtime)
