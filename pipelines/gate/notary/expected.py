"""Which rules a verdict must hold, read from the spec alone."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.catalog import Comparison, ModelSpec
from pipelines.catalog.gate_spec import METRICS, ServingLimits
from pipelines.gate.rules import onnx, rebuild
from pipelines.stores.tracking.registry import Version


@dataclass(frozen=True)
class Against:
    """Whom a candidate is held against."""

    candidate: Version
    champion: Version | None
    anchor: Version | None


@dataclass(frozen=True)
class Demand:
    """A rule that must be there. With a bound, it must be against this one, of this metric, at this confidence.

    `who` is the other side of a comparison.
    """

    name: str
    metric: str | None = None
    bound: float | None = None
    confidence: float | None = None
    who: str | None = None

    @property
    def numbers(self) -> tuple[str | None, float | None, float | None]:
        return self.metric, self.bound, self.confidence


def demanded(spec: ModelSpec, against: Against) -> Iterator[Demand]:
    """Every rule whose name the spec gives."""
    gate = spec.gate
    for name in ("the candidate's own training set", "sound answers", "not staler than the champion",
                 "inputs serving can give", "written by the libraries that read it"):  # fmt: skip
        yield Demand(name)
    yield from _serving(gate.serving)
    for metric, bound in gate.floors.items():
        yield Demand(f"{metric} {'floor' if METRICS[metric][1] else 'ceiling'}", metric, bound)
    for metric, bound in gate.ceilings.items():
        yield Demand(f"{metric} ceiling", metric, bound)
    for metric, bound in gate.suspicious.items():
        if spec.task in METRICS[metric][0]:
            yield Demand(f"{metric} is believable", metric, bound)
    yield _comparison("baseline", gate.baseline)
    for comparison in (gate.champion, *gate.guards):
        yield _with_champion(comparison, against)
    if gate.anchor is not None:
        yield _with_anchor(gate.anchor, against)


def _serving(limits: ServingLimits) -> Iterator[Demand]:
    yield Demand("serves: load time", bound=limits.load_seconds)
    yield Demand("serves: file size", bound=limits.megabytes)
    yield Demand("serves: memory", bound=limits.memory_mb)
    yield Demand("serves: slowest of a hundred", bound=limits.p99_ms)
    for name in ("loads and answers", "answers every row", "as the gate was answered", "agrees with itself",
                 "without any feature"):  # fmt: skip
        yield Demand(f"serves: {name}")


def begin(spec: ModelSpec, against: Against) -> list[str]:
    """How the names of the other rules begin; of each kind at least one must be there."""
    gate = spec.gate
    wanted = [rebuild.ROWS, rebuild.MODEL] if gate.rebuild else []
    wanted += [onnx.RULE] if spec.onnx is not None else []
    wanted += ["calibration"] if gate.calibration is not None and spec.task != "regression" else []
    wanted += [f"class {each} is found" for each in spec.label.classes if gate.each_class is not None]
    wanted += [f"fairness of {each.group}" for each in gate.fairness]
    wanted += [f"behaviour: {name}" for name in gate.behaviour.names]
    return wanted + ([f"slice {column}" for column in gate.slices.columns] if against.champion else [])


def _comparison(who: str, comparison: Comparison) -> Demand:
    name = f"{comparison.metric} {comparison.rule.replace('_', ' ')} than the {who}'s"
    return Demand(name, comparison.metric, comparison.bound, comparison.level, who)


def _with_champion(comparison: Comparison, against: Against) -> Demand:
    champion = against.champion
    if champion is None or champion.digest == against.candidate.digest:
        return Demand(_comparison("champion", comparison).name)
    stale = comparison.stale_after is not None and (
        against.candidate.as_of - champion.as_of >= comparison.stale_after
    )
    return _comparison(
        "champion", comparison.model_copy(update={"rule": "not_worse"}) if stale else comparison
    )


def _with_anchor(comparison: Comparison, against: Against) -> Demand:
    anchor = against.anchor
    if anchor is None or anchor.digest == against.candidate.digest:
        return Demand(_comparison("anchor", comparison).name)
    return _comparison("anchor", comparison)
