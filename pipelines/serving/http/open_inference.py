"""The Open Inference Protocol, V2, over HTTP: what KServe, Triton, MLServer and their clients speak.

Each field that a model is asked with is an input tensor of one value a row; each part of the answer is an output. The
questions go the way of our own route: the same checks, features, champion and log.
"""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from pipelines.catalog import ModelSpec
from pipelines.serving.answering import Service, in_turn
from pipelines.serving.http.access import LOGGED, READ_ONLY, public, scoped
from pipelines.serving.predictor import Predictor
from pipelines.serving.schemas import Answered
from pipelines.serving.tables.questions import Unreadable, questions, transposed

NAME, PREFIX = "evergreen", "/v2"
DATATYPES = {"string": "BYTES", "timestamp": "BYTES", "integer": "INT64", "float": "FP64"}
TAKEN = {
    "BYTES": {"BYTES"},
    "INT64": {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"},
    "FP64": {"FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64"},
}
"""Of each datatype that a field has, those that can be read as it."""
Tensor = tuple[str, str, Callable[[Answered], Any]]
ALWAYS: tuple[Tensor, ...] = (
    ("prediction_id", "BYTES", lambda said: said.prediction_id),
    ("degraded", "BOOL", lambda said: said.degraded),
    ("warnings", "BYTES", lambda said: "; ".join(said.warnings)),
)


class RequestInput(BaseModel):
    """One tensor: the values of a field, a row each."""

    model_config = ConfigDict(extra="ignore")
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class RequestOutput(BaseModel):
    model_config = ConfigDict(extra="ignore")
    name: str


class InferenceRequest(BaseModel):
    """`id` comes back with the answer; without `outputs` all of them do."""

    model_config = ConfigDict(extra="ignore")
    id: str | None = Field(None, max_length=200)
    inputs: list[RequestInput]
    outputs: list[RequestOutput] = []


def add(app: FastAPI, service: Service) -> None:
    """The protocol's health, metadata and inference routes."""
    _add_health(app, service)
    _add_metadata(app, service)
    _add_infer(app, service)


def _add_health(app: FastAPI, service: Service) -> None:
    @app.head(f"{PREFIX}/health/live", include_in_schema=False)
    @app.get(f"{PREFIX}/health/live", tags=["open inference"], summary="The process is alive")
    @public(READ_ONLY)
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.head(f"{PREFIX}/health/ready", include_in_schema=False)
    @app.get(f"{PREFIX}/health/ready", tags=["open inference"], summary="Every model has a champion loaded")
    @public(READ_ONLY)
    async def ready() -> dict[str, bool]:
        for predictor in service.predictors.values():
            predictor.champion()
        return {"ready": bool(service.predictors)}

    @app.get(f"{PREFIX}/models/{{model}}/ready", tags=["open inference"], summary="The model answers")
    @app.get(f"{PREFIX}/models/{{model}}/versions/{{version}}/ready", include_in_schema=False)
    @public(READ_ONLY)
    async def model_ready(model: str, version: str | None = None) -> dict[str, Any]:
        predictor = service.predictor(model)
        _of_version(predictor, version)
        return {"name": model, "ready": True}


def _add_metadata(app: FastAPI, service: Service) -> None:
    @app.get(PREFIX, tags=["open inference"], summary="The server")
    @scoped("read", READ_ONLY)
    async def server() -> dict[str, Any]:
        return {"name": NAME, "version": app.version, "extensions": []}

    @app.get(f"{PREFIX}/models/{{model}}", tags=["open inference"], summary="What a model is asked and says")
    @app.get(f"{PREFIX}/models/{{model}}/versions/{{version}}", include_in_schema=False)
    @scoped("read", READ_ONLY)
    async def metadata(model: str, version: str | None = None) -> dict[str, Any]:
        predictor = service.predictor(model)
        if version is not None:
            _of_version(predictor, version)
        return described(predictor)


def _add_infer(app: FastAPI, service: Service) -> None:
    @app.post(f"{PREFIX}/models/{{model}}/infer", tags=["open inference"], summary="Predict for some rows")
    @app.post(f"{PREFIX}/models/{{model}}/versions/{{version}}/infer", include_in_schema=False)
    @scoped("predict", LOGGED)
    async def infer(
        request: Request, asked: InferenceRequest, model: str, version: str | None = None
    ) -> dict[str, Any]:
        predictor = service.predictor(model)
        wanted = [each.name for each in asked.outputs] or [name for name, *_ in outputs(predictor.spec)]
        unknown = sorted(set(wanted) - {name for name, *_ in outputs(predictor.spec)})
        if unknown:
            raise Unreadable(f"there is no output {unknown[0][:100]!r}; `{PREFIX}/models/{model}` lists them")
        _of_version(predictor, version)
        rows = transposed({each.name: _values(predictor.spec, each) for each in asked.inputs})
        said = await in_turn(service, predictor, questions(predictor, rows), request, version)
        return _response(predictor.spec, asked.id, wanted, said)


def _of_version(predictor: Predictor, version: str | None) -> None:
    """404 for a version that does not answer now, 503 where none does."""
    answers = str(predictor.champion().version)
    if version not in (None, answers):
        raise HTTPException(404, f"version {answers} of {predictor.spec.name} answers, no other")


def described(predictor: Predictor) -> dict[str, Any]:
    """The model's inputs and outputs; a shape of -1 is as many rows as are asked about."""
    spec, served = predictor.spec, predictor.served
    fields = {**spec.entities, **spec.request}
    return {
        "name": spec.name,
        "versions": [str(served.version)] if served else [],
        "platform": "sklearn_pipeline",
        "inputs": [
            {"name": name, "datatype": DATATYPES[field.type], "shape": [-1]} for name, field in fields.items()
        ],
        "outputs": [
            {"name": name, "datatype": kind, "shape": [-1, *_width(spec, name)]}
            for name, kind, _ in outputs(spec)
        ],
    }


def outputs(spec: ModelSpec) -> tuple[Tensor, ...]:
    """Name, datatype and value of each part of an answer, by the model's task."""
    if spec.task == "regression":
        return (("value", "FP64", lambda said: said.value), *ALWAYS)  # type: ignore[attr-defined]
    if spec.task == "multiclass":
        kind = "BYTES" if isinstance(spec.label.classes[0], str) else "INT64"
        return (
            ("prediction", kind, lambda said: said.prediction),  # type: ignore[attr-defined]
            ("probabilities", "FP64", lambda said: [*said.probabilities.values()]),  # type: ignore[attr-defined]
            *ALWAYS,
        )
    return (
        ("probability", "FP64", lambda said: said.probability),  # type: ignore[attr-defined]
        ("decision", "BOOL", lambda said: said.decision),  # type: ignore[attr-defined]
        *ALWAYS,
    )


def _width(spec: ModelSpec, output: str) -> list[int]:
    return [len(spec.label.classes)] if output == "probabilities" else []


def _values(spec: ModelSpec, tensor: RequestInput) -> list[Any]:
    """A tensor's values, a row each, whether it is [n] or [n, 1], flat or nested."""
    name, field = tensor.name[:100], {**spec.entities, **spec.request}.get(tensor.name)
    if field and tensor.datatype not in TAKEN[DATATYPES[field.type]]:
        raise Unreadable(f"input {name!r} is {tensor.datatype[:20]}; {DATATYPES[field.type]} is asked for")
    values = [value for row in tensor.data for value in (row if isinstance(row, list) else [row])]
    if tensor.shape not in ([len(values)], [len(values), 1]):
        raise Unreadable(
            f"input {name!r} says shape {tensor.shape[:4]} and holds {len(values)} values; [rows] or [rows, 1]"
            " is asked for"
        )
    return values


def _response(
    spec: ModelSpec, identity: str | None, wanted: Sequence[str], said: Sequence[Answered]
) -> dict[str, Any]:
    tensors = {name: (kind, value) for name, kind, value in outputs(spec)}
    found = {
        "model_name": spec.name,
        "model_version": str(said[0].version),
        "outputs": [_output(spec, name, *tensors[name], said) for name in dict.fromkeys(wanted)],
    }
    return found if identity is None else {"id": identity, **found}


def _output(
    spec: ModelSpec, name: str, kind: str, value: Callable[[Answered], Any], said: Sequence[Answered]
) -> dict[str, Any]:
    width, data = _width(spec, name), [value(each) for each in said]
    flat = [number for row in data for number in row] if width else data
    return {"name": name, "datatype": kind, "shape": [len(said), *width], "data": flat}


def told(status: int, detail: str, headers: Any = None) -> JSONResponse:
    """A refusal in the protocol's words."""
    return JSONResponse({"error": detail}, status, headers)
