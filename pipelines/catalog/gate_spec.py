"""What a candidate must show before it may serve, and how a version becomes champion."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt, StrictStr, model_validator

from pipelines.catalog.types import Duration, Rows, Share, Spec, Unit

Task = Literal["classification", "multiclass", "regression"]
BINARY: tuple[Task, ...] = ("classification",)
CLASSES: tuple[Task, ...] = ("classification", "multiclass")
MANY: tuple[Task, ...] = ("multiclass",)
VALUES: tuple[Task, ...] = ("regression",)
# Which tasks a metric is for, and whether more of it is better.
METRICS: dict[str, tuple[tuple[Task, ...], bool]] = {
    "roc_auc": (CLASSES, True),
    "average_precision": (BINARY, True),
    "accuracy": (CLASSES, True),
    "balanced_accuracy": (MANY, True),
    "f1": (CLASSES, True),
    "log_loss": (CLASSES, False),
    "brier": (CLASSES, False),
    "calibration_error": (CLASSES, False),
    "r2": (VALUES, True),
    "mae": (VALUES, False),
    "rmse": (VALUES, False),
    "median_ae": (VALUES, False),
}
Metric = Literal[
    "roc_auc", "average_precision", "accuracy", "balanced_accuracy", "f1", "log_loss", "brier", "calibration_error",
    "r2", "mae", "rmse", "median_ae",
]  # fmt: skip
BETTER, NOT_WORSE = 0.98, 0.999
Confidence = Annotated[float, Unit("of a two-sided interval")]
InMetric = Annotated[float, Unit("in the metric")]
TOO_GOOD: dict[Metric, float] = {"roc_auc": 0.99, "r2": 0.999}
TOO_GOOD_OF_CLASSES: dict[Metric, float] = {"accuracy": 0.999}
"""Of many classes one against the rest is honestly told apart to 0.99 and more; being right always is not honest."""
Value = str | int | float | bool | None
Label = StrictInt | StrictStr
"""A class as spec.yaml writes it: a word or a whole number."""


class Comparison(Spec):
    """`better`: the paired interval of the improvement lies above 0. `not_worse`: above -margin.

    Promised: an equal model is called better in at most 2.5% of cases, and one that is worse by the margin is cleared
    in at most 0.1%. The defaults aim at 1% and 0.05%, as skewed losses make an interval a little too sure.
    """

    metric: Metric = Field(
        "log_loss", description="what is compared; a regression's baseline and champion by default by mae"
    )
    rule: Literal["better", "not_worse"] = Field("better", description="what the interval must show")
    margin: InMetric = Field(0.0, ge=0, description="how much worse is still not worse")
    confidence: Confidence | None = Field(
        None, gt=0.5, lt=1, description=f"left out: {BETTER} for `better`, {NOT_WORSE} for `not_worse`"
    )
    stale_after: Duration | None = Field(
        None, description="`better`: against a champion older than this, not worse by the margin is enough"
    )

    @model_validator(mode="after")
    def margin_where_needed(self) -> "Comparison":
        """`not_worse` and `stale_after` have a margin above 0."""
        if self.margin == 0 and (self.rule == "not_worse" or self.stale_after is not None):
            raise ValueError("`not_worse` and `stale_after` need a margin above 0")
        return self

    @property
    def level(self) -> float:
        """The confidence of its interval."""
        return self.confidence or (BETTER if self.rule == "better" else NOT_WORSE)

    @property
    def bound(self) -> float:
        """What the whole interval of the improvement must lie above."""
        return 0.0 if self.rule == "better" else -self.margin


class Slices(Spec):
    """Parts of the rows on which the candidate may not be worse than the champion, all of them at once."""

    columns: tuple[str, ...] = Field((), description="each value of each of these is a slice")
    metric: Metric = Field("log_loss", description="what is compared; a regression's by default mae")
    margin: InMetric = Field(0.05, gt=0, description="how much worse a slice may be")
    confidence: Confidence = Field(0.95, gt=0.5, lt=1, description="of all slices together")
    minimum_rows: Rows = Field(200, gt=0, description="smaller slices are told of, not judged")
    floors: dict[Metric, float] = Field(
        default_factory=dict, description="at least this in every slice", examples=[{"roc_auc": 0.55}]
    )
    ceilings: dict[Metric, float] = Field(
        default_factory=dict, description="at most this in every slice", examples=[{"brier": 0.3}]
    )
    search: bool = Field(True, description="also look for the worst slice of any columns, and judge it")


class Calibration(Spec):
    """How far probabilities may be from what happens: over equally filled bins, and as a whole.

    Of more than two classes each is held to it, and the worst is judged.
    """

    bins: Annotated[int, Unit("bins")] = Field(10, ge=2, description="how many, with as many rows in each")
    error: Share = Field(0.1, gt=0, le=1, description="mean |predicted - happened| over the bins, at most")
    mean: Share = Field(
        0.08,
        gt=0,
        le=1,
        description="|mean predicted - mean happened|, at most; weeks differ, models cannot know",
    )


Measure = Literal[
    "demographic_parity_difference", "equalized_odds_difference", "equal_opportunity_difference",
    "mean_absolute_error_difference",
]  # fmt: skip


class Fairness(Spec):
    """A fairlearn measure between the groups of a column, at most.

    Classification is asked by its decisions at the spec's threshold, regression by its errors, in the label's unit. Of
    more than two classes each is asked one against the rest, and the worst is judged.
    """

    group: str = Field(description="the column whose values are the groups")
    measure: Measure = Field(
        "equalized_odds_difference", description="fairlearn's; the last of these is a regression's"
    )
    at_most: float = Field(gt=0, description="the widest difference between two groups that passes")
    minimum_rows: Rows = Field(200, gt=0, description="smaller groups are told of, not judged")

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Which tasks the measure is for."""
        return VALUES if self.measure == "mean_absolute_error_difference" else CLASSES

    @model_validator(mode="after")
    def can_be_broken(self) -> "Fairness":
        """An `at_most` for rates lies below 1, above which no difference of rates is."""
        if self.tasks == CLASSES and self.at_most >= 1:
            raise ValueError("at_most: a difference of rates is never above 1; name a smaller one")
        return self


Answer = Annotated[float, Unit("in the answer")]


class Invariance(Spec):
    """Changing these columns must not move an answer by more than `within`."""

    name: str = Field(description="the rule in a sentence, as the verdict says it")
    change: dict[str, Value] = Field(min_length=1, description="per column the value that is put in")
    within: Answer = Field(0.0, ge=0, description="how far an answer may move")


class Direction(Spec):
    """Adding these amounts must move answers as expected in at least `share` of the rows that have the columns.

    `up` and `down` ask for a move; `not_down` and `not_up` are content if the answer stays where it is. Of more than
    two classes `class` names the one whose probability is meant.
    """

    name: str = Field(description="the rule in a sentence, as the verdict says it")
    of: Label | None = Field(
        None, alias="class", description="of a multiclass: the class whose probability is meant"
    )
    add: dict[str, float] = Field(min_length=1, description="per column the amount that is added")
    expect: Literal["up", "down", "not_up", "not_down"] = Field(description="which way answers must move")
    share: Share = Field(0.5, gt=0, le=1, description="of the rows whose answer moves so, at least")


class Minimum(Spec):
    """One question whose answer must lie in a range; what is not named is the spec's example, features missing.

    Of more than two classes `class` names the one whose probability is meant.
    """

    name: str = Field(description="the rule in a sentence, as the verdict says it")
    of: Label | None = Field(
        None, alias="class", description="of a multiclass: the class whose probability is meant"
    )
    question: dict[str, Value] = Field(default_factory=dict, description="per column the value that is asked")
    at_least: Answer | None = Field(None, description="the least answer that passes")
    at_most: Answer | None = Field(None, description="the greatest answer that passes")

    @model_validator(mode="after")
    def has_a_bound(self) -> "Minimum":
        """At least one of `at_least` and `at_most` is named."""
        if self.at_least is None and self.at_most is None:
            raise ValueError("name at_least, at_most or both")
        return self


class Behaviour(Spec):
    """Tests of the model as a function, declared as data."""

    invariances: tuple[Invariance, ...] = Field((), description="what must not matter")
    directions: tuple[Direction, ...] = Field((), description="which way an answer must go")
    minimums: tuple[Minimum, ...] = Field(
        (), description="questions with an answer that is known well enough"
    )
    rows: Rows = Field(500, gt=0, description="how many held-out rows they are tried on")

    @property
    def names(self) -> list[str]:
        """Of every test that is declared."""
        invariances, directions = (
            [each.name for each in kind] for kind in (self.invariances, self.directions)
        )
        return [*invariances, *directions, *(each.name for each in self.minimums)]


class EveryClass(Spec):
    """What must hold in each class, however rare it is."""

    recall: Share = Field(0.0, ge=0, lt=1, description="share of its rows that is predicted as it, at least")
    minimum_rows: Rows = Field(20, gt=0, description="fewer held-out rows of a class cannot tell")


class ServingLimits(Spec):
    """What the model may cost where it serves; measured there, in a process of its own."""

    p99_ms: Annotated[float, Unit("milliseconds")] = Field(
        250, gt=0, description="the slowest answer of a hundred"
    )
    megabytes: Annotated[float, Unit("megabytes")] = Field(200, gt=0, description="the model file")
    memory_mb: Annotated[float, Unit("megabytes")] = Field(
        2048, gt=0, description="the whole process; what asks for more gets none"
    )
    load_seconds: Annotated[float, Unit("seconds")] = Field(
        60, gt=0, description="until the first answer; longer is stopped"
    )
    questions: Rows = Field(200, gt=0, description="held-out rows that are asked one by one")


class Gate(Spec):
    """Every rule must say PASS; what is left out has a default that blocks."""

    metrics: tuple[Metric, ...] = Field(
        (), description="reported; all of the task's if left out", examples=[("roc_auc", "log_loss")]
    )
    floors: dict[Metric, float] = Field(
        min_length=1, description="per metric the bound that passes: at least this, or for a loss at most"
    )
    ceilings: dict[Metric, float] = Field(default_factory=dict, description="per metric, at most this")
    suspicious: dict[Metric, float] = Field(
        default_factory=lambda: dict(TOO_GOOD),
        description="as good as this is taken for a leak until a person has looked",
    )
    minimum_rows: Rows = Field(
        500, gt=0, description="fewer held-out rows than this judge nothing: INCONCLUSIVE"
    )
    minimum_blocks: Annotated[int, Unit("hours with rows")] = Field(
        20, gt=1, description="fewer held-out hours than this judge nothing: INCONCLUSIVE"
    )
    baseline: Comparison = Field(
        default_factory=Comparison,
        description="with the `baseline()` of estimator.py, fitted on the same rows",
    )
    champion: Comparison = Field(
        default_factory=Comparison, description="with the version that serves, if one does"
    )
    guards: tuple[Comparison, ...] = Field(
        (), description="more comparisons with the champion; all must hold"
    )
    anchor: Comparison | None = Field(None, description="with the version that is pinned as alias `anchor`")
    slices: Slices = Field(
        default_factory=Slices, description="parts of the rows, each held against the champion"
    )
    calibration: Calibration | None = Field(
        default_factory=Calibration,
        description="whether probabilities are what happens; null: not asked, as for a regression",
    )
    each_class: EveryClass | None = Field(
        None, description="of a multiclass, where one row in twenty of each class must be found if left out"
    )
    fairness: tuple[Fairness, ...] = Field((), description="differences between groups that may not be wider")
    behaviour: Behaviour = Field(
        default_factory=Behaviour, description="what the model must do as a function"
    )
    serving: ServingLimits = Field(
        default_factory=ServingLimits, description="what it may cost where it serves"
    )
    rebuild: bool = Field(
        True,
        description="rows and model must come out the same when made again from the record; fits again twice",
    )

    @property
    def named(self) -> set[str]:
        """Every metric that a rule speaks of."""
        compared = [self.baseline, self.champion, *self.guards, *([self.anchor] if self.anchor else [])]
        bounds = [self.floors, self.ceilings, self.slices.floors, self.slices.ceilings]
        return {*self.metrics, *(c.metric for c in compared), *(m for bound in bounds for m in bound)}


class Promotion(Spec):
    """How a version that passed becomes champion, and how long old ones are kept."""

    approval: bool = Field(False, description="a person must approve as well")
    approval_timeout: Duration = Field(timedelta(hours=24), description="no answer until then means no")
    verdict_valid: Duration = Field(timedelta(days=7), description="an older verdict must be given again")
    keep: Annotated[int, Unit("versions")] = Field(
        10, ge=2, description="versions kept besides champion, previous and anchor"
    )


def metrics_of(task: Task) -> list[str]:
    """Every metric of a task."""
    return [name for name, (tasks, _) in METRICS.items() if task in tasks]


def fitting(task: Task, gate: Gate) -> str | None:
    """What to say if a rule speaks of a metric of another task; None if all fit."""
    foreign = sorted(gate.named - {*metrics_of(task)})
    foreign += [each.measure for each in gate.fairness if task not in each.tasks]
    if foreign:
        return f"{', '.join(foreign)}: no metric of {task}"
    if gate.each_class is not None and task != "multiclass":
        return "each_class: only a multiclass has it; remove it"
    return None


def of_task(task: Task, gate: dict[str, Any]) -> dict[str, Any]:
    """A gate as written, what it does not name being that of its task."""
    if task == "multiclass":
        return {"each_class": {"recall": 0.05}, "suspicious": dict(TOO_GOOD_OF_CLASSES), **gate}
    rules = {name: {"metric": "mae", **(gate.get(name) or {})} for name in ("baseline", "champion", "slices")}
    return {"calibration": None, **gate, **rules}
