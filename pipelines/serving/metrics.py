"""What serving counts, and how healthy the features are that it serves, for Prometheus."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock, Thread

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from pipelines.processes import born
from pipelines.stores.feature_store.health import Health, ViewHealth

LOG = logging.getLogger("evergreen.serving")
BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """One app's counters, in a registry of their own; those of all processes where they count in one folder."""

    def __init__(self, counted: Path | None = None) -> None:
        self.registry, self._counted = CollectorRegistry(), counted
        self._beside: list[Collector] = []
        self.requests = self._counter("requests", "prediction requests", ["model", "version", "status"])
        self.answers = self._counter("answers", "answers that were given and logged", ["model"])
        self.degraded = self._counter("degraded_answers", "answers given without all features", ["model"])
        self.missing = self._counter("missing_features", "features without a value", ["model", "feature"])
        self.answer_cpu = self._counter(
            "answer_cpu_seconds", "processor seconds in which answers were made, shared by time", ["model"]
        )
        self.idle_cpu = self._counter("idle_cpu_seconds", "processor seconds in which none was made", [])
        self.refused = self._counter("refused_requests", "questions refused as serving was busy", ["model"])
        self.feature_errors = self._counter("feature_errors", "feature store could not be read", ["model"])
        self.log_errors = self._counter("log_errors", "answers withheld, the log failed", ["model"])
        self.poll_errors = self._counter("poll_errors", "champion could not be asked for", ["model"])
        self.load_errors = self._counter("load_errors", "champions that could not be loaded", ["model"])
        self.compared = self._counter("compared_questions", "asked of champion and challenger", ["model"])
        self.uncompared = self._counter("uncompared_questions", "asked of one of them alone", ["model"])
        self.seconds = Histogram(
            "evergreen_request_seconds",
            "time to answer a prediction request",
            ["model"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.explanations = self._counter("explanations", "requests to explain", ["model", "status"])
        self.explaining = Histogram(
            "evergreen_explanation_seconds",
            "time to explain an answer",
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.champion = Gauge(
            "evergreen_champion_version",
            "the version that answers",
            ["model"],
            registry=self.registry,
            multiprocess_mode="mostrecent",
        )
        self.memory = Gauge(
            "evergreen_resident_memory_bytes",
            "memory of the processes that answer, what they share counted in each",
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def add(self, collector: Collector) -> None:
        """Show what another collects, too."""
        self._beside.append(collector)

    def shown(self) -> bytes:
        """All that is counted, as Prometheus reads it."""
        told = CollectorRegistry()
        for each in self._beside:
            told.register(each)
        if self._counted is None:
            return generate_latest(self.registry) + generate_latest(told)
        _without_the_dead(self._counted)
        MultiProcessCollector(told, path=str(self._counted))  # type: ignore[no-untyped-call]
        return generate_latest(told)

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"evergreen_{name}", text, labels, registry=self.registry)

    def watch(self, model: str) -> None:
        """Start a model's series at 0, so that the first failure is an increase."""
        for counter in (
            self.answers,
            self.degraded,
            self.answer_cpu,
            self.refused,
            self.feature_errors,
            self.log_errors,
            self.poll_errors,
            self.load_errors,
        ):
            counter.labels(model)
        self.seconds.labels(model)


def _without_the_dead(counted: Path) -> None:
    """What a process held is gone with it; what it counted stays."""
    for path in counted.glob("gauge_live*.db"):
        if born(int(path.stem.rpartition("_")[2])) is None:
            path.unlink(missing_ok=True)


class FeatureHealth(Collector):
    """The last run of each feature view as gauges, read from the Health store when a scrape asks.

    A scrape never fails and waits `PATIENCE` seconds at most: what was read is good for `FRESH` seconds, and reading
    goes on in the background. While the store cannot be read there are no gauges but evergreen_feature_health_up 0.
    """

    FRESH, PATIENCE, STALE = 5.0, 0.05, 60.0

    def __init__(self, latest: Callable[[], Sequence[ViewHealth]]) -> None:
        self._latest, self._lock = latest, Lock()
        self._found: tuple[ViewHealth, ...] | None = None
        self._read_at = self._asked_at = float("-inf")
        self._reader: Thread | None = None

    @classmethod
    def of(cls, database: str) -> "FeatureHealth":
        """The health that lies in a database, which is opened with the first scrape."""
        return cls(Health(database).latest)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges of one scrape."""
        found = self._known()
        up = GaugeMetricFamily("evergreen_feature_health_up", "1 if the health of the features is known")
        up.add_metric([], 0 if found is None else 1)
        yield up
        yield from _gauges(found or ())

    def _known(self) -> tuple[ViewHealth, ...] | None:
        """What was read last; None if reading failed, or has hung for too long."""
        reader = self._refresh()
        if reader is not None:
            reader.join(self.PATIENCE)
        with self._lock:
            hung = time.monotonic() - self._read_at > self.STALE
            return None if hung else self._found

    def _refresh(self) -> Thread | None:
        """The thread that reads, begun if what was read is no longer fresh; None if it is."""
        with self._lock:
            now = time.monotonic()
            reading = self._reader is not None and self._reader.is_alive()
            if not reading and now - self._asked_at < self.FRESH:
                return None
            if not reading:
                self._asked_at = now
                self._reader = Thread(target=self._read, name="feature-health", daemon=True)
                self._reader.start()
            return self._reader

    def _read(self) -> None:
        try:
            found = tuple(self._latest())
        except Exception as error:
            LOG.warning("the health of the features could not be read: %s", type(error).__name__)
            with self._lock:
                self._found = None
            return
        with self._lock:
            self._found, self._read_at = found, time.monotonic()


NUMBERS: dict[str, tuple[str, Callable[[ViewHealth], float | None]]] = {
    "freshness_seconds": (
        "how old the newest value was when the view was last computed",
        lambda found: None if found.freshness is None else found.freshness.total_seconds(),
    ),
    "newest_timestamp_seconds": (
        "event time of the newest value; time() minus this grows when computing stands still",
        lambda found: None if found.newest is None else found.newest.timestamp(),
    ),
    "as_of_timestamp_seconds": (
        "the moment up to which the view was last computed",
        lambda found: found.as_of.timestamp(),
    ),
    "rows": ("rows of the last computation", lambda found: found.rows),
    "table_rows": ("rows in the view's table", lambda found: found.total),
    "table_bytes": ("bytes of the view's table", lambda found: found.size),
    "compute_seconds": ("what the last computation took", lambda found: found.seconds),
    "checks": ("checks of the last computation", lambda found: len(found.checks)),
    "failed_checks": ("failed checks of the last computation", lambda found: len(found.failed)),
    "refused": ("1 if the last computation was not published", lambda found: int(found.refused)),
}
"""The gauges with one value per view and version, each evergreen_feature_<name>."""


def _gauges(views: Iterable[ViewHealth]) -> Iterator[GaugeMetricFamily]:
    known = list(views)
    for name, (text, value) in NUMBERS.items():
        gauge = GaugeMetricFamily(f"evergreen_feature_{name}", text, labels=["view", "version"])
        for found in known:
            number = value(found)
            if number is not None:
                gauge.add_metric([found.view, str(found.version)], number)
        yield gauge
    share = GaugeMetricFamily(
        "evergreen_feature_null_share",
        "share of nulls among the rows of the last computation, 0 to 1",
        labels=["view", "version", "feature"],
    )
    for found in known:
        for feature, nulls in found.nulls.items():
            share.add_metric([found.view, str(found.version), feature], nulls)
    yield share
