"""Refusals, in the words of the protocol that was spoken."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from pipelines.serving.answering import again
from pipelines.serving.http import invocations, open_inference
from pipelines.serving.http.observed import named_model
from pipelines.serving.predictor import NoChampion, Predictor
from pipelines.serving.schemas import refusal
from pipelines.serving.tables.questions import Unreadable

Words = Callable[[int, str, Any], JSONResponse]


def add(app: FastAPI, predictors: Mapping[str, Predictor]) -> None:
    """What is told where a request is refused."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        predictor = predictors.get(named_model(request.url.path) or "")
        said = refusal(predictor.spec if predictor else None, error.errors())
        if _words(request):
            wrong = said.fields[0]
            return _told(request, 400, f"{wrong.field or 'the body'}: {wrong.problem}")
        return JSONResponse(said.model_dump(), status_code=422)

    @app.exception_handler(Unreadable)
    async def unreadable(request: Request, error: Unreadable) -> Response:
        return _told(request, 400, str(error))

    @app.exception_handler(NoChampion)
    async def silent(request: Request, error: NoChampion) -> Response:
        return _told(request, 503, str(error), again(error))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return _told(request, error.status_code, error.detail, error.headers)


def _words(request: Request) -> Words | None:
    """How another protocol words a refusal; None for our own."""
    path = request.url.path
    if path.startswith(f"{open_inference.PREFIX}/"):
        return open_inference.told
    return invocations.told if path.endswith("/invocations") else None


def _told(request: Request, status: int, detail: str, headers: Any = None) -> JSONResponse:
    words = _words(request)
    return words(status, detail, headers) if words else JSONResponse({"detail": detail}, status, headers)
