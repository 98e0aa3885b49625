"""Finds and checks the specs: datasets/<name>.yaml and models/<name>/spec.yaml. Light to import."""

import hashlib
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pipelines.contracts import EvergreenError

HERE = Path(__file__).resolve().parent
NAME = r"^[a-z][a-z0-9_]*$"
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def duration(text: Any) -> Any:
    """A timedelta from 90m, 36h or 7d."""
    match = re.fullmatch(r"(\d+)([mhd])", text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 30m, 36h or 7d")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


Duration = Annotated[timedelta, BeforeValidator(duration)]


class Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


T = TypeVar("T", bound=Spec)


class Column(Spec):
    """One column as it lands. Timestamps must carry a zone and are kept in UTC."""

    type: Literal["string", "integer", "float", "timestamp"]
    description: str
    nullable: bool = False


class DatasetSpec(Spec):
    """A kind of file that lands."""

    name: str = Field(pattern=NAME)
    description: str
    owner: str
    pattern: str = Field(description="glob that a file's name matches")
    key: tuple[str, ...] = Field(min_length=1)
    event_time: str = Field(description="the column that says when it happened")
    available_at: str = Field(description="the column that says when it could be known")
    columns: dict[str, Column] = Field(min_length=1)
    sweep: str = Field("*/5 * * * *", description="cron of the sweep that makes a lost event harmless")
    reference: bool = Field(False, description="true: lands rarely, no feature waits for it")
    max_bad_share: float = Field(0.2, ge=0, le=1, description="more bad rows than this refuse the file")
    max_bytes: int = Field(
        2_000_000_000, gt=0, description="larger files, also once decompressed, are refused"
    )
    null_values: tuple[str, ...] = ("",)

    @model_validator(mode="after")
    def named_columns_exist(self) -> "DatasetSpec":
        missing = {*self.key, self.event_time, self.available_at} - set(self.columns)
        if missing:
            raise ValueError(f"key, event_time or available_at name no column: {sorted(missing)}")
        return self


class Labels(Spec):
    """Where labels come from; label.sql beside spec.yaml gives the entity rows."""

    name: str
    dataset: str
    horizon: Duration = Field(description="how long before the event the prediction is made")


class RequestField(Spec):
    type: Literal["string", "integer", "float", "timestamp"]
    description: str
    example: str | int | float


class Training(Spec):
    window: Duration = Field(description="how far back labels are used")
    holdout: Duration = Field(description="the newest labels, kept for the gate")
    minimum_rows: int = Field(gt=0)
    minimum_new_rows: int = Field(1, ge=0, description="fewer new labels than this start no training")
    patience: Duration = Field(
        timedelta(hours=36), description="how long a late dataset holds the others back"
    )


class Champion(Spec):
    """`better`: the interval of the improvement lies above 0. `not_worse`: above -margin."""

    metric: Literal["log_loss", "brier"] = "log_loss"
    rule: Literal["better", "not_worse"] = "better"
    margin: float = Field(0.0, ge=0)
    confidence: float = Field(0.95, gt=0.5, lt=1)


class Gate(Spec):
    floors: dict[Literal["roc_auc", "average_precision"], float] = Field(min_length=1)
    ceilings: dict[Literal["log_loss", "brier"], float] = Field(default_factory=dict)
    minimum_rows: int = Field(500, gt=0)
    baseline: Champion = Field(default_factory=Champion)
    champion: Champion = Field(default_factory=Champion)


class Monitor(Spec):
    schedule: str
    window: Duration
    drift_share: float = Field(0.5, gt=0, le=1)


class ModelSpec(Spec):
    """One model: everything that is decided about it."""

    name: str = Field(pattern=NAME)
    description: str
    owner: str
    schedule: str = Field(description="cron of the scheduled retraining")
    datasets: tuple[str, ...] = Field(min_length=1)
    entities: dict[str, RequestField] = Field(min_length=1)
    request: dict[str, RequestField] = Field(default_factory=dict)
    label: Labels
    features: tuple[str, ...] = Field(min_length=1, description="view:feature, or view:* for all")
    parameters: dict[str, float | int | str | bool | None] = Field(default_factory=dict)
    threshold: float = Field(0.5, gt=0, lt=1)
    training: Training
    gate: Gate
    monitor: Monitor

    @property
    def folder(self) -> Path:
        return HERE / "models" / self.name

    @property
    def label_sql(self) -> str:
        return (self.folder / "label.sql").read_text()

    @property
    def digest(self) -> str:
        """Changes when any file in the model's folder does."""
        sha = hashlib.sha256()
        for path in sorted(self.folder.glob("*")):
            if path.is_file():
                sha.update(path.name.encode() + b"\0" + path.read_bytes())
        return sha.hexdigest()


def _line_of(text: str, location: tuple[Any, ...]) -> int:
    """The line of the deepest part of a YAML path that exists; 1 if none does."""
    node, line = yaml.compose(text), 1
    for part in location:
        if not isinstance(node, yaml.MappingNode):
            break
        found = [(k, v) for k, v in node.value if k.value == str(part)]
        if not found:
            break
        line, node = found[0][0].start_mark.line + 1, found[0][1]
    return line


def read_spec(path: Path, kind: type[T]) -> T:
    """The typed spec in a YAML file. Errors name file, line, what is wrong and the remedy."""
    text = path.read_text()
    try:
        return kind.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise EvergreenError(f"{path}: not valid YAML: {error}") from error
    except ValidationError as error:
        raise EvergreenError("\n".join(_explain(path, text, e) for e in error.errors())) from error


def _explain(path: Path, text: str, error: Mapping[str, Any]) -> str:
    where = ".".join(map(str, error["loc"])) or "the file"
    remedy = {"extra_forbidden": "remove it or mend its spelling", "missing": "add it"}.get(
        error["type"], "mend it"
    )
    return f"{path}:{_line_of(text, error['loc'])}: {where}: {error['msg']}; {remedy}"


@lru_cache(maxsize=8)
def datasets(folder: Path = HERE / "datasets") -> dict[str, DatasetSpec]:
    """All dataset specs by name."""
    specs = [read_spec(path, DatasetSpec) for path in sorted(folder.glob("*.yaml"))]
    return {spec.name: spec for spec in specs}


@lru_cache(maxsize=8)
def models(folder: Path = HERE / "models") -> dict[str, ModelSpec]:
    """All model specs by name; each model's datasets must exist."""
    specs = [read_spec(path, ModelSpec) for path in sorted(folder.glob("*/spec.yaml"))]
    for spec in specs:
        for name in (*spec.datasets, spec.label.dataset):
            if name not in datasets():
                raise EvergreenError(
                    f"{spec.folder}/spec.yaml: no dataset {name!r}; have {sorted(datasets())}"
                )
    return {spec.name: spec for spec in specs}


def dataset(name: str) -> DatasetSpec:
    return _pick(datasets(), name, "dataset")


def model(name: str) -> ModelSpec:
    return _pick(models(), name, "model")


def _pick(found: dict[str, T], name: str, kind: str) -> T:
    if name not in found:
        raise EvergreenError(f"no {kind} named {name!r}; there are: {', '.join(sorted(found)) or 'none'}")
    return found[name]
