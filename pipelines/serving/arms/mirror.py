"""While a version is rolled out both are asked the same questions, after the answers have left.

Both answer one batch, at one moment, one after the other: what differs is the model alone. It costs two batches each
EVERY seconds at most, however much is asked; what does not fit is not compared, whatever it is about. Of each batch a
few answers are kept, for the truth.
"""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pipelines.serving.accounts.account import Beside
from pipelines.serving.arms.challenger import Arm
from pipelines.serving.causes import passed
from pipelines.serving.metrics import Metrics
from pipelines.serving.predictor import CannotAnswer, Predictor
from pipelines.serving.served import Body, Found, Said, Served
from pipelines.stores.answers.comparisons import Batch, Pair

log = logging.getLogger("evergreen.serving")
EVERY = 1.0
MOST, KEPT = 64, 4
"""Questions of one batch, and of how many of them both answers are kept."""


class ComparisonLog(Protocol):
    """Where comparisons are kept."""

    def record(self, batch: Batch, pairs: Sequence[Pair]) -> None: ...


@dataclass(frozen=True)
class Mirrored:
    """A question that was answered by `version`, on these features."""

    prediction_id: str
    asked_at: datetime
    asked: Body
    found: Found
    version: int


@dataclass
class _Waiting:
    predictor: Predictor
    champion: Served
    arm: Arm
    questions: list[Mirrored] = field(default_factory=list)


class Mirror(threading.Thread):
    """Compares what it is offered every EVERY seconds until stopped; whatever fails in it, nobody waits for it."""

    def __init__(self, kept: ComparisonLog, metrics: Metrics, beside: Beside = nullcontext) -> None:
        super().__init__(name="mirror", daemon=True)
        self._kept, self._metrics, self._beside = kept, metrics, beside
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._waiting: dict[str, _Waiting] = {}
        self._turns = 0

    def offer(self, predictor: Predictor, champion: Served, arm: Arm, answered: Sequence[Mirrored]) -> None:
        """Questions to compare; never waits."""
        name = predictor.spec.name
        with self._lock:
            batch = self._waiting.get(name)
            if batch is None or batch.arm is not arm or batch.champion is not champion:
                batch = self._waiting[name] = _Waiting(predictor, champion, arm)
            fit = answered[: MOST - len(batch.questions)]
            batch.questions += fit
        self._metrics.uncompared.labels(name).inc(len(answered) - len(fit))

    def run(self) -> None:
        while not self._ended.wait(EVERY):
            with self._beside():
                self.compare()

    def compare(self) -> None:
        """Ask both what waits."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
        for name, batch in taken.items():
            if not batch.questions:
                continue
            try:
                compared, pairs = self._compared(batch)
                self._kept.record(compared, pairs)
                self._metrics.compared.labels(name).inc(compared.questions)
            except Exception as error:
                log.warning("%s: champion and challenger could not be compared: %s", name, passed(error))

    def stop(self) -> None:
        self._ended.set()
        self.join(timeout=5)
        self.compare()

    def _compared(self, batch: _Waiting) -> tuple[Batch, list[Pair]]:
        both = [batch.champion, batch.arm.served]
        self._turns += 1
        asked = {served.version: _asked(batch, served) for served in both[:: -1 if self._turns % 2 else 1]}
        (one, one_took), (other, other_took) = (asked[served.version] for served in both)
        rollout, first = batch.arm.permit.rollout, batch.questions[0]
        pairs = [
            Pair(each.prediction_id, rollout, a, b)
            for each, a, b in zip(batch.questions, one, other, strict=True)
            if a is not None and b is not None
        ]
        plan, whole = batch.predictor.spec.rollout, len(pairs) == len(one)
        apart = plan.limits.apart if plan else None
        return Batch(
            batch=first.prediction_id,
            rollout=rollout,
            asked_at=first.asked_at,
            questions=len(one),
            alone=sum(b is None and a is not None for a, b in zip(one, other, strict=True)),
            other=sum(a is None and b is not None for a, b in zip(one, other, strict=True)),
            answered=len(pairs),
            differ=sum(apart is not None and _distance(pair) > apart for pair in pairs),
            times=other_took / one_took if whole and one_took > 0 else None,
        ), pairs[:KEPT]


def _distance(pair: Pair) -> float:
    """How far two answers are from each other; of many classes that of the class on which they differ most."""
    one, other = (said if isinstance(said, list) else [said] for said in (pair.champion, pair.challenger))
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _asked(batch: _Waiting, served: Served) -> tuple[list[Said | None], float]:
    """What a version says to each question, None where it fails, and how many seconds it took, features apart."""
    questions = list(zip([each.asked for each in batch.questions], _features(batch, served), strict=True))
    begun = time.perf_counter()
    said = batch.predictor.answers(served, questions)
    took = time.perf_counter() - begun
    return [None if isinstance(each, CannotAnswer) else each for each in said], took


def _features(batch: _Waiting, served: Served) -> list[Found]:
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
