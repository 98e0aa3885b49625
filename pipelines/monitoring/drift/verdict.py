"""Which columns of a window moved, as far as chance allows: at most so many false alarms a year, and large enough."""

from typing import TYPE_CHECKING

from pipelines.contracts import DriftFinding
from pipelines.monitoring.drift import bins as binned
from pipelines.monitoring.drift.column import INPUT, Column
from pipelines.monitoring.drift.null import moderated
from pipelines.monitoring.drift.reference import Reference, counted
from pipelines.monitoring.drift.sketch import Sketches

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

YEAR = 365.25


def look(reference: Reference, window: Sketches, alarms: float, least: float) -> list[DriftFinding]:
    """What moved in a window, column by column, the surest first.

    Looked at once a day, an unchanged source has at most so many false `alarms` a year among all columns, on average;
    a difference below `least` is none.
    """
    asked = list(reference.families())
    families = [family for _, family in asked]
    levels = {each: alarms / YEAR / len(set(families)) / families.count(each) for each in set(families)}
    found = [_finding(reference, window, each, levels[each[1]], least) for each in asked]
    return sorted((each for each in found if each is not None), key=lambda each: (each.pvalue, each.column))


def _finding(
    reference: Reference, window: Sketches, asked: tuple[str, str], level: float, least: float
) -> DriftFinding | None:
    import numpy as np
    from scipy.special import stdtr

    name, family = asked
    column, days = reference.columns[name], window.days()
    counts = counted(window, name, column.bins, days)
    each_day, rows, doubt = reference.apart(name, family, counts, days)
    if not rows.sum():
        return None
    apart = rows @ each_day / rows.sum()
    variance, df = _variance(reference, asked, rows, days)
    variance = variance * column.louder(family, counts) + doubt**2
    each = 2 * stdtr(df, -np.abs(apart) / np.sqrt(variance))  # Student's t, both tails
    each = np.minimum(each / _parts(column), 1.0)
    pvalue = float(each.min())
    if family == INPUT:
        now = counts.sum(axis=(0, 1))
        effect = binned.effect(column.bins.kind, reference.shares(name, days, rows), now / now.sum())
    else:
        effect = float(np.sqrt(((apart * column.scale) ** 2).sum()))
    towards = _said(column, int(each.argmin()))
    moved = pvalue <= level and effect >= least
    return DriftFinding(name, family, pvalue, level, effect, moved, towards, reference.matters(name))


def _parts(column: Column) -> "NDArray[np.float64]":
    """The part of a column's false alarms that each direction may have: the place of numbers half of them."""
    import numpy as np

    many = len(column.towards)
    if column.bins.kind != "numeric" or many < 3:
        return np.full(many, 1 / many)
    return np.asarray([0.5, *[0.5 / (many - 1)] * (many - 1)])


def _variance(
    reference: Reference, asked: tuple[str, str], rows: "NDArray[np.float64]", days: list[int]
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """The variance of what such a window differs by from what is expected, in each direction; and how sure that is."""
    there = [day for day, many in zip(days, rows, strict=True) if many > 0]
    past, groups = reference.past(len(there)), reference.groups(*asked)
    own = past.spreads[asked]
    inflation, df = moderated(own, past.usual(*asked))
    more = (inflation - 1) * (own.independent or 1 / rows.sum())
    expected = groups.uncertain(there) * past.longer(*asked)
    known = expected * min(1.0, reference.window / len(there))  # what windows vary by is that of as many days
    return (1 + expected) / rows.sum() + (1 + known) * more, df


def _said(column: Column, place: int) -> str:
    cut, towards = column.bins, column.towards[place]
    if towards != "levels":
        return towards
    return f"level {cut.levels[place]}" if place < len(cut.levels) else "levels that were rare"
