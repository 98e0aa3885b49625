"""One model as it is served: follows its champion, asks for features, answers."""

import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel

from pipelines.catalog import ModelSpec, dataset
from pipelines.contracts import EvergreenError
from pipelines.serving.metrics import Metrics
from pipelines.serving.schemas import example, request_model

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("evergreen.serving")
LONGEST_PAUSE = 60.0
DTYPES = {
    "string": "object",
    "integer": "int64",
    "float": "float64",
    "timestamp": "datetime64[us, UTC]",
}


class ChampionLike(Protocol):
    """What the registry says of the version to serve."""

    @property
    def version(self) -> int: ...
    @property
    def digest(self) -> str: ...
    @property
    def as_of(self) -> Any: ...


class ModelSource(Protocol):
    """Where champions come from; `load` verifies the digest before it builds anything."""

    def champion(self, model: str) -> ChampionLike | None: ...
    def load(self, model: str, version: int) -> Any: ...


class FeatureSource(Protocol):
    """Where online features come from: view__feature -> value, None where there is none."""

    def online(
        self, spec: ModelSpec, entities: Mapping[str, Any], moment: datetime | None = None
    ) -> dict[str, Any]: ...
    def feature_names(self, spec: ModelSpec) -> list[str]: ...


class NoChampion(EvergreenError):
    """No version is loaded yet."""


class CannotAnswer(EvergreenError):
    """The model failed on a well-formed question."""


@dataclass(frozen=True)
class Found:
    """The features of one question; `degraded` when the store could not be read."""

    values: dict[str, Any]
    missing: list[str]
    degraded: bool = False


@dataclass(frozen=True)
class Served:
    """A loaded model version; replaced whole, never changed."""

    version: int
    digest: str
    as_of: Any
    pipeline: Any
    loaded_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    limited: threading.local = field(default_factory=threading.local, repr=False)
    controller: Any = field(default=None, repr=False)

    def probability(self, row: "pd.DataFrame") -> float:
        """P(label = 1) of a one-row frame; a number outside 0..1 is an error."""
        self._one_thread()
        names = getattr(self.pipeline, "feature_names_in_", None)
        value = float(self.pipeline.predict_proba(row if names is None else row[list(names)])[0, 1])
        if not (math.isfinite(value) and 0 <= value <= 1):
            raise ValueError(f"the model answered {value}, which is no probability")
        return value

    def _one_thread(self) -> None:
        """One row is answered faster by one thread; OpenMP keeps its limit per thread, so each sets it."""
        if not getattr(self.limited, "done", False):
            self.controller.limit(limits=1)
            self.limited.done = True


class Predictor:
    """Answers for one model with whatever it has: the last good champion, the features it can read."""

    def __init__(
        self, spec: ModelSpec, models: ModelSource, features: FeatureSource, metrics: Metrics
    ) -> None:
        self.spec, self.request_model = spec, request_model(spec)
        self._models, self._features, self._metrics = models, features, metrics
        self.served: Served | None = None
        self.last_error: str | None = None
        self._event_time = dataset(spec.label.dataset).event_time
        self._failures, self._not_before = 0, 0.0
        self._names: list[str] = [f for f in spec.features if not f.endswith(":*")]
        metrics.watch(spec.name)

    def event_time(self, request: Mapping[str, Any]) -> datetime | None:
        """When the event asked about happens; None if the request does not say."""
        value = request.get(self._event_time)
        return value if isinstance(value, datetime) else None

    def champion(self) -> Served:
        """The version that answers now; NoChampion names the remedy."""
        if self.served is None:
            raise NoChampion(
                f"{self.spec.name} has no champion loaded yet"
                + (f" ({self.last_error})" if self.last_error else "")
                + f"; train and promote one (`evergreen train {self.spec.name}`, or its DAG) and ask again"
            )
        return self.served

    def features(self, asked: BaseModel) -> Found:
        """The question's features; all missing, and degraded, when the store cannot be read."""
        found = self._read(asked)
        if found.degraded:
            self._metrics.feature_errors.labels(self.spec.name).inc()
        for name in found.missing:
            self._metrics.missing.labels(self.spec.name, name).inc()
        return found

    def _read(self, asked: BaseModel) -> Found:
        body = asked.model_dump()
        event = self.event_time(body["request"])
        # As in training: values that would have been stale when the prediction is due count as missing.
        moment = None if event is None else event - self.spec.label.horizon
        try:
            online = self._features.online(self.spec, body["entities"], moment)
        except Exception as error:
            log.warning("%s: features cannot be read: %s", self.spec.name, error)
            return Found(dict.fromkeys(self._names), list(self._names), degraded=True)
        values = {name: None if _is_nan(value) else value for name, value in online.items()}
        self._names = list(values) or self._names
        return Found(values, [name for name, value in values.items() if value is None])

    def probability(self, served: Served, asked: BaseModel, found: Found) -> float:
        try:
            return served.probability(row(self.spec, asked, found.values, _columns(served)))
        except Exception as error:
            log.exception("%s version %s cannot answer", self.spec.name, served.version)
            raise CannotAnswer(
                f"{self.spec.name} version {served.version} failed on this question ({type(error).__name__});"
                " the server's log has the cause"
            ) from error

    def follow(self) -> None:
        """Look once for a new champion and swap to it; whatever fails, the old one stays."""
        if time.monotonic() < self._not_before:
            return
        try:
            champion = self._models.champion(self.spec.name)
        except Exception as error:
            self._failed(self._metrics.poll_errors, f"cannot ask for the champion: {error}")
            return
        if champion is None or self._is_served(champion):
            self._went_well()
            return
        try:
            served = self._warmed(champion)
        except Exception as error:
            self._failed(self._metrics.load_errors, f"cannot load version {champion.version}: {error}")
            return
        self.served = served
        self._metrics.champion.labels(self.spec.name).set(served.version)
        self._went_well()
        log.info("%s: version %s answers", self.spec.name, served.version)

    def _is_served(self, champion: ChampionLike) -> bool:
        now = self.served
        return now is not None and (now.version, now.digest) == (champion.version, champion.digest)

    def _warmed(self, champion: ChampionLike) -> Served:
        """The champion, loaded, after it has answered the spec's example."""
        pipeline = self._models.load(self.spec.name, champion.version)
        from threadpoolctl import ThreadpoolController

        served = Served(
            champion.version, champion.digest, champion.as_of, pipeline, controller=ThreadpoolController()
        )
        asked = self.request_model.model_validate(example(self.spec))
        found = self._read(asked)
        served.probability(row(self.spec, asked, found.values, _columns(served)))
        return served

    def _failed(self, counter: Any, error: str) -> None:
        """Count it, tell it once, and ask ever less often until it works again."""
        counter.labels(self.spec.name).inc()
        if error != self.last_error:
            log.warning("%s: %s", self.spec.name, error)
        self.last_error = error
        self._failures += 1
        self._not_before = time.monotonic() + min(0.05 * 2**self._failures, LONGEST_PAUSE)

    def _went_well(self) -> None:
        self.last_error, self._failures, self._not_before = None, 0, 0.0


class Follower(threading.Thread):
    """Looks for new champions of all models every `seconds`, until stopped."""

    def __init__(self, predictors: Sequence[Predictor], seconds: float) -> None:
        super().__init__(name="champion-follower", daemon=True)
        self._predictors, self._seconds, self._ended = predictors, seconds, threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            for predictor in self._predictors:
                predictor.follow()
            self._ended.wait(self._seconds)

    def stop(self) -> None:
        self._ended.set()
        self.join(timeout=5)


def row(
    spec: ModelSpec, asked: BaseModel, features: Mapping[str, Any], columns: Sequence[str] | None = None
) -> "pd.DataFrame":
    """One row: entities, request, view__feature, typed as in training; a column without value is NaN."""
    import pandas as pd

    body = asked.model_dump()
    values = {**body["entities"], **body["request"], **features}
    fields = {**spec.entities, **spec.request}
    made = {
        name: pd.array([values[name]], dtype=DTYPES[fields[name].type])
        if name in fields
        else [math.nan if values.get(name) is None else values[name]]
        for name in dict.fromkeys([*values, *(columns or ())])
    }
    return pd.DataFrame(made)


def _columns(served: Served) -> list[str] | None:
    names = getattr(served.pipeline, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
