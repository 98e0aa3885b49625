"""One model: everything that is decided about it."""

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, model_validator

from pipelines.catalog.cron import ticks
from pipelines.catalog.degraded_spec import Degraded
from pipelines.catalog.gate_spec import (
    Confidence,
    Direction,
    Gate,
    InMetric,
    Minimum,
    Promotion,
    Task,
    fitting,
    metrics_of,
    of_task,
)
from pipelines.catalog.label_spec import FEWEST_CLASSES, Labels
from pipelines.catalog.resources_spec import Resources
from pipelines.catalog.rollout_spec import Rollout
from pipelines.catalog.search_spec import Search
from pipelines.catalog.types import NAME, Clock, Cron, Duration, File, Rows, Share, Spec, Unit

HERE = Path(__file__).resolve().parent.parent
# Hidden files, caches, back-ups and documentation in a model's folder: none of them makes the model.
LEAVINGS = re.compile(r"(^|/)[.#]|(^|/)__pycache__/|(~|\.(md|pyc|pyo|swp|swo|tmp|bak|orig|rej))$")
FORMAT_LINE = re.compile(rb"(?m)^(format:[^#\r\n]*?)([ \t]*(?:#[^\r\n]*)?)(\r?\n|\Z)")
"""In spec.yaml: says how the file is written, and nothing of the model."""


class RequestField(Spec):
    """One value that a question brings."""

    type: Literal["string", "integer", "float", "timestamp"] = Field(
        description="what the API takes for it; anything else is refused by name"
    )
    description: str = Field(description="what it says, with its unit; the API's documentation shows it")
    example: str | int | float = Field(
        description="a value that the API's documentation and `evergreen predict` ask with"
    )


class QuietHours(Spec):
    """The hours of every day, by the clock on a wall in `zone`, in which no training begins by itself."""

    start: Clock = Field(alias="from", description="the first quiet minute", examples=["06:00"])
    end: Clock = Field(
        alias="to",
        description="the first minute after; before `from` it is the next day's",
        examples=["22:00"],
    )
    zone: str = Field(description="an IANA time zone such as America/New_York", examples=["America/New_York"])

    @model_validator(mode="after")
    def sensible(self) -> "QuietHours":
        """`from` and `to` are two times, and `zone` is a name of IANA's list."""
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
    """What a training learns from, and when one may begin."""

    window: Duration = Field(description="how far back labels are used")
    holdout: Duration = Field(description="the newest labels, kept for the gate")
    minimum_rows: Rows = Field(gt=0, description="fewer to learn from than this are refused")
    minimum_new_rows: Rows = Field(
        1,
        ge=0,
        description="fewer new labels than this start no training when they land; the schedule takes what there is",
    )
    cool_down: Duration = Field(
        timedelta(0),
        description="no training within this time after the last one began; keep it shorter than the schedule's step",
    )
    quiet_hours: QuietHours | None = Field(
        None,
        description="when no training begins by itself",
        examples=[{"from": "06:00", "to": "22:00", "zone": "America/New_York"}],
    )
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

    metric: Literal["log_loss", "brier", "mae"] = Field(
        "log_loss", description="the loss; mae is a regression's, and its default"
    )
    margin: InMetric = Field(ge=0, description="a rise of the mean loss that is worth a training")
    confidence: Confidence = Field(
        0.95, gt=0.5, lt=1, description="of the interval that must lie above margin"
    )
    minimum_rows: Rows = Field(
        500, gt=0, description="fewer rows since the champion's training judge nothing"
    )
    minimum_days: Annotated[int, Unit("days")] = Field(
        3, gt=1, description="fewer days since then judge nothing; a day's rows go together"
    )


class Monitor(Spec):
    """How the champion is watched."""

    schedule: Cron = Field(description="when it is looked at")
    window: Duration = Field(
        description="the newest labelled rows, which are held against those it learned from"
    )
    drift_share: Share = Field(
        0.5,
        gt=0,
        le=1,
        description="share of the inputs, by what the answers hang on, that asks for a training when it moved",
    )
    false_alarms: float = Field(
        2.0,
        gt=0,
        description="columns that are said to have moved and have not, a year, among all; looked at daily",
    )
    difference: Share = Field(
        0.05, gt=0, lt=1, description="the least distance of two distributions (0 to 1) that counts as moved"
    )
    seasons: tuple[Literal["weekday", "month"], ...] = Field(
        (),
        description="hold each day against the days of the training of the same weekday, calendar month, or both",
        examples=[["month"]],
    )
    decay: Decay | None = Field(None, description="left out: decay is not judged")

    @property
    def days(self) -> int:
        """The window in whole days, one at least."""
        return max(1, round(self.window.total_seconds() / 86400))


class ModelSpec(File):
    """One model: everything that is decided about it."""

    name: str = Field(pattern=NAME, description="its name, which is that of its folder")
    description: str = Field(description="what it tells, for people")
    owner: str = Field(description="the team that is asked when it fails")
    task: Task = Field("classification", description="a probability of yes, or a number")
    schedule: Cron = Field(description="when it is trained again, whatever else happens")
    datasets: tuple[str, ...] = Field(
        min_length=1, description="what it learns from: a training waits until each has landed"
    )
    entities: dict[str, RequestField] = Field(
        default_factory=dict, description="what features are looked up by; none where none are"
    )
    request: dict[str, RequestField] = Field(
        default_factory=dict, description="what else a question says, which is known when it is asked"
    )
    label: Labels = Field(description="what is learned")
    features: tuple[str, ...] = Field(
        (), description="view:feature, or view:* for all; left out: the request alone is known"
    )
    degraded: Degraded = Field(
        default_factory=Degraded, description="which answers say that they lack what the model needs"
    )
    parameters: dict[str, float | int | str | bool | None] = Field(
        default_factory=dict,
        description="what `build(parameters)` of estimator.py is given; it refuses others",
    )
    search: Search | None = Field(
        None, description="a search for better parameters; left out: none is offered"
    )
    onnx: Onnx | None = Field(
        None, description="left out: no ONNX form is made", examples=[{"tolerance": 1e-4}]
    )
    threshold: Annotated[float, Unit("probability")] = Field(
        0.5, gt=0, lt=1, description="from this on the answer counts as yes, where a yes or no is needed"
    )
    training: Training = Field(description="what a training learns from, and when one may begin")
    gate: Gate = Field(description="what a candidate must show before it may serve")
    promotion: Promotion = Field(
        default_factory=Promotion, description="how a version that passed becomes champion"
    )
    rollout: Rollout | None = Field(
        None,
        description="left out: a version that passed answers everybody at once",
        examples=[{"steps": [{"share": 0, "bake": "1h"}, {"share": 0.1, "bake": "6h"}]}],
    )
    monitor: Monitor = Field(description="how the champion is watched")
    resources: Resources = Field(
        default_factory=Resources,
        description="what each stage's task asks for where tasks are pods on Kubernetes",
        examples=[{"train": {"cpu": 2, "memory": "4Gi"}}],
    )

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
        """Where there are `features` there are `entities`; without features there is a `request`."""
        if self.features and not self.entities:
            raise ValueError("features are looked up by entities; name those of their views under `entities`")
        if not self.features and not self.request:
            raise ValueError("without features and request nothing is known; name at least one of either")
        return self

    @model_validator(mode="after")
    def event_time_is_asked(self) -> "ModelSpec":
        """`label.event_time` is a timestamp under `request`."""
        name = self.label.event_time
        if name is not None and (name not in self.request or self.request[name].type != "timestamp"):
            raise ValueError(f"label.event_time: {name} is no timestamp under `request`; add it there")
        return self

    @model_validator(mode="after")
    def degraded_fits(self) -> "ModelSpec":
        """`degraded.required` names what stands under `features`."""
        unknown = self.degraded.unasked(self.features)
        if unknown:
            raise ValueError(
                f"degraded.required: {', '.join(unknown)} stands not under `features`; add it there, or remove it"
            )
        return self

    @model_validator(mode="after")
    def classes_fit_task(self) -> "ModelSpec":
        """A multiclass names three `label.classes` or more and has no `threshold`; no other task has classes."""
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
        """Every metric and measure under `gate` is one of the task's."""
        wrong = fitting(self.task, self.gate)
        if wrong is not None:
            raise ValueError(f"gate: {wrong}")
        return self

    @model_validator(mode="after")
    def decay_fits_task(self) -> "ModelSpec":
        """The metric of `monitor.decay` is a loss of the task's."""
        decay = self.monitor.decay
        if decay is not None and decay.metric not in metrics_of(self.task):
            fine = [name for name in LOSSES if name in metrics_of(self.task)]
            raise ValueError(
                f"monitor.decay: {decay.metric} is no loss of a {self.task}; use {' or '.join(fine)}"
            )
        return self

    @model_validator(mode="after")
    def rollout_fits(self) -> "ModelSpec":
        """`rollout.by` names what a question says."""
        said = {**self.entities, **self.request}
        unknown = [name for name in (self.rollout.by if self.rollout else ()) if name not in said]
        if unknown:
            raise ValueError(
                f"rollout.by: a question says nothing of {', '.join(unknown)}; it has {', '.join(said)}"
            )
        return self

    @model_validator(mode="after")
    def search_fits(self) -> "ModelSpec":
        """The metric of `search` is the task's, and each value of `parameters` can be drawn from its space."""
        wrong = self.search.unfit(self.task, self.parameters) if self.search else None
        if wrong is not None:
            raise ValueError(wrong)
        return self

    @model_validator(mode="after")
    def schedule_is_heard(self) -> "ModelSpec":
        """Some tick of `schedule` lies outside `training.quiet_hours`, as what those hold back waits for one."""
        quiet, moments = self.training.quiet_hours, ticks(self.schedule)
        if quiet is not None and moments and all(quiet.covers(tick) for tick in moments):
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
        """Changes when a file that makes the model does; documentation, editors' leavings and `format` make nothing."""
        sha = hashlib.sha256()
        for path in self.files:
            name = path.relative_to(self.folder).as_posix()
            said = FORMAT_LINE.sub(b"", path.read_bytes(), 1) if name == "spec.yaml" else path.read_bytes()
            sha.update(f"{name} {hashlib.sha256(said).hexdigest()}\n".encode())
        return sha.hexdigest()

    @property
    def files(self) -> list[Path]:
        """The files that make the model, in order."""
        found = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        return [path for path in found if not LEAVINGS.search(path.relative_to(self.folder).as_posix())]
