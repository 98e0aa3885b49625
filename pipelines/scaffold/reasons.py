"""What was decided for a whole model, and why, as a person reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pipelines.scaffold.data import answers, moments
from pipelines.scaffold.data.answers import Answer
from pipelines.scaffold.data.moments import Clock
from pipelines.scaffold.data.profile import Facts
from pipelines.scaffold.data.sizes import Sizes

FEW_OF_A_CLASS = 20


@dataclass(frozen=True)
class Whole:
    """The decisions; `said` names those that a person took."""

    said: frozenset[str]
    answer: Answer
    clock: Clock | None
    keys: Sequence[Facts]
    horizon: timedelta
    forecast: bool
    sized: Sizes

    def reasons(self) -> dict[str, tuple[str, str]]:
        """What -> what was decided, and why."""
        header, sized = self.answer.facts.header, self.sized
        usual = (
            "by its name" if header.strip().lower() in answers.USUAL else "the last column that is no time"
        )
        held = f"the newest {sized.held:,}" if self.clock else f"{sized.held:,} random"
        rows = f"{held} rows judge, {sized.learned:,} are learned from"
        told = {"label": (header, "as said" if "label" in self.said else usual)}
        told["task"] = (self.answer.task, self.answer.why)
        told |= self._of_time(self.clock) if self.clock else {"time": ("none", self._without())}
        told["hold-out"] = (
            moments.written(sized.holdout),
            rows if self.clock else rows.replace("newest", "random"),
        )
        return told | {"estimator": ("linear" if sized.linear else "gradient boosting", sized.why)}

    def _of_time(self, clock: Clock) -> dict[str, tuple[str, str]]:
        whose = " and ".join(each.header for each in self.keys)
        why = "as said" if "keys" in self.said else "it is named like one, or tells rows apart with the time"
        what = "only the past is known then" if self.forecast else "the row's own columns are known then"
        return {
            "time": (clock.facts.header, f"rows are usually {moments.about(clock.step)} apart"),
            "key": (whose, why) if whose else ("none", "all rows are one series"),
            "horizon": (moments.written(self.horizon), f"asked so long before the event; {what}"),
        }

    def _without(self) -> str:
        why = (
            "as said"
            if "time" in self.said
            else f"no column says when, with {moments.MOMENTS} moments or more"
        )
        return f"{why}; times are made in a random order, so the hold-out is a random sample"

    def notes(self) -> list[str]:
        """What a person should know before they begin."""
        shares = self.sized.shares or (self.sized.base, 1 - self.sized.base)
        rare = min(shares) * self.sized.held
        few = self.answer.task != "regression" and rare < FEW_OF_A_CLASS
        text = f"About {rare:.0f} held-out rows are of the rarest answer: expect INCONCLUSIVE until more rows land."
        return [text] if few else []
