"""What a stage's task asks for where each is a pod of its own: processors and memory, in Kubernetes' quantities."""

import re
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from pipelines.catalog.types import Spec

MILLI = r"[1-9]\d*m"
BYTES = r"[1-9]\d*(\.\d+)?(Ki|Mi|Gi|Ti|k|M|G|T)"


def processors(given: Any) -> Any:
    """Kubernetes' text of 2, 0.5 or 500m; a thousandth is the least."""
    if isinstance(given, str) and re.fullmatch(MILLI, given):
        return given
    try:
        count = Decimal(str(given)) if not isinstance(given, bool) else Decimal(0)
    except InvalidOperation:
        count = Decimal(0)
    if not count.is_finite() or count <= 0 or count * 1000 % 1:
        raise ValueError(f"{given!r} is no number of processors such as 2, 0.5 or 500m")
    return f"{count:f}"


def memory(given: Any) -> Any:
    """Kubernetes' text of 512Mi or 4Gi; a number alone would be bytes, and its 512m half a byte."""
    if not isinstance(given, str) or not re.fullmatch(BYTES, given):
        raise ValueError(f"{given!r} is no memory with its unit such as 512Mi or 4Gi")
    return given


Processors = Annotated[
    str,
    BeforeValidator(processors),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "unit": "processors such as 2 or 0.5"},
                {"type": "string", "pattern": rf"^({MILLI}|\d+(\.\d{{1,3}})?)$", "unit": "500m"},
            ],
        }
    ),
]
Memory = Annotated[
    str,
    BeforeValidator(memory),
    WithJsonSchema({"type": "string", "pattern": f"^{BYTES}$", "unit": "bytes such as 512Mi or 4Gi"}),
]


class Need(Spec):
    """What one task asks of its machine, both named: one alone would take the other's default away."""

    cpu: Processors = Field(
        description="processors that are kept for it; it may use more where they are idle", examples=[2]
    )
    memory: Memory = Field(
        description="memory that is kept for it; a task that takes more is ended", examples=["4Gi"]
    )

    @property
    def requirements(self) -> dict[str, dict[str, str]]:
        """Kubernetes' requests and limits."""
        return {"requests": {"cpu": self.cpu, "memory": self.memory}, "limits": {"memory": self.memory}}


EXAMPLE = {"cpu": 2, "memory": "4Gi"}


def _stage(does: str) -> Any:
    return Field(None, description=f"{does}; left out: what the pod template says", examples=[EXAMPLE])


class Resources(Spec):
    """What each stage's task asks for under the KubernetesExecutor, which makes it a pod; elsewhere nobody reads it."""

    training_set: Need | None = _stage("joins labels with features")
    train: Need | None = _stage("fits, logs and registers the candidate")
    rebuild: Need | None = _stage("makes the candidate a second time")
    evaluate: Need | None = _stage("judges the candidate")
    promote: Need | None = _stage("checks the verdict and makes the candidate champion")
    report: Need | None = _stage("draws plots, page and card")
    monitor: Need | None = _stage("looks for drift and decay, and at how the model did")
    score: Need | None = _stage("answers files of questions")
