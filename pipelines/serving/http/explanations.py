"""Why an answer is what it is: of a question that is asked now, or of an answer that was given and logged."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from pydantic import BaseModel, Field, StringConstraints

from pipelines.contracts import EvergreenError, TransientError
from pipelines.serving.answering import Service, again, in_turn
from pipelines.serving.causes import passed
from pipelines.serving.explaining import EVALUATIONS, LEAST, MOST
from pipelines.serving.explaining.apart import Apart, Busy, TooLong
from pipelines.serving.explaining.logged import explain
from pipelines.serving.explaining.mixing import Unexplained
from pipelines.serving.http.access import scoped
from pipelines.serving.predictor import NoChampion, Predictor
from pipelines.serving.schemas import Explanation, Problem, Refusal, Strict
from pipelines.serving.served import Served
from pipelines.stores.answers.predictions import Prediction
from pipelines.stores.tracking.background import Without

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("evergreen.serving")
Backgrounds = Callable[[str, int, str], "pd.DataFrame"]
"""The background rows of a model's version whose file has this digest; EvergreenError if it has none."""
UNFIT = (
    "the rows that it would be explained by are not what was registered, or cannot be verified here;"
    " `evergreen explain PREDICTION_ID --contributions` says more"
)
KEPT = 8
"""Versions whose background rows are held."""
WHY = "an explanation tells what drives the model, of an answer that somebody else may have been given, and takes long"
Evaluations = Annotated[
    int,
    Query(
        ge=LEAST, le=MOST, description="mixed rows the model is asked about; more are surer, and take longer"
    ),
]
Of = Annotated[
    str | None,
    Query(max_length=200, description="a class, where there are many; left out: the one predicted"),
]
REFUSALS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "No answer has this id, or there is no such model"},
    409: {"model": Problem, "description": "This answer cannot be explained here; says why, and what can"},
    415: {"model": Problem, "description": "The body is not said to be application/json"},
    422: {"model": Refusal, "description": "A field is missing, unknown or ill-typed; each is named"},
    503: {
        "model": Problem,
        "description": "Another explanation is being made (Retry-After), it took too long, or there is no answer",
    },
}


class Wanted(Strict):
    """Which answer is to be explained."""

    prediction_id: Annotated[str, StringConstraints(min_length=1, max_length=36)] = Field(
        description="that of the answer"
    )


class Explainer:
    """Explains answers, one at a time, beside a service that goes on answering."""

    def __init__(self, service: Service, backgrounds: Backgrounds | None, seconds: float) -> None:
        self._service, self._backgrounds = service, backgrounds
        self._apart = Apart(seconds, lambda: service.lane.within > 0, service.account.beside)
        self._kept: dict[tuple[str, int, str], pd.DataFrame] = {}
        self.close = self._apart.close

    async def asked(
        self, predictor: Predictor, asked: BaseModel, request: Request, evaluations: int, of: str | None
    ) -> Explanation:
        """The explanation of what a question is answered, which is logged as any answer is."""
        async with self._turn() as turn:
            turn.model = predictor.spec.name
            champion = predictor.champion()
            await self._apart.run(lambda _: self._background(predictor, champion))
            (answer,) = await in_turn(self._service, predictor, [asked], request)
            return await self._explained(answer.prediction_id, evaluations, of, turn)

    async def logged(self, prediction_id: str, evaluations: int, of: str | None) -> Explanation:
        """The explanation of an answer that was given."""
        async with self._turn() as turn:
            return await self._explained(prediction_id, evaluations, of, turn)

    async def _explained(
        self, prediction_id: str, evaluations: int, of: str | None, turn: "_Turn"
    ) -> Explanation:
        asked = await self._apart.run(lambda _: self._service.predictions.get(prediction_id))
        if asked is None:
            raise HTTPException(
                404, "the log has no answer of this id (yet); quote the prediction_id that came with it"
            )
        predictor = self._service.predictor(asked.model)
        turn.model, served = asked.model, self._loaded(predictor, asked)

        def work(go_on: Callable[[], None]) -> Explanation:
            background = self._background(predictor, served)
            served.one_thread()
            return explain(asked, predictor.spec, served.pipeline, background, evaluations, of, go_on)

        try:
            return await self._apart.run(work)
        except TooLong as error:
            raise HTTPException(
                503,
                f"explaining {asked.prediction_id} took longer than {self._apart.seconds:g} s; ask for fewer "
                f"`evaluations`, or run `{_command(asked)}`, which takes its time",
            ) from error

    def _loaded(self, predictor: Predictor, asked: Prediction) -> Served:
        """The very version that gave an answer; 409 if it is not in memory any more."""
        challenger = self._service.challengers.get(asked.model)
        arm = challenger.beside(predictor.champion()) if challenger else None
        there = [*predictor.loaded, *([arm.served] if arm else [])]
        for served in there:
            if (served.version, served.digest) == (asked.version, asked.digest):
                return served
        loaded = ", ".join(str(served.version) for served in there) or "none"
        raise HTTPException(
            409,
            f"{asked.model} version {asked.version} gave this answer and is not loaded any more (loaded: {loaded}); "
            f"`{_command(asked)}` explains it with that version",
        )

    def _background(self, predictor: Predictor, served: Served) -> "pd.DataFrame":
        if self._backgrounds is None:
            raise HTTPException(409, "this server was started without the rows that explanations need")
        key = (predictor.spec.name, served.version, served.digest)
        if key not in self._kept:
            while len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = self._backgrounds(*key)
        return self._kept[key]

    @asynccontextmanager
    async def _turn(self) -> "AsyncIterator[_Turn]":
        """One request's turn, counted and timed; whatever goes wrong in it becomes what the caller is told."""
        begun, status, turn, metrics = time.perf_counter(), 200, _Turn(), self._service.metrics
        try:
            with self._apart.turn():
                yield turn
        except Exception as error:
            refused = _refusal(error)
            status = refused.status_code
            raise refused from error
        finally:
            metrics.explanations.labels(turn.model, status).inc()
            metrics.explaining.observe(time.perf_counter() - begun)


@dataclass
class _Turn:
    """Whose explanation is being made, once that is known."""

    model: str = "unknown"


def _command(asked: Prediction) -> str:
    return f"evergreen explain {asked.prediction_id} --contributions"


def _refusal(error: Exception) -> HTTPException:
    """What the caller is told; nothing of what an exception from elsewhere says."""
    if isinstance(error, HTTPException):
        return error
    if isinstance(error, Busy):
        return HTTPException(503, "another explanation is being made; ask again", {"Retry-After": "1"})
    if isinstance(error, NoChampion):
        return HTTPException(503, str(error), again(error))
    if isinstance(error, (Unexplained, Without)):
        return HTTPException(409, str(error))
    log.error("an answer could not be explained: %s", passed(error))
    if isinstance(error, EvergreenError) and not isinstance(error, TransientError):
        return HTTPException(409, UNFIT)
    return HTTPException(
        503, "the prediction log or MLflow, which an explanation needs, does not answer; ask again"
    )


def add(app: FastAPI, service: Service, explainer: Explainer) -> None:
    """The routes that explain: one per model, and one for whatever was answered."""
    for predictor in service.predictors.values():
        _add_model(app, predictor, explainer)

    @app.post("/v1/models/{model}/explanations", include_in_schema=False)
    @scoped("explain", WHY)
    def unknown(model: str) -> None:
        service.predictor(model)

    @app.post(
        "/v1/explanations",
        tags=["explanations"],
        responses=REFUSALS,
        summary="Explain an answer that was given",
    )
    @scoped("explain", WHY)
    async def logged(wanted: Wanted, evaluations: Evaluations = EVALUATIONS, of: Of = None) -> Explanation:
        return await explainer.logged(wanted.prediction_id, evaluations, of)


def _add_model(app: FastAPI, predictor: Predictor, explainer: Explainer) -> None:
    name, schema = predictor.spec.name, predictor.request_model

    @app.post(
        f"/v1/models/{name}/explanations",
        responses=REFUSALS,
        summary=f"Predict with {name}, and say what each input contributed",
        operation_id=f"explain_{name}",
        tags=["explanations"],
    )
    @scoped("explain", WHY)
    async def explained(
        request: Request,
        asked: schema,  # type: ignore[valid-type]
        evaluations: Evaluations = EVALUATIONS,
        of: Of = None,
    ) -> Explanation:
        return await explainer.asked(predictor, asked, request, evaluations, of)
