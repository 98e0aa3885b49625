"""Reads the records when a scrape asks; what cannot be read is said, and stops nothing else."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from threading import Lock

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from pipelines import catalog
from pipelines.loop.gauges import landing, models
from pipelines.loop.gauges.decisions import Decisions
from pipelines.loop.gauges.names import Sample, families
from pipelines.stores import Stores
from pipelines.stores.feature_store.views import Views
from pipelines.stores.watching.totals import Totals

LOG = logging.getLogger("evergreen.metrics")
Part = Callable[[], Iterable[Sample]]


class Loop(Collector):
    """Datasets, views, models and trainings of one deployment. It never raises: a part that cannot be read is
    `evergreen_scrape_error` 1, whose numbers are then missing, not old and not 0."""

    def __init__(self, stores: Stores) -> None:
        self._stores, self._lock = stores, Lock()
        self._totals = Totals(stores.settings.database)
        self._decisions = Decisions(self._totals)
        self._views: Views | None = None

    def collect(self) -> Iterator[Metric]:
        """The numbers of one scrape; those who ask at once wait for each other."""
        with self._lock:
            samples = [sample for what, part in self._parts() for sample in _read(what, part)]
        yield from families(samples)

    def shown(self) -> bytes:
        """The numbers as Prometheus reads them."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing is read before somebody asks."""
        return []

    def _parts(self) -> Iterator[tuple[str, Part]]:
        """What is read apart, so that the loss of one part is not that of another."""
        totals = self._totals
        yield "datasets", lambda: landing.datasets(totals)
        yield "patience", landing.patience
        yield "views", lambda: landing.views(totals, self._registered())
        yield "trainings", lambda: models.trainings(totals)
        yield "signals", lambda: models.signals(totals)
        yield "answers", lambda: models.answers(totals)
        yield "decisions", self._decisions.samples
        yield "thresholds", models.thresholds
        yield "champions", self._champions
        yield "monitors", self._monitors

    def _registered(self) -> Views:
        self._views = self._views or Views(self._stores.settings.database)
        return self._views

    def _champions(self) -> Iterator[Sample]:
        named = self._stores.tracking.champions()
        for model in catalog.models():
            yield from _read(f"champion of {model}", lambda model=model: models.champion(model, named))  # type: ignore[misc]

    def _monitors(self) -> Iterator[Sample]:
        for model in catalog.models():
            yield from _read(f"monitor of {model}", partial(models.watched, model, self._stores.files))


def _read(what: str, part: Part) -> list[Sample]:
    """A part's numbers, whole or not at all, and whether it could be read."""
    begun, found, failed = time.perf_counter(), list[Sample](), 0.0
    try:
        found = list(part())
    except Exception as error:
        # Of the error only its kind: its text may hold an address with a password.
        LOG.warning("%s could not be read for the metrics: %s", what, type(error).__name__)
        failed = 1.0
    seconds = time.perf_counter() - begun
    return [*found, Sample("scrape_error", (what,), failed), Sample("scrape_seconds", (what,), seconds)]
