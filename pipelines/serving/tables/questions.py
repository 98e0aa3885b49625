"""Questions that come as columns or flat rows, as clients of other protocols send them, made those of our own route."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from pipelines.catalog import ModelSpec
from pipelines.serving.lane import MOST
from pipelines.serving.predictor import Predictor
from pipelines.serving.schemas import refusal

Row = Mapping[str, Any]


class Unreadable(ValueError):
    """A body that is well-formed and asks nothing that can be answered; says what to mend."""


def questions(predictor: Predictor, rows: Sequence[Row]) -> list[BaseModel]:
    """A question of each row, checked as our own route checks it; Unreadable names row, field and remedy."""
    if not rows:
        raise Unreadable("it asks about no row; send at least one")
    if len(rows) > MOST:
        raise Unreadable(
            f"it asks about {len(rows):,} rows; send at most {MOST} at a time, or score a whole table"
            f" with `evergreen score {predictor.spec.name}`"
        )
    return [question(predictor, number, row) for number, row in enumerate(rows)]


def transposed(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows of columns of one length; Unreadable names those of another."""
    sizes = {name: len(values) for name, values in columns.items()}
    first = next(iter(sizes.values()), 0)
    odd = [f"{name} has {size}" for name, size in sizes.items() if size != first]
    if odd:
        raise Unreadable(f"its columns are not of one length: {next(iter(sizes))} has {first}, {odd[0]}")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def question(predictor: Predictor, number: int, row: Row) -> BaseModel:
    """One row as a question; Unreadable says which row, what is wrong, and the remedy."""
    spec = predictor.spec
    unknown = sorted(set(row) - {*spec.entities, *spec.request})
    if unknown:
        raise Unreadable(
            f"row {number}: there is no field {unknown[0][:100]!r}; {spec.name} is asked with"
            f" {', '.join([*spec.entities, *spec.request])}"
        )
    body = {
        "entities": {name: row[name] for name in spec.entities if name in row},
        "request": {name: _whole(spec, name, row[name]) for name in spec.request if name in row},
    }
    try:
        return predictor.request_model.model_validate(body)
    except ValidationError as error:
        errors = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
        (wrong, *_) = refusal(spec, errors).fields
        raise Unreadable(f"row {number}, {wrong.field}: {wrong.problem}; {wrong.remedy}") from None


def _whole(spec: ModelSpec, name: str, value: Any) -> Any:
    """A whole number that a client wrote as a float, as NumPy and JSON of many languages do."""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) <= 2**53
    return int(value) if is_whole and spec.request[name].type == "integer" else value
