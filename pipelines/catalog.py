"""Finds and checks the specs: datasets/<name>.yaml and models/<name>/spec.yaml. Light to import."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pipelines.contracts import EvergreenError

HERE = Path(__file__).resolve().parent
NAME = r"^[a-z][a-z0-9_]*$"
COLUMN_NAME = r"[A-Za-z][A-Za-z0-9_]{0,99}"
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
# Hidden files, caches, back-ups and documentation in a model's folder: none of them makes the model.
LEAVINGS = re.compile(r"(^|/)[.#]|(^|/)__pycache__/|(~|\.(md|pyc|pyo|swp|swo|tmp|bak|orig|rej))$")


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
    since: int = Field(1, ge=1, description="the dataset's version that brought it; older files lack it")
    deprecated: int | None = Field(None, ge=2, description="the version from which files may leave it out")

    @model_validator(mode="after")
    def may_be_missing_only_if_null(self) -> "Column":
        if self.optional and not self.nullable:
            raise ValueError("a column that files may lack must be nullable: true")
        return self

    @property
    def optional(self) -> bool:
        """Whether a file may lack the column."""
        return self.since > 1 or self.deprecated is not None


class DatasetSpec(Spec):
    """A kind of file that lands."""

    name: str = Field(pattern=NAME)
    description: str
    owner: str
    version: int = Field(1, ge=1, description="raised by each change of the columns")
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
    manifest: bool = Field(False, description="true: NAME waits for NAME.manifest.json with its size")

    @property
    def required(self) -> list[str]:
        """The columns every file must have."""
        return [name for name, column in self.columns.items() if not column.optional]

    @model_validator(mode="after")
    def named_columns_exist(self) -> "DatasetSpec":
        missing = {*self.key, self.event_time, self.available_at} - set(self.columns)
        if missing:
            raise ValueError(f"key, event_time or available_at name no column: {sorted(missing)}")
        odd = [name for name in self.columns if re.fullmatch(COLUMN_NAME, name) is None]
        if odd:
            raise ValueError(f"{odd[0]!r} is no column name: a letter, then letters, digits and _")
        newest = max(max(c.since, c.deprecated or 1) for c in self.columns.values())
        if newest > self.version:
            raise ValueError(f"a column speaks of version {newest}, but version is {self.version}; raise it")
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


def clock(text: Any) -> Any:
    """A time of day from "06:00"; unquoted, YAML reads 22:00 as the number 1320."""
    if not isinstance(text, str) or re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text) is None:
        raise ValueError(f'{text!r} is not a time of day in quotes such as "06:00"')
    return time.fromisoformat(text)


Clock = Annotated[time, BeforeValidator(clock)]


class QuietHours(Spec):
    """The hours of every day, by the clock on a wall in `zone`, in which no training begins by itself."""

    start: Clock = Field(alias="from", description="the first quiet minute")
    end: Clock = Field(alias="to", description="the first minute after; before `from` it is the next day's")
    zone: str = Field(description="an IANA time zone such as America/New_York")

    @model_validator(mode="after")
    def sensible(self) -> "QuietHours":
        if self.start == self.end:
            raise ValueError("from and to are the same; name different times, or remove quiet_hours")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{self.zone!r} is no time zone such as America/New_York") from error
        return self

    def covers(self, moment: datetime) -> bool:
        """Whether the wall clock then shows a quiet time."""
        shown = moment.astimezone(ZoneInfo(self.zone)).time()
        if self.start < self.end:
            return self.start <= shown < self.end
        return shown >= self.start or shown < self.end

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M} {self.zone}"


class Training(Spec):
    window: Duration = Field(description="how far back labels are used")
    holdout: Duration = Field(description="the newest labels, kept for the gate")
    minimum_rows: int = Field(gt=0)
    minimum_new_rows: int = Field(
        1,
        ge=0,
        description="fewer new labels than this start no training when they land; the schedule takes what there is",
    )
    cool_down: Duration = Field(
        timedelta(0),
        description="no training within this time after the last one began; keep it shorter than the schedule's step",
    )
    quiet_hours: QuietHours | None = Field(None, description="when no training begins by itself")
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


class Decay(Spec):
    """When the champion has decayed: it loses more than at its gate, by over `margin`, beyond doubt."""

    metric: Literal["log_loss", "brier"] = "log_loss"
    margin: float = Field(ge=0, description="a rise of the mean loss that is worth a training")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the interval that must lie above margin")
    minimum_rows: int = Field(500, gt=0, description="fewer rows since the champion's training judge nothing")
    minimum_days: int = Field(
        3, gt=1, description="fewer days since then judge nothing; a day's rows go together"
    )


class Monitor(Spec):
    schedule: str
    window: Duration
    drift_share: float = Field(
        0.5, gt=0, le=1, description="share of drifted columns that asks for a training"
    )
    decay: Decay | None = Field(None, description="left out: decay is not judged")


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

    @model_validator(mode="after")
    def schedule_is_heard(self) -> "ModelSpec":
        """What quiet hours hold back waits for a tick of the schedule, so some tick must lie outside them."""
        quiet, ticks = self.training.quiet_hours, _ticks(self.schedule)
        if quiet is not None and ticks and all(quiet.covers(tick) for tick in ticks):
            raise ValueError(
                f"every tick of schedule {self.schedule!r} (UTC) lies in quiet_hours {quiet}, "
                "so what they hold back would wait for ever; move one of them"
            )
        return self

    @property
    def folder(self) -> Path:
        return HERE / "models" / self.name

    @property
    def label_sql(self) -> str:
        return (self.folder / "label.sql").read_text()

    def features_among(self, columns: Iterable[str]) -> list[str]:
        """A fitted model's columns that are features (view__feature), neither entities nor request fields."""
        return [str(name) for name in columns if name not in {**self.entities, **self.request}]

    @property
    def digest(self) -> str:
        """Changes when a file that makes the model does; documentation and editors' leavings make nothing."""
        sha = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and not LEAVINGS.search(name):
                sha.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return sha.hexdigest()


def _ticks(schedule: str) -> list[datetime]:
    """The times of day of a five-field cron, on one day of each month; none if it is written otherwise."""
    fields = schedule.split()
    if len(fields) != 5:
        return []
    minutes, hours = _values(fields[0], 60), _values(fields[1], 24)
    months = range(1, 13)
    return [
        datetime(2024, m, 15, hour, minute, tzinfo=UTC)
        for m in months
        for hour in hours
        for minute in minutes
    ]


def _values(field: str, size: int) -> list[int]:
    """What one field of a cron names: *, 5, 1-5, */15 or 1-30/5, and lists of them."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if not all(number.isdigit() for number in (first, last, step) if number not in {"", "*"}):
            return []
        start = 0 if first == "*" else int(first)
        end = int(last) if dash else size - 1 if first == "*" or step else start
        found.update(range(start, end + 1, int(step or 1)))
    return sorted(found)


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
