"""Champion and challenger of a rollout, by the answers that each gave and by what both said to the same questions."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.catalog import ModelSpec
from pipelines.gate.intervals import paired_improvement
from pipelines.monitoring.figures import CONFIDENCE, Part, finite, hours_of, part, said
from pipelines.monitoring.truth import KNOWN
from pipelines.stores import Stores
from pipelines.training.metrics import defined

if TYPE_CHECKING:
    import pandas as pd

CHAMPION, CHALLENGER = "champion", "challenger"
LAG = timedelta(minutes=1)
"""Serving looks every second who answers: what the challenger says so soon after its end belongs to the rollout."""


@dataclass(frozen=True)
class Span:
    """From when to when two versions were asked the same, by the wall clock; `ended` is None while they are."""

    rollout: str
    champion: int
    challenger: int
    begun: datetime
    ended: datetime | None
    promoted: bool

    @property
    def until(self) -> "datetime | None":
        """Until when the challenger's answers are a challenger's."""
        return self.ended if self.ended is None or self.promoted else self.ended + LAG


@dataclass(frozen=True)
class Arms(Span):
    """A rollout and its arms. `given` are the answers that left; `same` what both said to the questions that both were
    asked, of which `gain` says by how much the challenger was better (positive: better), with its interval."""

    given: tuple[Part, ...]
    same: tuple[Part, ...]
    gain: float | None
    low: float | None
    high: float | None


def with_arms(rows: "pd.DataFrame", spans: Sequence[Span]) -> "pd.DataFrame":
    """The rows with `arm`: whose answers are a challenger's; whoever else answers is the champion."""
    arm = rows.assign(arm=CHAMPION)
    for span in spans:
        its = _during(rows, span) & (rows["version"] == span.challenger)
        arm.loc[its, "arm"] = CHALLENGER
    return arm


def _during(rows: "pd.DataFrame", span: Span) -> "pd.Series[bool]":
    begun = rows["asked_at"] >= span.begun
    return begun if span.until is None else begun & (rows["asked_at"] < span.until)


def compared(
    spec: ModelSpec, metric: str, rows: "pd.DataFrame", spans: Sequence[Span], stores: Stores
) -> tuple[Arms, ...]:
    """Each rollout in which some of the rows (with their `arm`) were answered, the oldest first."""
    found = (_arms(spec, metric, rows, span, stores) for span in spans)
    return tuple(each for each in found if each.given or each.same)


def _arms(spec: ModelSpec, metric: str, rows: "pd.DataFrame", span: Span, stores: Stores) -> Arms:
    during = rows[_during(rows, span)]
    ours = {CHAMPION: span.champion, CHALLENGER: span.challenger}
    sides = {who: during[(during["version"] == n) & (during["arm"] == who)] for who, n in ours.items()}
    given = tuple(part(spec, metric, who, side) for who, side in sides.items() if len(side))
    same = _same(rows, span, stores)
    parts = tuple(part(spec, metric, who, side) for who, side in same.items())
    gain, low, high = _gain(spec, metric, same)
    return Arms(**asdict(span), given=given, same=parts, gain=gain, low=low, high=high)


def _same(rows: "pd.DataFrame", span: Span, stores: Stores) -> "dict[str, pd.DataFrame]":
    """What each said to the questions that both were asked, of those among the rows; empty if none is."""
    import pandas as pd

    pairs = stores.comparisons.pairs(span.rollout)
    asked = rows[rows["prediction_id"].isin(list(pairs))]
    if asked.empty:
        return {}
    both = [pairs[name] for name in asked["prediction_id"]]
    return {
        who: asked.assign(
            said=pd.Series([getattr(each, who) for each in both], asked.index), chance=float("nan")
        )
        for who in (CHAMPION, CHALLENGER)
    }


def _gain(
    spec: ModelSpec, metric: str, same: "dict[str, pd.DataFrame]"
) -> tuple[float | None, float | None, float | None]:
    """By how much the challenger was better on what both were asked, and the interval; None where nothing is known."""
    known = {who: rows[rows["state"] == KNOWN] for who, rows in same.items()}
    if not known or not defined(spec.task, known[CHAMPION]["label"].to_numpy("float64")):
        return None, None, None
    theirs, ours = known[CHAMPION], known[CHALLENGER]
    labels = ours["label"].to_numpy("float64")
    found = paired_improvement(metric, labels, said(ours), said(theirs), hours_of(ours), CONFIDENCE)
    return finite(found.mean), finite(found.low), finite(found.high)
