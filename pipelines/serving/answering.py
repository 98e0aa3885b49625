"""From a question to an answer that lies in the log."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Protocol
from uuid import uuid4

from fastapi import HTTPException, Request
from pydantic import BaseModel

from pipelines.serving.causes import passed
from pipelines.serving.lane import Busy, Lane, Together
from pipelines.serving.metrics import Metrics
from pipelines.serving.predictor import CannotAnswer, Loading, NoChampion, Predictor
from pipelines.serving.replies import logged, told
from pipelines.serving.schemas import Answered
from pipelines.serving.served import Body, Found, Said, Served, flat
from pipelines.stores.predictions import Prediction, Truth

log = logging.getLogger("evergreen.serving")


class PredictionLog(Protocol):
    """Where answers are logged, and what became of them; `record` returns once they are durable, all or none."""

    def record(self, *predictions: Prediction) -> None: ...
    def get(self, prediction_id: str) -> Prediction | None: ...
    def tell(self, truth: Truth) -> None: ...


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


async def in_turn(
    service: Service,
    predictor: Predictor,
    asked: Sequence[BaseModel],
    request: Request,
    version: str | None = None,
) -> list[Answered]:
    """The answers of one version when it is these questions' turn; 503 at once if that would take too long.

    They are answered all or none; 404 if a `version` is asked for that is not the one that answers.
    """
    together = service.together[predictor.spec.name]
    try:
        return await service.lane.ask(together, _Asked(asked, request, version), len(asked))  # type: ignore[no-any-return]
    except Busy as busy:
        service.metrics.refused.labels(predictor.spec.name).inc()
        raise HTTPException(503, str(busy), {"Retry-After": str(busy.retry_after)}) from busy


@dataclass(frozen=True)
class _Asked:
    """What one request asks: some questions, perhaps of a version."""

    questions: Sequence[BaseModel]
    request: Request
    version: str | None


def _answered(
    service: Service, predictor: Predictor, requests: Sequence[_Asked]
) -> list[list[Answered] | HTTPException]:
    """What each request is told: the champion's answers, once they are in the log, or why there are none."""
    try:
        served = predictor.champion()
    except NoChampion as error:
        return [HTTPException(503, str(error), again(error)) for _ in requests]
    for each in requests:
        each.request.state.version = served.version
    made = _made(predictor, served, [q.model_dump() for each in requests for q in each.questions])
    rows = iter(made)
    groups = [[next(rows) for _ in each.questions] for each in requests]
    refused = [_refused(served, each, group) for each, group in zip(requests, groups, strict=True)]
    left = [one for group, no in zip(groups, refused, strict=True) if no is None for one in group]
    withheld = _log(service, predictor.spec.name, [one.prediction for one in left if one.prediction])
    return [
        no or withheld or [_told(predictor, served, one) for one in group]
        for group, no in zip(groups, refused, strict=True)
    ]


@dataclass(frozen=True)
class _Made:
    """One question with what was found and said; `prediction` is None if the model could not answer."""

    question: Body
    found: Found
    said: Said | CannotAnswer
    prediction: Prediction | None


def _made(predictor: Predictor, served: Served, asked: Sequence[Body]) -> list[_Made]:
    found = predictor.features(served, asked)
    said = predictor.answers(served, list(zip(asked, found, strict=True)))
    return [
        _Made(
            question,
            known,
            answer,
            None
            if isinstance(answer, CannotAnswer)
            else _prediction(predictor, served, question, known, answer),
        )
        for question, known, answer in zip(asked, found, said, strict=True)
    ]


def _refused(served: Served, asked: _Asked, made: Sequence[_Made]) -> HTTPException | None:
    """Why a request has no answer: the version it wants does not answer, or the model failed on a question of it."""
    if asked.version not in (None, str(served.version)):
        return HTTPException(404, f"version {served.version} answers, no other")
    failed = next((one for one in made if one.prediction is None), None)
    return HTTPException(503, str(failed.said)) if failed else None


def _told(predictor: Predictor, served: Served, one: _Made) -> Answered:
    assert one.prediction is not None  # noqa: S101 - see `_refused`
    return told(one.prediction, served, one.found, _warnings(predictor, one.question, one.found))


def _warnings(predictor: Predictor, asked: Body, found: Found) -> list[str]:
    broken = predictor.bounds.broken(flat(asked))
    return [*filter(None, [found.reason]), *broken]


def again(error: Exception) -> dict[str, str] | None:
    """A client that keeps to HTTP asks again by itself when a champion is on its way."""
    return {"Retry-After": "1"} if isinstance(error, Loading) else None


def _prediction(predictor: Predictor, served: Served, body: Body, found: Found, answer: Said) -> Prediction:
    classifies = predictor.spec.task == "classification"
    return Prediction(
        prediction_id=str(uuid4()),
        model=predictor.spec.name,
        version=served.version,
        digest=served.digest,
        entities=dict(body["entities"]),
        request=dict(body["request"]),
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
