"""What each model may be asked, from its spec, and how a refusal names the field and the remedy."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, create_model

from pipelines.catalog import ModelSpec, RequestField, dataset

# pandas' nanosecond times end in 2262 and 64-bit integers where they do; a value beyond is a mistake.
YEARS = range(1900, 2200)
WORDS = {
    "string": "a string",
    "integer": "a whole number without quotes",
    "float": "a number without quotes",
    "timestamp": "a time with its zone in ISO 8601",
}


class Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, serialize_by_alias=True
    )


def moment(value: Any) -> datetime:
    """A time in UTC from ISO 8601 text with a zone, of a year in YEARS."""
    if not isinstance(value, str):
        raise ValueError("it is not text")
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("it is not a time in ISO 8601") from None
    if read.tzinfo is None:
        raise ValueError("it has no zone; append Z for UTC")
    if read.year not in YEARS:
        raise ValueError(f"its year is not from {YEARS[0]} to {YEARS[-1]}")
    return read.astimezone(UTC)


TYPES: dict[str, Any] = {
    "string": Annotated[str, StringConstraints(min_length=1, max_length=200)],
    "integer": Annotated[int, Field(ge=-(2**63), lt=2**63)],
    "float": float,
    "timestamp": Annotated[datetime, BeforeValidator(moment)],
}


def request_model(spec: ModelSpec) -> type[BaseModel]:
    """The model's request as pydantic type: `entities` and `request`, strict, unknown keys refused."""
    title = "".join(part.capitalize() for part in spec.name.split("_"))
    columns = dataset(spec.label.dataset).columns
    empty = {name for name, column in columns.items() if column.nullable}
    entities = _fields(f"{title}Entities", spec.entities, empty)
    request = _fields(f"{title}Fields", spec.request, empty)
    asked: dict[str, Any] = {"entities": (entities, ...), "request": (request, ...)}
    if not spec.entities:
        asked["entities"] = (entities, entities())
    if not spec.request:
        asked["request"] = (request, request())
    made = create_model(f"{title}Request", __base__=Strict, __doc__=spec.description, **asked)
    made.model_config["json_schema_extra"] = {"examples": [example(spec)]}
    made.model_rebuild(force=True)
    return made


def _fields(title: str, fields: dict[str, RequestField], empty: set[str]) -> type[BaseModel]:
    """Every field must be there; null is a value of those whose column of the label's dataset may be empty.

    A field is named by its alias alone: as attributes, columns such as `copy` or `model_config` would be pydantic's.
    """
    made: dict[str, Any] = {
        f"field_{number}": (
            TYPES[f.type] | None if name in empty else TYPES[f.type],
            Field(alias=name, description=f.description, examples=[f.example]),
        )
        for number, (name, f) in enumerate(fields.items())
    }
    return create_model(title, __base__=Strict, **made)


def example(spec: ModelSpec) -> dict[str, Any]:
    """The spec's own examples as one request."""
    return {
        "entities": {name: field.example for name, field in spec.entities.items()},
        "request": {name: field.example for name, field in spec.request.items()},
    }


class Answered(BaseModel):
    """What every answer says beside what the model said."""

    prediction_id: str = Field(description="names this answer in the log; quote it with the truth")
    model: str = Field(description="who was asked")
    version: int = Field(description="the champion that answered")
    arm: Literal["champion", "challenger"] = Field(
        "champion", description="challenger: a version that is being rolled out answered"
    )
    overridden: bool = Field(False, description="true: a person let this version serve, not its gate")
    missing_features: list[str] = Field(description="features without a value for these entities")
    degraded: bool = Field(description="true: the features are not what they should be; `warnings` says why")
    warnings: list[str] = Field([], description="what is odd about the question, or about its features")


class Answer(Answered):
    """What a classification answers."""

    probability: float = Field(ge=0, le=1, description="that the label is 1")
    decision: bool = Field(description="probability >= threshold")
    threshold: float = Field(description="from the model's spec")


class Classified(Answered):
    """What a multiclass answers."""

    prediction: str | int = Field(description="the likeliest class; of equals the first in the spec's order")
    probabilities: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        description="of every class, in the spec's order; they sum to one"
    )


class Value(Answered):
    """What a regression answers."""

    value: float = Field(allow_inf_nan=False, description="the label that is expected, in its own unit")


ANSWERS: dict[str, type[Answered]] = {
    "classification": Answer,
    "multiclass": Classified,
    "regression": Value,
}
"""What a model of each task answers."""


class Contribution(BaseModel):
    """What one input did to the answer."""

    input: str = Field(description="an entity, a field of the request, or a feature as view__feature")
    contribution: float = Field(description="by how much it moved the answer away from `base`")
    standard_error: float = Field(description="of the drawing of permutations; 0 where `exact`")
    background_error: float = Field(
        description="standard error of the draw of the background rows: other rows would give other numbers"
    )


class Explanation(BaseModel):
    """An answer as a sum: `base` and all contributions, in the answer's own unit."""

    prediction_id: str = Field(description="the answer in the log that is explained")
    model: str
    version: int = Field(description="that answered, and was asked for this explanation")
    of: str = Field(description="what is explained: the label, or one class of it")
    unit: str = Field(description="probability, or value: the label's own unit")
    answer: float = Field(description="as it was given")
    base: float = Field(description="the mean answer to the background rows")
    contributions: list[Contribution] = Field(description="of every input, the largest first")
    method: str = Field(description="interventional Shapley values, and how they were found")
    exact: bool = Field(description="true: of these background rows every coalition was asked about")
    background_rows: int = Field(description="rows of its training set the answer was compared with")
    permutations: int = Field(description="that were drawn, in antithetic pairs; 0 where `exact`")
    evaluations: int = Field(description="mixed rows that the model was asked about")


class Wrong(BaseModel):
    field: str = Field(description="where, such as entities.carrier; empty for the body itself")
    problem: str
    remedy: str


class Problem(BaseModel):
    """Why there is no answer, and what to do."""

    detail: str


class Refusal(Problem):
    """Which fields to mend, and how."""

    fields: list[Wrong]


class ModelStatus(BaseModel):
    """The model that answers now; `version` is null before a champion is loaded.

    `decision` is what lets it serve: PASS, or OVERRIDE by a person; who and why is for `evergreen status` to say.
    `last_error` is one of a closed set of causes. `loading` is a version that is about to answer.
    `challenger` is a version that is rolled out: it answers `challenger_share` of those who ask.
    """

    model: str
    description: str
    threshold: float | None = None
    version: int | None = None
    digest: str | None = None
    as_of: datetime | None = None
    loaded_at: datetime | None = None
    decision: str | None = None
    last_error: str | None = None
    loading: int | None = None
    loading_since: datetime | None = None
    challenger: int | None = None
    challenger_share: float | None = None
    challenger_error: str | None = None


class Ready(BaseModel):
    """The version that answers for each model; `notes` only where there are some."""

    versions: dict[str, int]
    notes: list[str] = Field([], description="what serving does without for now; it answers on")


def refusal(spec: ModelSpec | None, errors: Sequence[Any]) -> Refusal:
    """Each of pydantic's errors as field, problem and remedy; never repeats the value it was given."""
    fields = [_wrong(spec, error) for error in errors]
    named = ", ".join(wrong.field or "the body" for wrong in fields[:5])
    return Refusal(detail=f"the request cannot be answered until mended: {named}", fields=fields[:100])


LOOK = "look the fields up in /docs"


def _wrong(spec: ModelSpec | None, error: Any) -> Wrong:
    path = [str(part)[:100] for part in error["loc"][1:] if error["type"] != "json_invalid"]
    problem = error["msg"]
    if error["type"] == "json_invalid":
        problem = (
            f"the body is not JSON that can be read: {error.get('ctx', {}).get('error', 'it is no JSON')}"
        )
    return Wrong(
        field=".".join(path),
        problem=problem.removeprefix("Value error, "),
        remedy=_remedy(spec, path, error["type"]) if spec and error["loc"][0] == "body" else LOOK,
    )


def _remedy(spec: ModelSpec, path: list[str], kind: str) -> str:
    groups: dict[str, dict[str, RequestField]] = {"entities": spec.entities, "request": spec.request}
    group = groups.get(path[0]) if path else None
    if kind == "extra_forbidden" and len(path) == 1:
        return "remove it; a request has entities and request"
    if group is None or len(path) == 1:
        return f"send, as application/json, a body such as {json.dumps(example(spec))}"
    field = group.get(path[1])
    if field is None:
        return f"remove it; {path[0]} takes {', '.join(group)}"
    return f"send {WORDS[field.type]}, such as {json.dumps(field.example)}: {field.description}"
