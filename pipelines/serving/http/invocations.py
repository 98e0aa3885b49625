"""MLflow's scoring protocol: `/invocations` below a model's own address, as `mlflow models serve` answers it.

A client that is given http://HOST:PORT/v1/models/MODEL as its server finds there what it expects.
"""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from pipelines.serving.answering import Service, in_turn
from pipelines.serving.http.access import LOGGED, scoped
from pipelines.serving.tables.questions import Unreadable, questions, transposed

ROUTE = "/v1/models/{model}/invocations"


def add(app: FastAPI, service: Service) -> None:
    """The scoring route of every model."""

    @app.post(ROUTE, tags=["predictions"], summary="Predict for some rows, as MLflow's clients ask")
    @scoped("predict", LOGGED)
    async def invocations(request: Request, model: str, asked: dict[str, Any]) -> dict[str, Any]:
        predictor = service.predictor(model)
        said = await in_turn(service, predictor, questions(predictor, _rows(asked)), request)
        return {"predictions": [each.model_dump(mode="json", exclude={"model"}) for each in said]}


def _rows(asked: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of a body in any of MLflow's forms; Unreadable names the forms."""
    given = sorted(set(asked) & set(FORMS))
    if len(given) != 1 or set(asked) - {*FORMS, "params"} or asked.get("params"):
        raise Unreadable(
            f"it holds {', '.join(sorted(asked))[:200] or 'nothing'}; send one of {', '.join(FORMS)}"
        )
    rows = FORMS[given[0]](asked[given[0]])
    if not all(isinstance(row, Mapping) for row in rows):
        raise Unreadable(f"{given[0]}: each row has to be an object, field by field")
    return rows


class _Split(BaseModel):
    """A table as pandas writes it with orient="split"; its index says nothing here."""

    columns: list[str]
    data: list[list[Any]]


def _split(value: Any) -> list[Mapping[str, Any]]:
    try:
        table = _Split.model_validate(value)
    except ValidationError:
        raise Unreadable(
            "dataframe_split: it needs `columns`, a list of names, and `data`, a list of rows"
        ) from None
    names = table.columns
    odd = next((number for number, row in enumerate(table.data) if len(row) != len(names)), None)
    if odd is not None or len(set(names)) < len(names):
        raise Unreadable(f"dataframe_split: row {odd or 0} does not have one value of each column")
    return [dict(zip(names, row, strict=True)) for row in table.data]


def _records(value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise Unreadable("the rows have to be a list of objects")
    return value


def _tensors(value: Any) -> list[Mapping[str, Any]]:
    """Rows, or columns by name: plain values, lists of them, or lists of lists of one."""
    if not isinstance(value, Mapping):
        return _records(value)
    columns = {name: values if isinstance(values, list) else [values] for name, values in value.items()}
    return transposed({name: [_one(each) for each in values] for name, values in columns.items()})  # type: ignore[return-value]


def _one(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


FORMS: dict[str, Callable[[Any], list[Mapping[str, Any]]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _tensors,
    "inputs": _tensors,
}


def told(status: int, detail: str, headers: Any = None) -> JSONResponse:
    """A refusal in MLflow's words."""
    code = {400: "BAD_REQUEST", 404: "RESOURCE_DOES_NOT_EXIST", 503: "TEMPORARILY_UNAVAILABLE"}
    return JSONResponse({"error_code": code.get(status, "BAD_REQUEST"), "message": detail}, status, headers)
