"""What serving counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """One app's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "prediction requests", ["model", "version", "status"])
        self.missing = self._counter("missing_features", "features without a value", ["model", "feature"])
        self.feature_errors = self._counter("feature_errors", "feature store could not be read", ["model"])
        self.log_errors = self._counter("log_errors", "answers withheld, the log failed", ["model"])
        self.poll_errors = self._counter("poll_errors", "champion could not be asked for", ["model"])
        self.load_errors = self._counter("load_errors", "champions that could not be loaded", ["model"])
        self.seconds = Histogram(
            "evergreen_request_seconds",
            "time to answer a prediction request",
            ["model"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.champion = Gauge(
            "evergreen_champion_version", "the version that answers", ["model"], registry=self.registry
        )

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"evergreen_{name}", text, labels, registry=self.registry)

    def watch(self, model: str) -> None:
        """Start a model's series at 0, so that the first failure is an increase."""
        for counter in (self.feature_errors, self.log_errors, self.poll_errors, self.load_errors):
            counter.labels(model)
        self.seconds.labels(model)
