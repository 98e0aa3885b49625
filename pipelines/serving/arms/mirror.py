"""While a version is rolled out both are asked the same questions, after the answers have left.

Both answer one batch, at one moment, one after the other: what differs is the model alone. It costs two batches each
EVERY seconds at most, however much is asked; what does not fit is not compared, whatever it is about.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pipelines.serving.arms.challenger import Arm
from pipelines.serving.causes import passed
from pipelines.serving.metrics import Metrics
from pipelines.serving.predictor import CannotAnswer, Predictor
from pipelines.serving.served import Body, Found, Said, Served
from pipelines.stores.answers.comparisons import Comparison

log = logging.getLogger("evergreen.serving")
EVERY = 0.5
MOST = 64
"""Questions of one batch."""


class ComparisonLog(Protocol):
    """Where comparisons are kept."""

    def record(self, compared: Sequence[Comparison]) -> None: ...


@dataclass(frozen=True)
class Mirrored:
    """A question that was answered by `version`, on these features."""

    prediction_id: str
    asked_at: datetime
    asked: Body
    found: Found
    version: int


@dataclass
class _Batch:
    predictor: Predictor
    champion: Served
    arm: Arm
    questions: list[Mirrored] = field(default_factory=list)


class Mirror(threading.Thread):
    """Compares what it is offered every EVERY seconds until stopped; whatever fails in it, nobody waits for it."""

    def __init__(self, kept: ComparisonLog, metrics: Metrics) -> None:
        super().__init__(name="mirror", daemon=True)
        self._kept, self._metrics = kept, metrics
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._waiting: dict[str, _Batch] = {}
        self._turns = 0

    def offer(self, predictor: Predictor, champion: Served, arm: Arm, answered: Sequence[Mirrored]) -> None:
        """Questions to compare; never waits."""
        name = predictor.spec.name
        with self._lock:
            batch = self._waiting.get(name)
            if batch is None or batch.arm is not arm or batch.champion is not champion:
                batch = self._waiting[name] = _Batch(predictor, champion, arm)
            fit = answered[: MOST - len(batch.questions)]
            batch.questions += fit
        self._metrics.uncompared.labels(name).inc(len(answered) - len(fit))

    def run(self) -> None:
        while not self._ended.wait(EVERY):
            self.compare()

    def compare(self) -> None:
        """Ask both what waits."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
        for name, batch in taken.items():
            if not batch.questions:
                continue
            try:
                compared = self._compared(batch)
                self._kept.record(compared)
                self._metrics.compared.labels(name).inc(len(compared))
            except Exception as error:
                log.warning("%s: champion and challenger could not be compared: %s", name, passed(error))

    def stop(self) -> None:
        self._ended.set()
        self.join(timeout=5)
        self.compare()

    def _compared(self, batch: _Batch) -> list[Comparison]:
        both = [batch.champion, batch.arm.served]
        self._turns += 1
        asked = {served.version: _asked(batch, served) for served in both[:: -1 if self._turns % 2 else 1]}
        (one, one_took), (other, other_took) = (asked[served.version] for served in both)
        whole = None not in one and None not in other
        times = other_took / one_took if whole and one_took > 0 else None
        rollout, name = batch.arm.permit.rollout, batch.questions[0].prediction_id
        return [
            Comparison(each.prediction_id, rollout, each.asked_at, a, b, name, times)
            for each, a, b in zip(batch.questions, one, other, strict=True)
        ]


def _asked(batch: _Batch, served: Served) -> tuple[list[Said | None], float]:
    """What a version says to each question, None where it fails, and how many seconds it took, features apart."""
    questions = list(zip([each.asked for each in batch.questions], _features(batch, served), strict=True))
    begun = time.perf_counter()
    said = batch.predictor.answers(served, questions)
    took = time.perf_counter() - begun
    return [None if isinstance(each, CannotAnswer) else each for each in said], took


def _features(batch: _Batch, served: Served) -> list[Found]:
    """Each question's features as this version takes them: those it was answered with, where both take the same."""
    one, other = batch.champion, batch.arm.served
    if (one.features, one.views) == (other.features, other.views):
        return [each.found for each in batch.questions]
    read = iter(
        batch.predictor.features(
            served, [each.asked for each in batch.questions if each.version != served.version]
        )
    )
    return [each.found if each.version == served.version else next(read) for each in batch.questions]
