"""Refusals, in the words of the protocol that was spoken."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from pipelines.serving.http import invocations, open_inference
from pipelines.serving.http.observed import asked_model
from pipelines.serving.predictor import Loading, NoChampion, Predictor
from pipelines.serving.schemas import refusal
from pipelines.serving.tables.questions import Unreadable

AGAIN = {"Retry-After": "1"}


def add(app: FastAPI, predictors: Mapping[str, Predictor]) -> None:
    """What is told where a request is refused."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        predictor = predictors.get(asked_model(request.url.path) or "")
        said = refusal(predictor.spec if predictor else None, error.errors())
        if _foreign(request):
            wrong = said.fields[0]
            return _told(request, 400, f"{wrong.field or 'the body'}: {wrong.problem}")
        return JSONResponse(said.model_dump(), status_code=422)

    @app.exception_handler(Unreadable)
    async def unreadable(request: Request, error: Unreadable) -> Response:
        return _told(request, 400, str(error))

    @app.exception_handler(NoChampion)
    async def silent(request: Request, error: NoChampion) -> Response:
        return _told(request, 503, str(error), AGAIN if isinstance(error, Loading) else None)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return _told(request, error.status_code, error.detail, error.headers)


def _foreign(request: Request) -> bool:
    return request.url.path.startswith(f"{open_inference.PREFIX}/") or request.url.path.endswith(
        "/invocations"
    )


def _told(request: Request, status: int, detail: str, headers: Any = None) -> JSONResponse:
    if request.url.path.startswith(f"{open_inference.PREFIX}/"):
        return open_inference.told(status, detail, headers)
    if request.url.path.endswith("/invocations"):
        return invocations.told(status, detail, headers)
    return JSONResponse({"detail": detail}, status, headers)
