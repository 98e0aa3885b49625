"""What a spec says of the search for better parameters."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, model_validator

from pipelines.catalog.gate_spec import METRICS, Metric, Task, metrics_of
from pipelines.catalog.types import Duration, Spec, Unit

Value = float | int | str | bool | None


class Range(Spec):
    """Numbers from `low` to `high`, both included; whole ones if both are whole. `log` spreads them by factors."""

    low: int | float = Field(description="the least value")
    high: int | float = Field(description="the greatest value")
    log: bool = Field(False, description="true: 0.01 to 0.1 is searched as often as 0.1 to 1")

    @model_validator(mode="after")
    def sensible(self) -> "Range":
        """`low` lies below `high`; with `log` it lies above 0."""
        if self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError("log needs a low above 0")
        return self

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def holds(self, value: Value) -> bool:
        """Whether a value can be drawn from it."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high and (not self.whole or isinstance(value, int))


class Choices(Spec):
    """One of these."""

    choices: tuple[Value, ...] = Field(min_length=2, description="the values to choose from")

    def holds(self, value: Value) -> bool:
        return any(value == choice and type(value) is type(choice) for choice in self.choices)


def _kind(given: Any) -> str:
    return "choices" if isinstance(given, dict) and "choices" in given else "range"


class Search(Spec):
    """A budget and a space. Its folds lie inside the training split, in time order: the hold-out is the gate's."""

    trials: Annotated[int, Unit("trials")] = Field(30, gt=0, description="how many are tried in all")
    timeout: Duration = Field(
        timedelta(hours=1), description="no trial begins after this much work on trials"
    )
    metric: Metric = Field("log_loss", description="what the best is best by; one of the model's task")
    folds: Annotated[int, Unit("folds")] = Field(
        3, gt=0, description="each is judged on a span like the hold-out's, the newest before it"
    )
    seed: int = Field(0, ge=0, description="of the draw; the same seed draws the same")
    space: dict[str, Annotated[Range | Choices, Field(union_mode="left_to_right")]] = Field(
        min_length=1,
        description="per name in `parameters`, whose value must be one that can be drawn, a range or choices",
    )

    @property
    def maximize(self) -> bool:
        return METRICS[self.metric][1]

    def unfit(self, task: Task, parameters: dict[str, Value]) -> str | None:
        """Why it cannot be searched from these parameters; None if it can."""
        if self.metric not in metrics_of(task):
            return f"search.metric: {self.metric} is no metric of {task}"
        for name, values in self.space.items():
            if name not in parameters:
                return f"search.space.{name}: give it a value in parameters, from which the search begins"
            if not values.holds(parameters[name]):
                return f"search.space.{name}: the value in parameters, {parameters[name]!r}, cannot be drawn from it"
        return None
