"""From a question to an answer that lies in the log."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, Protocol
from uuid import uuid4

from fastapi import HTTPException, Request

from pipelines.serving.causes import passed
from pipelines.serving.lane import Busy, Lane, Together
from pipelines.serving.metrics import Metrics
from pipelines.serving.predictor import CannotAnswer, Loading, NoChampion, Predictor
from pipelines.serving.replies import logged, told
from pipelines.serving.schemas import Answered
from pipelines.serving.served import Found, Said, Served
from pipelines.stores.predictions import Prediction

log = logging.getLogger("evergreen.serving")


class PredictionLog(Protocol):
    """Where answers are logged; `record` returns once they are durable, all or none."""

    def record(self, *predictions: Prediction) -> None: ...


@dataclass(frozen=True)
class Service:
    """Everything the routes need."""

    predictors: dict[str, Predictor]
    predictions: PredictionLog
    metrics: Metrics
    lane: Lane

    @cached_property
    def together(self) -> dict[str, Together]:
        """What answers some questions of a model at once."""
        return {name: partial(_answered, self, each) for name, each in self.predictors.items()}

    def predictor(self, name: str) -> Predictor:
        if name not in self.predictors:
            known = ", ".join(sorted(self.predictors)) or "none"
            raise HTTPException(404, f"there is no model of that name; there are: {known}")
        return self.predictors[name]


async def in_turn(service: Service, predictor: Predictor, asked: Any, request: Request) -> Answered:
    """The answer when it is this question's turn; 503 at once if that would take too long."""
    try:
        return await service.lane.ask(service.together[predictor.spec.name], (asked, request))  # type: ignore[no-any-return]
    except Busy as busy:
        service.metrics.refused.labels(predictor.spec.name).inc()
        raise HTTPException(503, str(busy), {"Retry-After": str(busy.retry_after)}) from busy


def _answered(
    service: Service, predictor: Predictor, questions: Sequence[tuple[Any, Request]]
) -> list[Answered | HTTPException]:
    """The champion's answers, once they are in the log; for each that there is none of, 503 with the reason."""
    try:
        served = predictor.champion()
    except NoChampion as error:
        return [HTTPException(503, str(error), _again(error)) for _ in questions]
    for _, request in questions:
        request.state.version = served.version
    asked = [question for question, _ in questions]
    found = [predictor.features(served, question) for question in asked]
    said = predictor.answers(served, list(zip(asked, found, strict=True)))
    made = [
        None if isinstance(answer, CannotAnswer) else _prediction(predictor, served, one, known, answer)
        for one, known, answer in zip(asked, found, said, strict=True)
    ]
    withheld = _log(service, predictor.spec.name, [prediction for prediction in made if prediction])
    return [
        HTTPException(503, str(answer)) if prediction is None
        else withheld or told(prediction, served, known, _warnings(predictor, question, known))
        for prediction, answer, question, known in zip(made, said, asked, found, strict=True)
    ]  # fmt: skip


def _warnings(predictor: Predictor, asked: Any, found: Found) -> list[str]:
    broken = predictor.bounds.broken({**asked.entities.model_dump(), **asked.request.model_dump()})
    return [*filter(None, [found.reason]), *broken]


def _again(error: Exception) -> dict[str, str] | None:
    """A client that keeps to HTTP asks again by itself when a champion is on its way."""
    return {"Retry-After": "1"} if isinstance(error, Loading) else None


def _prediction(predictor: Predictor, served: Served, asked: Any, found: Found, answer: Said) -> Prediction:
    body, classifies = asked.model_dump(), predictor.spec.task == "classification"
    return Prediction(
        prediction_id=str(uuid4()),
        model=predictor.spec.name,
        version=served.version,
        digest=served.digest,
        entities=body["entities"],
        request=body["request"],
        features=found.values,
        known=found.known,
        **logged(answer, served.classes),
        threshold=predictor.spec.threshold if classifies else None,
        degraded=found.degraded,
        asked_at=datetime.now(UTC),
        event_time=predictor.event_time(body["request"]),
    )


def _log(service: Service, model: str, predictions: Sequence[Prediction]) -> HTTPException | None:
    """None once all are in the log; else what each of them is told."""
    try:
        service.predictions.record(*predictions)
    except Exception as error:
        log.error("%s: %s predictions could not be logged: %s", model, len(predictions), passed(error))
        service.metrics.log_errors.labels(model).inc(len(predictions))
        return HTTPException(
            503,
            "the answer could not be written to the prediction log, so it is withheld; "
            "see that the database of EVERGREEN_DATABASE_URL is up and writable, and ask again",
        )
    return None
