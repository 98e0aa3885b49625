"""What a bill shows that could cost less, by what evidence, and where to change it."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.stores.watching.costs import Figure


@dataclass(frozen=True)
class Asked:
    """A model is idle after so many days without an answer; a schedule is looked at by its last so many trainings."""

    idle_days: int = 7
    trainings: int = 5


@dataclass(frozen=True)
class Finding:
    """`evidence` names counts and dates, `remedy` the line to change. `saves` are processor seconds a week, or in all
    of what the evidence names; None where that was not measured."""

    kind: str
    models: tuple[str, ...]
    evidence: str
    remedy: str
    saves: float | None = None


def seconds(figures: Iterable[Figure]) -> float:
    return sum(figure.cpu for figure in figures)


def said(amount: float) -> str:
    """Processor seconds, in the unit in which a person reads them."""
    return f"{amount:,.1f} CPU s" if amount < 600 else f"{amount / 3600:,.2f} CPU h"
