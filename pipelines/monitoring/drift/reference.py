"""What a model learned from, as drift needs it: a few counts per column and day, whatever the rows were.

It is made once per model version from the sketches of its training rows, and is kept as one Parquet file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from pipelines.monitoring.drift import bins as binned
from pipelines.monitoring.drift import null
from pipelines.monitoring.drift.bins import Bins
from pipelines.monitoring.drift.null import Spread, Usual
from pipelines.monitoring.drift.sketch import WHOLE, Part, Sketches

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INPUT, RELATION = "input", "relation"
"""What a test is about: a column's own values, or the answers that the same values have."""
ORDERS, BEYOND = ["place", "spread", "skew", "tails"], "beyond what was seen"
WEEK = 7
LABEL = "label"
HARDLY = 0.1
"""Of the weight that an input has on average; one with less is told, and asks for nothing."""


@dataclass(frozen=True)
class Column:
    """A column of the reference: how it is cut, and how many rows of each day lie in each bin.

    `counts` is (halves, days, bins); halves are the rows without a label, below and above the labels' middle.
    """

    bins: Bins
    counts: "NDArray[np.float64]"

    @cached_property
    def shares(self) -> "NDArray[np.float64]":
        """The share of all rows in each bin."""
        import numpy as np

        whole = self.counts.sum(axis=(0, 1))
        return np.asarray(whole / max(whole.sum(), 1.0))

    @cached_property
    def directions(self) -> "NDArray[np.float64]":
        return binned.directions(self.bins.kind, self.shares)

    @property
    def towards(self) -> list[str]:
        """What each direction is called; those of like columns have the same names."""
        inside = self.directions.shape[1] - 1
        own = [*ORDERS[: inside - 1], BEYOND] if self.bins.kind == "numeric" else ["levels"] * inside
        return [*own, "missing values"]

    @property
    def follows(self) -> "NDArray[np.bool_]":
        """Which directions move with the powers of the place."""
        import numpy as np

        return np.asarray([towards in (*ORDERS[1:], BEYOND) for towards in self.towards])

    @cached_property
    def upper(self) -> "NDArray[np.float64]":
        """The share of labels above the middle among the rows of each bin."""
        import numpy as np

        low, high = self.counts[1].sum(axis=0), self.counts[2].sum(axis=0)
        return np.asarray((high + PRIOR * high.sum() / max((low + high).sum(), 1.0)) / (low + high + PRIOR))

    @cached_property
    def related(self) -> "NDArray[np.float64]":
        """The directions in which a relation to the label is looked at: a bin of few labels has no say."""
        import numpy as np

        enough = self.counts[1:].sum(axis=(0, 1)) >= LABELS
        return np.asarray(self.directions * enough[:, None])

    def _loud(self, shares: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """The variance in each direction of one row's relation to its label, where rows have such shares."""
        import numpy as np

        return np.asarray(shares @ (self.related**2 * (self.upper * (1 - self.upper))[:, None]))

    @cached_property
    def scale(self) -> "NDArray[np.float64]":
        """The deviation in each direction of one row's relation to its label."""
        import numpy as np

        return np.sqrt(np.maximum(self._loud(self.shares), binned.LEAST_VARIANCE))

    def louder(self, family: str, counts: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """By how much more a row of these varies than one of the reference, as rows elsewhere tell more or less."""
        import numpy as np

        if family == INPUT:
            return np.ones(self.directions.shape[1])
        labelled = counts[1:].sum(axis=(0, 1))
        return np.maximum(self._loud(labelled / max(labelled.sum(), 1.0)) / self.scale**2, 1.0)

    def means(
        self, family: str, counts: "NDArray[np.float64]"
    ) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
        """Of each day of such counts the mean in each direction, (days, directions), and its rows."""
        import numpy as np

        if family == INPUT:
            summed, rows = counts.sum(axis=0) @ self.directions, counts.sum(axis=(0, 2))
        else:
            low, high = counts[1], counts[2]
            summed = (high * (1 - self.upper) - low * self.upper) @ self.related / self.scale
            rows = (low + high).sum(axis=1)
        return np.asarray(summed / np.maximum(rows, 1.0)[:, None]), rows


DOUBT = 0.25
LABELS = 30
PRIOR = 2.0
"""A bin with few labels is thought to have the share of all, as if so many rows of it said so."""


class Apart(NamedTuple):
    """How far `days` are from what is expected, (days, directions), and their rows; in each direction `doubt` is the
    deviation of what was taken off because the place moved, which few past days tell well."""

    days: "NDArray[np.float64]"
    rows: "NDArray[np.float64]"
    doubt: "NDArray[np.float64]"


@dataclass(frozen=True)
class Reference:
    """The columns of a reference by name, over the same days; `window` days are looked at together.

    With `weekdays` each day is held against those of the same weekday. `weights` are how much the model's answers hang
    on each input, as shares; empty if nobody asked it. `like` is another reference, of more days or columns, of which
    what is usual among columns is taken too.
    """

    days: tuple[int, ...]
    columns: Mapping[str, Column]
    window: int
    weekdays: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)
    like: "Reference | None" = None

    def matters(self, name: str) -> bool:
        """Whether a drift of a column can hurt: it is the label, or the model reads it more than hardly at all."""
        return not self.weights or name == LABEL or self.weights.get(name, 0.0) >= HARDLY / len(self.weights)

    @property
    def calibrated(self) -> bool:
        """Whether there are days enough to tell how alike those of a window are."""
        return len(self.days) >= null.LEAST_DAYS

    def families(self) -> Iterator[tuple[str, str]]:
        """Each column with each test that it can have."""
        for name, column in self.columns.items():
            yield name, INPUT
            if name == LABEL:
                continue
            if column.counts[1:].sum() > 0 and 0 < column.counts[2].sum() < column.counts[1:].sum():
                yield name, RELATION

    def expected(self, name: str, family: str, days: Sequence[int]) -> "NDArray[np.float64]":
        """What a day of the reference has in each direction, for each of these days: of its weekday, if asked for."""
        import numpy as np

        means, rows = self._own[name, family]
        whole = _mean(means, rows)
        if not self.weekdays:
            return np.tile(whole, (len(days), 1))
        own = np.asarray(self.days) % WEEK
        of = [
            _mean(means[own == day], rows[own == day]) if rows[own == day].sum() else whole
            for day in range(WEEK)
        ]
        return np.asarray([of[day % WEEK] for day in days])

    def apart(self, name: str, family: str, counts: "NDArray[np.float64]", days: Sequence[int]) -> "Apart":
        """How far each of these days is from what is expected.

        Where numbers move from their place, the other directions follow its square and cube; what past days show of
        that is taken off, or one shift would be found twice, and an ordinary one seem to be of a kind that never was.
        """
        column = self.columns[name]
        means, rows = column.means(family, counts)
        expected = self.expected(name, family, days)
        powers = _powers(means, expected)
        moved = rows @ powers[:, 0] / max(rows.sum(), 1.0)
        days_apart = means - expected - powers @ self._follows[name, family]
        return Apart(days_apart, rows, DOUBT * abs(moved) * column.follows)

    @cached_property
    def _own(self) -> "dict[tuple[str, str], tuple[NDArray[np.float64], NDArray[np.float64]]]":
        return {
            each: self.columns[each[0]].means(each[1], self.columns[each[0]].counts)
            for each in self.families()
        }

    @cached_property
    def _follows(self) -> "dict[tuple[str, str], NDArray[np.float64]]":
        """By how much each direction follows the powers of the place, (powers, directions), in past days."""
        import numpy as np

        found = {}
        for (name, family), (means, rows) in self._own.items():
            expected = self.expected(name, family, self.days)
            powers, root = _powers(means, expected), np.sqrt(rows)[:, None]
            slopes = np.linalg.lstsq(powers * root, (means - expected) * root, rcond=1e-6)[0]
            found[name, family] = np.clip(slopes, -1.0, 1.0) * self.columns[name].follows
        return found

    @cached_property
    def _lengths(self) -> dict[int, "Past"]:
        return {}

    def past(self, days: int) -> "Past":
        """What past windows of so many days show, at most as many as are looked at together."""
        length = max(1, min(days, self.window))
        if length not in self._lengths:
            spreads = {}
            for name, family in self.families():
                known = self.apart(name, family, self.columns[name].counts, self.days)
                own = null.spread(known.days, known.rows, length)
                spreads[name, family] = replace(own, inflation=own.inflation * self._fitted)
            self._lengths[length] = Past(self, length, spreads)
        return self._lengths[length]

    @property
    def _fitted(self) -> float:
        """By how much a mean per weekday, which fits its own days, makes them look too much alike."""
        return len(self.days) / (len(self.days) - WEEK) if self.weekdays and len(self.days) > WEEK else 1.0


@dataclass(frozen=True)
class Past:
    """What past windows of so many `days` of a reference show, of each column."""

    reference: Reference
    days: int
    spreads: Mapping[tuple[str, str], Spread]

    @cached_property
    def _usual(self) -> dict[tuple[str, str], Usual]:
        """What is usual among all columns, by family and direction."""
        import numpy as np

        found = dict[tuple[str, str], list[tuple[float, float, float]]]()
        for past in self._all:
            for (name, family), own in past.spreads.items():
                for place, towards in enumerate(past.reference.columns[name].towards):
                    each = (own.inflation[place], own.df[place], own.memory[place])
                    found.setdefault((family, towards), []).append(each)
        return {key: null.usual(*np.asarray(each).T) for key, each in found.items()}

    @property
    def _all(self) -> "list[Past]":
        like = self.reference.like
        return [self] if like is None else [self, like.past(self.days)]

    def usual(self, name: str, family: str) -> list[Usual]:
        """What is usual in each direction of a column."""
        return [self._usual[family, towards] for towards in self.reference.columns[name].towards]

    def uncertain(self, name: str, family: str) -> "NDArray[np.float64]":
        """The variance of what is expected in each direction, in units of that of a window."""
        import numpy as np

        own, of = self.spreads[name, family], self.reference
        alike = null.longer(np.maximum(own.memory, [each.memory for each in self.usual(name, family)]))
        fitted = max(self.days, WEEK) if of.weekdays else self.days
        return np.asarray(fitted / max(len(of.days), 1) * alike)


def _powers(means: "NDArray[np.float64]", expected: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """How much further out the place of each day is than expected, squared and cubed, (days, 2)."""
    import numpy as np

    place, usual = means[:, 0], expected[:, 0]
    return np.column_stack([place**power - usual**power for power in (2, 3)])


def _mean(means: "NDArray[np.float64]", rows: "NDArray[np.float64]") -> "NDArray[np.float64]":
    import numpy as np

    return np.asarray(rows @ means / max(rows.sum(), 1.0))


def made(
    sketches: Sketches, window: int, weekdays: bool = False, weights: Mapping[str, float] | None = None
) -> Reference:
    """The reference that these rows are, for windows of so many days."""
    days = tuple(sketches.days())
    columns = {}
    for name, kind in sketches.kinds.items():
        cut = binned.cut(kind, sketches.of(name))
        columns[name] = Column(cut, counted(sketches, name, cut, days))
    return Reference(days, columns, window, weekdays, weights or {})


def counted(sketches: Sketches, name: str, cut: Bins, days: Sequence[int]) -> "NDArray[np.float64]":
    """How many rows of each half and day lie in each bin, (halves, days, bins)."""
    import numpy as np

    found = np.zeros((3, len(days), len(cut)))
    for half in (WHOLE, 0, 1):
        for place, day in enumerate(days):
            part = sketches.parts.get(Part(day, half))
            if part is not None and name in part:
                found[half + 1, place] = cut.counts(part[name])
    return found
