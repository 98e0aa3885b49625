"""From a question to an answer that lies in the log."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from uuid import uuid4

from fastapi import HTTPException, Request
from pydantic import BaseModel

from pipelines.serving.accounts.account import Account
from pipelines.serving.arms.challenger import Arm, Challenger
from pipelines.serving.arms.mirror import Mirror, Mirrored
from pipelines.serving.causes import passed
from pipelines.serving.lane import Busy, Lane, Together
from pipelines.serving.metrics import Metrics
from pipelines.serving.predictor import CannotAnswer, Loading, NoChampion, Predictor
from pipelines.serving.replies import logged, told
from pipelines.serving.schemas import Answered
from pipelines.serving.served import Body, Found, Said, Served, flat
from pipelines.serving.sources import PredictionLog
from pipelines.stores.answers.predictions import Prediction

log = logging.getLogger("evergreen.serving")


@dataclass(frozen=True)
class Service:
    """Everything the routes need."""

    predictors: dict[str, Predictor]
    predictions: PredictionLog
    metrics: Metrics
    lane: Lane
    challengers: Mapping[str, Challenger] = field(default_factory=dict)
    mirror: Mirror | None = None
    notes: Callable[[], list[str]] = list
    account: Account = field(default_factory=Account)

    @cached_property
    def together(self) -> dict[str, Together]:
        """What answers some questions of a model at once."""
        return {name: partial(_accounted, self, each) for name, each in self.predictors.items()}

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


def _accounted(
    service: Service, predictor: Predictor, requests: Sequence[_Asked]
) -> list[list[Answered] | HTTPException]:
    """What each request is told, and in the account what that took."""
    begun, given = time.perf_counter(), dict[int, tuple[int, int]]()
    service.account.enter()
    try:
        return _answered(service, predictor, requests, given)
    finally:
        service.account.turned(predictor.spec.name, given, time.perf_counter() - begun)
        service.account.leave()


def _answered(
    service: Service, predictor: Predictor, requests: Sequence[_Asked], given: dict[int, tuple[int, int]]
) -> list[list[Answered] | HTTPException]:
    """What each request is told: the champion's answers, once they are in the log, or why there are none.

    Of those that are answered `given` has, by version, how many there are and how many questions.
    """
    try:
        served = predictor.champion()
    except NoChampion as error:
        return [HTTPException(503, str(error), again(error)) for _ in requests]
    arm = _arm(service, predictor, served)
    groups = _routed(predictor, served, arm, requests)
    for each, group in zip(requests, groups, strict=True):
        each.request.state.version = group[0].served.version if group else served.version
    refused = [_refused(served, each, group) for each, group in zip(requests, groups, strict=True)]
    left = [one for group, no in zip(groups, refused, strict=True) if no is None for one in group]
    withheld = _log(service, predictor.spec.name, [one.prediction for one in left if one.prediction])
    if not withheld:
        given |= _given([group for group, no in zip(groups, refused, strict=True) if group and no is None])
    if arm and service.mirror and not withheld:
        service.mirror.offer(predictor, served, arm, [one.mirrored for one in left])
    return [
        no or withheld or [_told(service, predictor, one, arm) for one in group]
        for group, no in zip(groups, refused, strict=True)
    ]


def _given(groups: Sequence[Sequence["_Made"]]) -> dict[int, tuple[int, int]]:
    """By version how many requests it answered, and how many questions they asked."""
    found: dict[int, tuple[int, int]] = {}
    for group in groups:
        version = group[0].served.version
        requests, rows = found.get(version, (0, 0))
        found[version] = requests + 1, rows + len(group)
    return found


@dataclass(frozen=True)
class _Made:
    """One question with what was found and said by a version; `prediction` is None if it could not answer."""

    served: Served
    question: Body
    found: Found
    said: Said | CannotAnswer
    prediction: Prediction | None

    @property
    def mirrored(self) -> Mirrored:
        assert self.prediction is not None  # noqa: S101 - see `_refused`
        said = self.prediction
        return Mirrored(said.prediction_id, said.asked_at, self.question, self.found, said.version)


def _arm(service: Service, predictor: Predictor, champion: Served) -> Arm | None:
    """The version that is rolled out beside this champion, if one is."""
    challenger = service.challengers.get(predictor.spec.name)
    return challenger.beside(champion) if challenger else None


def _routed(
    predictor: Predictor, champion: Served, arm: Arm | None, requests: Sequence[_Asked]
) -> list[list[_Made]]:
    """Each request's answers, by the champion or by the challenger; what the challenger fails on the champion answers.

    A request for one version or of several questions is the champion's: it is answered by one, and by which is told.
    """
    asked = [[question.model_dump() for question in each.questions] for each in requests]
    if arm is None:
        return _made(predictor, champion, asked)
    theirs = [
        each.version is None and len(bodies) == 1 and arm.answers(bodies[0])
        for each, bodies in zip(requests, asked, strict=True)
    ]
    tried = iter(
        _made(predictor, arm.served, [bodies for bodies, its in zip(asked, theirs, strict=True) if its])
    )
    groups = [next(tried) if its else [] for its in theirs]
    groups = [group if group and group[0].prediction else [] for group in groups]
    rest = [bodies for bodies, group in zip(asked, groups, strict=True) if not group]
    others = iter(_made(predictor, champion, rest))
    return [group or next(others) for group in groups]


def _made(predictor: Predictor, served: Served, asked: Sequence[Sequence[Body]]) -> list[list[_Made]]:
    """Every question of some requests answered by one version at once, request by request."""
    flat = [body for bodies in asked for body in bodies]
    if not flat:
        return [[] for _ in asked]
    found = predictor.features(served, flat)
    said = predictor.answers(served, list(zip(flat, found, strict=True)))
    made = iter(
        _Made(
            served,
            question,
            known,
            answer,
            None
            if isinstance(answer, CannotAnswer)
            else _prediction(predictor, served, question, known, answer),
        )
        for question, known, answer in zip(flat, found, said, strict=True)
    )
    return [[next(made) for _ in bodies] for bodies in asked]


def _refused(served: Served, asked: _Asked, made: Sequence[_Made]) -> HTTPException | None:
    """Why a request has no answer: the version it wants does not answer, or the model failed on a question of it."""
    if asked.version not in (None, str(served.version)):
        return HTTPException(404, f"version {served.version} answers, no other")
    failed = next((one for one in made if one.prediction is None), None)
    return HTTPException(503, str(failed.said)) if failed else None


def _told(service: Service, predictor: Predictor, one: _Made, arm: Arm | None) -> Answered:
    assert one.prediction is not None  # noqa: S101 - see `_refused`
    warnings = [*_warnings(predictor, one.question, one.found), *service.notes()]
    said = told(one.prediction, one.served, one.found, warnings)
    return said.model_copy(update={"arm": "challenger"}) if arm and one.served is arm.served else said


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
    service.metrics.answers.labels(model).inc(len(predictions))
    service.metrics.degraded.labels(model).inc(sum(each.degraded for each in predictions))
    return None
