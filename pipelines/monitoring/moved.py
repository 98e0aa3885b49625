"""What of a model's inputs moved since its training: all rows against all rows, by its version's reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import DomainFinding, DriftFinding
from pipelines.monitoring.drift import domain, kept
from pipelines.monitoring.drift.column import INPUT
from pipelines.monitoring.drift.importance import importance
from pipelines.monitoring.drift.reference import LABEL, Reference, made
from pipelines.monitoring.drift.rows import days_of, middle, sketched
from pipelines.monitoring.drift.sketch import Sketches
from pipelines.monitoring.drift.verdict import look
from pipelines.monitoring.predictions import PREDICTION
from pipelines.monitoring.watched import LEAST, Watched, plain
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import Version

if TYPE_CHECKING:
    import pandas as pd

NAMED = 3


@dataclass(frozen=True)
class Moved:
    """What the tests say, the surest first, and the `share` of the columns that moved, by what the answers hang on.

    `reference` is what they held the columns against, `window` the sketches of its rows. `domain` is what all columns
    say together, which is in no share.
    """

    findings: tuple[DriftFinding, ...] = ()
    share: float = 0.0
    calibrated: bool = True
    reference: Reference | None = field(default=None, repr=False, compare=False)
    window: Sketches | None = field(default=None, repr=False, compare=False)
    domain: DomainFinding = field(
        default_factory=lambda: DomainFinding(why=f"{LEAST} rows needed on each side")
    )

    def also(self, finding: DriftFinding | None) -> "Moved":
        """The same, and what else a test says."""
        both = self.findings if finding is None else (*self.findings, finding)
        return replace(self, findings=tuple(sorted(both, key=lambda each: (each.pvalue, each.column))))

    def effects(self) -> dict[str, float]:
        """How far each column's own values are from those at training."""
        return {each.column: each.effect for each in self.findings if each.family == INPUT}

    def named(self) -> str:
        """The columns that moved and matter, in words; and whether chance could be told from it."""
        those = [each for each in self.findings if each.moved and each.matters]
        told = "; ".join(_told(each) for each in those[:NAMED])
        more = f" and {len(those) - NAMED} more" if len(those) > NAMED else ""
        doubt = "" if self.calibrated else "; it learned from too few days to tell how much days differ"
        return f"{': ' if told else ''}{told}{more}{doubt}"


def _told(each: DriftFinding) -> str:
    if each.family == PREDICTION:
        return f"the answers ({each.towards}, {each.effect:.2f})"
    what = each.column if each.family == INPUT else f"what {each.column} says of the label"
    return f"{what} ({each.towards}, {each.effect:.2f})"


def moved(
    spec: ModelSpec,
    champion: Version,
    model: Any,
    seen: Watched,
    old: "pd.DataFrame",
    new: "pd.DataFrame",
    stores: Stores,
) -> Moved:
    """What moved between the rows that a champion learned from and the newest; nothing where they are below 200."""
    kinds = {**seen.kinds, **seen.gone}
    if min(len(seen.old), len(seen.new)) < LEAST or not kinds:
        return Moved()
    half, rule = middle(old[LABEL]), spec.monitor
    of = {
        "training_set": champion.tags.get("training_set"),
        "kinds": kinds,
        "days": rule.days,
        "seasons": rule.seasons,
    }
    path = reference_path(spec.name, champion.version, stores)
    reference = kept.read(of, path)
    if reference is None:
        weights = importance(spec, model, old)
        reference = made(sketched(old, kinds, half), rule.days, rule.seasons, weights)
        kept.write(reference, of, path)
    window = sketched(new, kinds, half)
    found = look(reference, window, alarms_of(spec, len(kinds))[0], rule.difference)
    told = tuple(_gone(each) if each.column in seen.gone and each.family == INPUT else each for each in found)
    together = _together(spec, champion, seen, old, new, stores)
    return Moved(told, share(told, reference), reference.calibrated, reference, window, together)


def reference_path(model: str, version: int, stores: Stores) -> Path:
    """Where the reference of a version is kept."""
    return stores.settings.home / "reports" / "monitor" / model / f"reference_{version}.parquet"


def alarms_of(spec: ModelSpec, columns: int) -> tuple[float, float]:
    """The false alarms a year that tests of so many columns may raise, and that of the predictions: as one column."""
    each = spec.monitor.false_alarms / (columns + 1)
    return columns * each, each


def _together(
    spec: ModelSpec,
    champion: Version,
    seen: Watched,
    old: "pd.DataFrame",
    new: "pd.DataFrame",
    stores: Stores,
) -> DomainFinding:
    """What the columns that can be compared say together; how past windows are told is kept beside the reference."""
    kinds = {name: kind for name, kind in seen.kinds.items() if name != LABEL}
    then = domain.Rows(days_of(old["event_timestamp"]), lambda at: plain(old.iloc[at], kinds))
    now = domain.Rows(days_of(new["event_timestamp"]), lambda at: plain(new.iloc[at], kinds))
    like = domain.shape(then, now, spec.monitor.days)
    if isinstance(like, str) or not kinds:
        return DomainFinding(why=like if isinstance(like, str) else "no column can be compared")
    of = {"training_set": champion.tags.get("training_set"), "kinds": kinds}
    path = stores.settings.home / "reports" / "monitor" / spec.name / f"domain_{champion.version}.json"
    before = kept.past(of, like, path, lambda: domain.past(then, kinds, like))
    return domain.judged(then, now, kinds, like, before)


def _gone(each: DriftFinding) -> DriftFinding:
    """A column that vanished moved as far as one can."""
    return DriftFinding(each.column, INPUT, 0.0, each.level, 1.0, True, "missing values", each.matters)


def share(found: Sequence[DriftFinding], reference: Reference) -> float:
    """Of what the answers hang on, the share of the inputs that moved; of the inputs, where nobody asked the model."""
    inputs = [each for each in found if each.family == INPUT and each.column != LABEL]
    weights: Mapping[str, float] = reference.weights or {each.column: 1.0 for each in inputs}
    whole = sum(weights.get(each.column, 0.0) for each in inputs)
    return sum(weights.get(each.column, 0.0) for each in inputs if each.moved) / whole if whole else 0.0
