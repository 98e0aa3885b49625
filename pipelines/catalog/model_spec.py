"""One model: everything that is decided about it."""

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, model_validator

from pipelines.catalog.gate_spec import (
    Direction,
    Gate,
    Minimum,
    Promotion,
    Task,
    fitting,
    metrics_of,
    of_task,
)
from pipelines.catalog.label_spec import FEWEST_CLASSES, Labels
from pipelines.catalog.search_spec import Search
from pipelines.catalog.types import NAME, Clock, Duration, Spec

HERE = Path(__file__).resolve().parent.parent
# Hidden files, caches, back-ups and documentation in a model's folder: none of them makes the model.
LEAVINGS = re.compile(r"(^|/)[.#]|(^|/)__pycache__/|(~|\.(md|pyc|pyo|swp|swo|tmp|bak|orig|rej))$")


class RequestField(Spec):
    type: Literal["string", "integer", "float", "timestamp"]
    description: str
    example: str | int | float


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


class Onnx(Spec):
    """An ONNX form beside the model file, for those that run models without scikit-learn; needs `make onnx`."""

    tolerance: float = Field(1e-5, ge=0, description="how far an answer of it may be from the model's own")


LOSSES = ("log_loss", "brier", "mae")
"""The metrics that are a mean over rows, which decay can go by."""


class Decay(Spec):
    """When the champion has decayed: it loses more than at its gate, by over `margin`, beyond doubt."""

    metric: Literal["log_loss", "brier", "mae"] = "log_loss"
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
    task: Task = "classification"
    schedule: str = Field(description="cron of the scheduled retraining")
    datasets: tuple[str, ...] = Field(min_length=1)
    entities: dict[str, RequestField] = Field(
        default_factory=dict, description="what features are looked up by; none where none are"
    )
    request: dict[str, RequestField] = Field(default_factory=dict)
    label: Labels
    features: tuple[str, ...] = Field(
        (), description="view:feature, or view:* for all; left out: the request alone is known"
    )
    parameters: dict[str, float | int | str | bool | None] = Field(default_factory=dict)
    search: Search | None = Field(
        None, description="a search for better parameters; left out: none is offered"
    )
    onnx: Onnx | None = Field(None, description="left out: no ONNX form is made")
    threshold: float = Field(0.5, gt=0, lt=1)
    training: Training
    gate: Gate
    promotion: Promotion = Field(default_factory=Promotion)
    monitor: Monitor

    @model_validator(mode="before")
    @classmethod
    def rules_of_the_task(cls, given: Any) -> Any:
        """A regression's rules go by mean absolute error, and by no calibration, unless they say otherwise; a
        multiclass's ask for something of each class."""
        if not isinstance(given, dict) or given.get("task") not in ("multiclass", "regression"):
            return given
        task, gate, monitor = given["task"], given.get("gate"), given.get("monitor")
        if isinstance(gate, dict):
            given = {**given, "gate": of_task(task, gate)}
        if task == "regression" and isinstance(monitor, dict) and isinstance(monitor.get("decay"), dict):
            given = {**given, "monitor": {**monitor, "decay": {"metric": "mae", **monitor["decay"]}}}
        return given

    @model_validator(mode="after")
    def knows_something(self) -> "ModelSpec":
        if self.features and not self.entities:
            raise ValueError("features are looked up by entities; name those of their views under `entities`")
        if not self.features and not self.request:
            raise ValueError("without features and request nothing is known; name at least one of either")
        return self

    @model_validator(mode="after")
    def classes_fit_task(self) -> "ModelSpec":
        named = len(self.label.classes)
        if self.task != "multiclass" and named:
            raise ValueError(f"label.classes: a {self.task} has none; say `task: multiclass`, or remove them")
        if self.task == "multiclass" and named < FEWEST_CLASSES:
            raise ValueError(
                f"label.classes: a multiclass names its {FEWEST_CLASSES} classes or more, in their order; two are told"
                " by `task: classification`, whose label.sql gives 1 and 0"
            )
        if self.task == "multiclass" and "threshold" in self.model_fields_set:
            raise ValueError("threshold: a multiclass predicts the likeliest class and has none; remove it")
        return self

    @model_validator(mode="after")
    def behaviour_fits_task(self) -> "ModelSpec":
        """Of many classes a test names the one whose probability it means; else there is one number."""
        tests: list[Direction | Minimum] = [*self.gate.behaviour.directions, *self.gate.behaviour.minimums]
        for test in tests:
            if self.task == "multiclass" and test.of not in self.label.classes:
                raise ValueError(
                    f"gate.behaviour: {test.name!r} must name the `class` whose probability it means, one of"
                    f" {', '.join(map(str, self.label.classes))}"
                )
            if self.task != "multiclass" and test.of is not None:
                raise ValueError(
                    f"gate.behaviour: {test.name!r} names a class, but a {self.task} has one answer; remove it"
                )
        return self

    @model_validator(mode="after")
    def gate_fits_task(self) -> "ModelSpec":
        wrong = fitting(self.task, self.gate)
        if wrong is not None:
            raise ValueError(f"gate: {wrong}")
        return self

    @model_validator(mode="after")
    def decay_fits_task(self) -> "ModelSpec":
        decay = self.monitor.decay
        if decay is not None and decay.metric not in metrics_of(self.task):
            fine = [name for name in LOSSES if name in metrics_of(self.task)]
            raise ValueError(
                f"monitor.decay: {decay.metric} is no loss of a {self.task}; use {' or '.join(fine)}"
            )
        return self

    @model_validator(mode="after")
    def search_fits(self) -> "ModelSpec":
        wrong = self.search.unfit(self.task, self.parameters) if self.search else None
        if wrong is not None:
            raise ValueError(wrong)
        return self

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
    def outputs(self) -> int:
        """How many numbers the model answers a row with: a multiclass a probability per class, any other one."""
        return len(self.label.classes) or 1

    @property
    def folder(self) -> Path:
        return HERE / "models" / self.name

    @property
    def label_sql(self) -> str:
        return (self.folder / "label.sql").read_text()

    @property
    def features_by_view(self) -> dict[str, list[str]]:
        """The features that it asks of each view, as written, in order; `*` is all of them."""
        found: dict[str, list[str]] = {}
        for reference in self.features:
            view, _, feature = reference.partition(":")
            found.setdefault(view, []).append(feature)
        return found

    def features_among(self, columns: Iterable[str]) -> list[str]:
        """A fitted model's columns that are features (view__feature), neither entities nor request fields."""
        return [str(name) for name in columns if name not in {**self.entities, **self.request}]

    @property
    def digest(self) -> str:
        """Changes when a file that makes the model does; documentation and editors' leavings make nothing."""
        sha = hashlib.sha256()
        for path in self.files:
            name = path.relative_to(self.folder).as_posix()
            sha.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return sha.hexdigest()

    @property
    def files(self) -> list[Path]:
        """The files that make the model, in order."""
        found = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        return [path for path in found if not LEAVINGS.search(path.relative_to(self.folder).as_posix())]


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
