"""The prediction API: one route per model of the catalog, and what operators ask."""

import logging
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, Protocol
from uuid import uuid4

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.catalog import ModelSpec
from pipelines.serving.bounds import Bounds
from pipelines.serving.causes import passed
from pipelines.serving.follower import Follower
from pipelines.serving.http.access import DeclaredOnly, public
from pipelines.serving.http.bodies import Readable
from pipelines.serving.http.docs import page
from pipelines.serving.lane import Busy, Lane, Together
from pipelines.serving.metrics import FeatureHealth, Metrics
from pipelines.serving.predictor import (
    CannotAnswer,
    Loading,
    NoChampion,
    Predictor,
)
from pipelines.serving.replies import logged, told
from pipelines.serving.schemas import (
    ANSWERS,
    Answered,
    ModelStatus,
    Problem,
    Refusal,
    refusal,
)
from pipelines.serving.served import Found, Said, Served
from pipelines.serving.sources import FeatureSource, Registry
from pipelines.settings import Settings
from pipelines.stores.predictions import Prediction

log = logging.getLogger("evergreen.serving")
READ_ONLY = "tells the state of the server, changes nothing"
ASKED = re.compile(r"/v1/models/([^/]+)/predictions/?")
REFUSALS: dict[int | str, dict[str, Any]] = {
    413: {"model": Problem, "description": "The body is too large"},
    422: {"model": Refusal, "description": "A field is missing, unknown or ill-typed; each is named"},
    503: {
        "model": Problem,
        "description": "No champion yet, or too many questions at once (Retry-After: it takes only patience),"
        " or the answer could not be logged",
    },
}


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


def create_app(
    settings: Settings,
    specs: Mapping[str, ModelSpec],
    models: Registry,
    features: FeatureSource,
    predictions: PredictionLog,
) -> FastAPI:
    """The app; it answers /health at once and loads the champions in the background."""
    metrics = Metrics()
    metrics.registry.register(FeatureHealth.of(settings.database))
    predictors = {
        name: Predictor(spec, models, features, metrics, Bounds(spec, settings.expectations))
        for name, spec in specs.items()
    }
    lane = Lane(settings.serving_threads, settings.serving_patience_seconds)
    service = Service(predictors, predictions, metrics, lane)

    @asynccontextmanager
    async def followed(_: FastAPI) -> AsyncIterator[None]:
        follower = Follower(list(predictors.values()), models, settings.serving_poll_seconds)
        follower.start()
        yield
        lane.close()
        follower.stop()

    # FastAPI's own pages load their scripts from the internet; ours stand alone.
    app = FastAPI(
        title="Evergreen predictions",
        version="1",
        description="Answers of the champions, each logged before it leaves.",
        lifespan=followed,
        openapi_url=None,
    )
    app.router.route_class = Readable
    app.state.lane = lane
    for predictor in predictors.values():
        _add_predictions(app, service, predictor)
    _add_models(app, service)
    _add_probes(app, service)
    _add_documents(app)
    _add_errors(app, predictors)
    app.add_middleware(DeclaredOnly, routes_of=app)
    app.add_middleware(Observed, service=service)
    return app


def _add_predictions(app: FastAPI, service: Service, predictor: Predictor) -> None:
    name, schema = predictor.spec.name, predictor.request_model

    @app.post(
        f"/v1/models/{name}/predictions",
        response_model=ANSWERS[predictor.spec.task],
        responses=REFUSALS,
        summary=f"Predict with {name}",
        description=predictor.spec.description,
        operation_id=f"predict_{name}",
        tags=["predictions"],
    )
    @public("predictions are for whoever can reach the port; each is logged")
    async def predict(request: Request, asked: schema) -> Answered:  # type: ignore[valid-type]
        return await _in_turn(service, predictor, asked, request)


async def _in_turn(service: Service, predictor: Predictor, asked: Any, request: Request) -> Answered:
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


def _add_models(app: FastAPI, service: Service) -> None:
    @app.post("/v1/models/{model}/predictions", include_in_schema=False)
    @public("says which models there are")
    def unknown(model: str) -> None:
        service.predictor(model)

    @app.get("/v1/models", tags=["models"], summary="Every model and the version that answers")
    @public(READ_ONLY)
    async def models() -> list[ModelStatus]:
        return [_status(predictor) for predictor in service.predictors.values()]

    @app.get(
        "/v1/models/{model}",
        tags=["models"],
        summary="One model and the version that answers",
        responses={404: {"model": Problem, "description": "There is no such model"}},
    )
    @public(READ_ONLY)
    async def model(model: str) -> ModelStatus:
        return _status(service.predictor(model))


def _status(predictor: Predictor) -> ModelStatus:
    spec, served = predictor.spec, predictor.served
    known = ModelStatus(
        model=spec.name,
        description=spec.description,
        threshold=spec.threshold if spec.task == "classification" else None,
        last_error=predictor.last_error,
        loading=predictor.loading[0] if predictor.loading else None,
        loading_since=predictor.loading[1] if predictor.loading else None,
    )
    if served is None:
        return known
    loaded = {n: getattr(served, n) for n in ("version", "digest", "as_of", "loaded_at")}
    return known.model_copy(update=loaded | {"decision": served.licence.decision})


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.get("/health", tags=["operations"], summary="The process is alive")
    @public(READ_ONLY)
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get(
        "/ready",
        tags=["operations"],
        summary="Every model of the catalog has a champion loaded",
        responses={503: {"model": Problem, "description": "Names the models without a champion"}},
    )
    @public(READ_ONLY)
    async def ready() -> dict[str, dict[str, int]]:
        versions = {n: p.served.version for n, p in service.predictors.items() if p.served}
        missing = sorted(set(service.predictors) - set(versions))
        if missing or not versions:
            raise HTTPException(503, f"no champion loaded for: {', '.join(missing) or 'an empty catalog'}")
        return {"versions": versions}

    @app.get("/metrics", tags=["operations"], summary="Counters for Prometheus", response_class=Response)
    @public(READ_ONLY)
    def metrics() -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_documents(app: FastAPI) -> None:
    @app.get("/openapi.json", include_in_schema=False)
    @public(READ_ONLY)
    def openapi() -> dict[str, Any]:
        return app.openapi()

    @app.get("/docs", include_in_schema=False)
    @public(READ_ONLY)
    def docs() -> HTMLResponse:
        return page(app.openapi())


def _add_errors(app: FastAPI, predictors: Mapping[str, Predictor]) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        asked = ASKED.fullmatch(request.url.path)
        predictor = predictors.get(asked[1]) if asked else None
        told = refusal(predictor.spec if predictor else None, error.errors())
        return JSONResponse(told.model_dump(), status_code=422)


class Observed:
    """Counts and times every prediction request, also those refused before a route saw them."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = ASKED.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if asked is None:
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500
        state = scope["state"] = dict(scope.get("state") or {})

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            # A name from outside never becomes a label: labels live as long as the process.
            model = asked[1] if asked[1] in self._service.predictors else "unknown"
            self._service.metrics.requests.labels(model, state.get("version", "none"), status).inc()
            self._service.metrics.seconds.labels(model).observe(time.perf_counter() - begun)
