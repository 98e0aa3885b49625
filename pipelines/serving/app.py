"""The prediction API: one route per model of the catalog, and what operators ask."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST

from pipelines.catalog import ModelSpec
from pipelines.serving.accounts.account import Account
from pipelines.serving.accounts.bookkeeper import Bookkeeper
from pipelines.serving.answering import Service, in_turn
from pipelines.serving.arms.challenger import Challenger
from pipelines.serving.arms.mirror import ComparisonLog, Mirror
from pipelines.serving.bounds import Bounds
from pipelines.serving.door.callers import Door
from pipelines.serving.follower import Follower
from pipelines.serving.http import errors, explanations, feedback, invocations, open_inference
from pipelines.serving.http.access import LOGGED, READ_ONLY, DeclaredOnly, public, scoped
from pipelines.serving.http.bodies import Readable
from pipelines.serving.http.docs import page
from pipelines.serving.http.observed import Crowd, Observed
from pipelines.serving.http.turnstile import CROWD
from pipelines.serving.lane import Lane
from pipelines.serving.metrics import FeatureHealth, Metrics
from pipelines.serving.outages.spool import Spool
from pipelines.serving.predictor import Predictor
from pipelines.serving.schemas import ANSWERS, Answered, ModelStatus, Problem, Ready, Refusal
from pipelines.serving.sources import FeatureSource, PredictionLog, Registry, Rollouts
from pipelines.serving.workers.processes import Process
from pipelines.serving.workers.turns import Alone
from pipelines.settings import Settings

REFUSALS: dict[int | str, dict[str, Any]] = {
    413: {"model": Problem, "description": "The body is too large"},
    415: {"model": Problem, "description": "The body is not said to be application/json"},
    422: {"model": Refusal, "description": "A field is missing, unknown or ill-typed; each is named"},
    503: {
        "model": Problem,
        "description": "No champion yet, or too many questions at once (Retry-After: it takes only patience),"
        " or the answer could not be logged",
    },
}


def create_app(
    settings: Settings,
    specs: Mapping[str, ModelSpec],
    models: Registry,
    features: FeatureSource,
    predictions: PredictionLog,
    door: Door | None = None,
    rollouts: Rollouts | None = None,
    comparisons: ComparisonLog | None = None,
    notes: Callable[[], list[str]] = list,
    backgrounds: explanations.Backgrounds | None = None,
    process: Process | None = None,
) -> FastAPI:
    """The app; it answers /health at once and loads the champions in the background.

    With a `door`, callers must be known for all but the probes. With `rollouts` and a log of `comparisons`, a model
    whose spec has a rollout is asked as champion and as challenger while there are both. `notes` says what is amiss,
    `backgrounds` gives the rows that answers are explained by. A `process` is one of several that answer at one port,
    has threads that run as long as the app, or keeps what it takes.
    """
    process = process or Process(Alone())
    metrics = Metrics(process.counted)
    metrics.add(FeatureHealth.of(settings.database))
    if isinstance(predictions, Spool):
        metrics.add(predictions)
    predictors = {
        name: Predictor(spec, models, features, metrics, Bounds(spec, settings.expectations), process.turns)
        for name, spec in specs.items()
    }
    lane = Lane(settings.serving_threads, settings.serving_patience_seconds, settings.serving_turn_seconds)
    account = Account(process.since)
    challengers, mirror = _arms(predictors, metrics, rollouts, comparisons, account)
    service = Service(predictors, predictions, metrics, lane, challengers, mirror, notes, account)
    crowd = Crowd(service)
    explainer = explanations.Explainer(service, backgrounds, settings.serving_explanation_seconds)

    @asynccontextmanager
    async def followed(_: FastAPI) -> AsyncIterator[dict[str, Crowd]]:
        beside = (rollouts, list(challengers.values())) if rollouts and challengers else None
        follower = Follower(
            list(predictors.values()), models, settings.serving_poll_seconds, beside, account.beside
        )
        books = Bookkeeper(account, metrics, specs, process.kept)
        looking = [thread for thread in (books, *process.threads, follower, door, mirror) if thread]
        for thread in looking:
            thread.start()
        yield {CROWD: crowd}
        explainer.close()
        lane.close()
        for thread in reversed(looking):
            thread.stop()

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
    explanations.add(app, service, explainer)
    invocations.add(app, service)
    feedback.add(app, service)
    open_inference.add(app, service)
    _add_probes(app, service)
    _add_documents(app)
    errors.add(app, predictors)
    names = settings.serving_hosts
    hosts = frozenset(each.strip().lower() for each in names.split(",")) if names else None
    app.add_middleware(DeclaredOnly, routes_of=app, door=door, hosts=hosts)
    app.add_middleware(Observed, crowd=crowd)
    return app


def _arms(
    predictors: Mapping[str, Predictor],
    metrics: Metrics,
    rollouts: Rollouts | None,
    comparisons: ComparisonLog | None,
    account: Account,
) -> tuple[dict[str, Challenger], Mirror | None]:
    """What follows the versions that are rolled out, and what compares them; nothing where nothing can be."""
    models = [each for each in predictors.values() if each.spec.rollout]
    if not models or rollouts is None or comparisons is None:
        return {}, None
    challengers = {each.spec.name: Challenger(each.spec.name, rollouts, each.warmed) for each in models}
    return challengers, Mirror(comparisons, metrics, account.beside)


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
    @scoped("predict", LOGGED)
    async def predict(request: Request, asked: schema) -> Answered:  # type: ignore[valid-type]
        (answer,) = await in_turn(service, predictor, [asked], request)
        return answer


def _add_models(app: FastAPI, service: Service) -> None:
    @app.post("/v1/models/{model}/predictions", include_in_schema=False)
    @scoped("predict", "says which models there are")
    def unknown(model: str) -> None:
        service.predictor(model)

    @app.get("/v1/models", tags=["models"], summary="Every model and the version that answers")
    @scoped("read", READ_ONLY)
    async def models() -> list[ModelStatus]:
        return [_status(service, predictor) for predictor in service.predictors.values()]

    @app.get(
        "/v1/models/{model}",
        tags=["models"],
        summary="One model and the version that answers",
        responses={404: {"model": Problem, "description": "There is no such model"}},
    )
    @scoped("read", READ_ONLY)
    async def model(model: str) -> ModelStatus:
        return _status(service, service.predictor(model))


def _status(service: Service, predictor: Predictor) -> ModelStatus:
    spec, served = predictor.spec, predictor.served
    challenger = service.challengers.get(spec.name)
    known = ModelStatus(
        model=spec.name,
        description=spec.description,
        threshold=spec.threshold if spec.task == "classification" else None,
        last_error=predictor.last_error,
        loading=predictor.loading[0] if predictor.loading else None,
        loading_since=predictor.loading[1] if predictor.loading else None,
        challenger_error=challenger.last_error if challenger else None,
    )
    if served is None:
        return known
    loaded = {n: getattr(served, n) for n in ("version", "digest", "as_of", "loaded_at")}
    arm = challenger.beside(served) if challenger else None
    beside = {"challenger": arm.served.version, "challenger_share": arm.permit.share} if arm else {}
    return known.model_copy(update=loaded | beside | {"decision": served.licence.decision})


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.head("/health", include_in_schema=False)
    @app.get("/health", tags=["operations"], summary="The process is alive")
    @public(READ_ONLY)
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.head("/ready", include_in_schema=False)
    @app.get(
        "/ready",
        tags=["operations"],
        response_model_exclude_defaults=True,
        summary="Every model of the catalog has a champion loaded",
        responses={503: {"model": Problem, "description": "Names the models without a champion"}},
    )
    @public(READ_ONLY)
    async def ready() -> Ready:
        versions = {n: p.served.version for n, p in service.predictors.items() if p.served}
        missing = sorted(set(service.predictors) - set(versions))
        if missing or not versions:
            raise HTTPException(503, f"no champion loaded for: {', '.join(missing) or 'an empty catalog'}")
        return Ready(versions=versions, notes=service.notes())

    @app.get("/metrics", tags=["operations"], summary="Counters for Prometheus", response_class=Response)
    @scoped("read", READ_ONLY)
    def metrics() -> Response:
        return Response(service.metrics.shown(), media_type=CONTENT_TYPE_LATEST)


def _add_documents(app: FastAPI) -> None:
    @app.get("/openapi.json", include_in_schema=False)
    @public(READ_ONLY)
    def openapi() -> dict[str, Any]:
        return app.openapi()

    @app.get("/docs", include_in_schema=False)
    @public(READ_ONLY)
    def docs() -> HTMLResponse:
        return page(app.openapi())
