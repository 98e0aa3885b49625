"""What a model learned from, as drift needs it: a few counts per column and day, whatever the rows were.

It is made once per model version from the sketches of its training rows, and is kept as one Parquet file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from pipelines.monitoring.drift import bins as binned
from pipelines.monitoring.drift import null
from pipelines.monitoring.drift.bins import Bins
from pipelines.monitoring.drift.column import INPUT, RELATION, Column
from pipelines.monitoring.drift.seasons import Groups, Seasons, ladder
from pipelines.monitoring.drift.sketch import WHOLE, Part, Sketches

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LABEL = "label"
HARDLY = 0.1
"""Of the weight that an input has on average; one with less is told, and asks for nothing."""


DOUBT = 0.25


class Own(NamedTuple):
    """A test of a column in the reference: the mean of each of its days in each direction, and their rows.

    Of each group of days what is expected, and how much less a row deviates than one of all, (groups, directions).
    """

    days: "NDArray[np.float64]"
    rows: "NDArray[np.float64]"
    groups: Groups
    expected: "NDArray[np.float64]"
    quiet: "NDArray[np.float64]"


class Apart(NamedTuple):
    """How far `days` are from what is expected, (days, directions), and their rows; in each direction `doubt` is the
    deviation of what was taken off because the place moved, which few past days tell well.

    All in deviations of a row of the same group of days.
    """

    days: "NDArray[np.float64]"
    rows: "NDArray[np.float64]"
    doubt: "NDArray[np.float64]"


@dataclass(frozen=True)
class Reference:
    """The columns of a reference by name, over the same days; `window` days are looked at together.

    With `seasons` each day is held against those of the same weekday, month, or both, where there are enough. `weights`
    are how much the model's answers hang on each input, as shares; empty if nobody asked it. `like` is another
    reference, of more days or columns, of which what is usual among columns is taken too.
    """

    days: tuple[int, ...]
    columns: Mapping[str, Column]
    window: int
    seasons: Seasons = ()
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

    def groups(self, name: str, family: str) -> Groups:
        """How the days that have rows of a test are held apart."""
        return self._own[name, family].groups

    def expected(self, name: str, family: str, days: Sequence[int]) -> "NDArray[np.float64]":
        """What a day of the reference has in each direction, for each of these days: the mean of its group."""
        import numpy as np

        own = self._own[name, family]
        return np.asarray(own.expected[own.groups.of(days)])

    def shares(self, name: str, days: Sequence[int], rows: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """The share of the reference in each bin that so many rows of these days are held against."""
        import numpy as np

        of = self.groups(name, INPUT).of(days)
        return np.asarray(rows @ self._shares[name][of] / rows.sum())

    def apart(self, name: str, family: str, counts: "NDArray[np.float64]", days: Sequence[int]) -> "Apart":
        """How far each of these days is from what is expected.

        Where numbers move from their place, the other directions follow its square and cube; what past days show of
        that is taken off, or one shift would be found twice, and an ordinary one seem to be of a kind that never was.
        """
        column, own = self.columns[name], self._own[name, family]
        means, rows = column.means(family, counts)
        expected, quiet = self.expected(name, family, days), own.quiet[own.groups.of(days)]
        powers = _powers(means, expected)
        moved = rows @ (powers[:, :1] / quiet) / max(rows.sum(), 1.0)
        days_apart = means - expected - powers @ self._follows[name, family]
        return Apart(days_apart / quiet, rows, DOUBT * abs(moved) * column.follows)

    @cached_property
    def _shares(self) -> "dict[str, NDArray[np.float64]]":
        """Of each column the share of each bin in each group of days, (groups, bins)."""
        import numpy as np

        found = {}
        for name, column in self.columns.items():
            days = column.counts.sum(axis=0)
            whole = self.groups(name, INPUT).sums(days[days.sum(axis=1) > 0])
            found[name] = whole / np.maximum(whole.sum(axis=1, keepdims=True), 1.0)
        return found

    @cached_property
    def _ladder(self) -> tuple[Seasons, ...]:
        return ladder(self.days, self.seasons, self.window)

    @cached_property
    def _own(self) -> dict[tuple[str, str], Own]:
        import numpy as np

        days, known = np.asarray(self.days, "int64"), dict[bytes, Groups]()
        found = {}
        for name, family in self.families():
            column = self.columns[name]
            means, rows = column.means(family, column.counts)
            there = rows > 0
            groups = known.setdefault(there.tobytes(), Groups(days[there], self._ladder))
            expected = groups.means(means[there], rows[there])
            quiet = np.ones_like(expected)
            if family == INPUT:
                quiet = column.quieter(groups.sums(column.counts.sum(axis=0)[there]))
            found[name, family] = Own(means, rows, groups, expected, quiet)
        return found

    @cached_property
    def _follows(self) -> "dict[tuple[str, str], NDArray[np.float64]]":
        """By how much each direction follows the powers of the place, (powers, directions), in past days."""
        import numpy as np

        found = {}
        for (name, family), own in self._own.items():
            expected, root = self.expected(name, family, self.days), np.sqrt(own.rows)[:, None]
            powers = _powers(own.days, expected)
            slopes = np.linalg.lstsq(powers * root, (own.days - expected) * root, rcond=1e-6)[0]
            found[name, family] = np.clip(slopes, -1.0, 1.0) * self.columns[name].follows
        return found

    @cached_property
    def _lengths(self) -> dict[int, null.Past]:
        return {}

    def past(self, days: int) -> null.Past:
        """What past windows of so many days show, at most as many as are looked at together."""
        length = max(1, min(days, self.window))
        if length not in self._lengths:
            spreads = {}
            for name, family in self.families():
                known = self.apart(name, family, self.columns[name].counts, self.days)
                spreads[name, family] = null.spread(known.days, known.rows, length, self.groups(name, family))
            towards = {name: column.towards for name, column in self.columns.items()}
            like = None if self.like is None else self.like.past(days)
            self._lengths[length] = null.Past(spreads, towards, like)
        return self._lengths[length]


def _powers(means: "NDArray[np.float64]", expected: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """How much further out the place of each day is than expected, squared and cubed, (days, 2)."""
    import numpy as np

    place, usual = means[:, 0], expected[:, 0]
    return np.column_stack([place**power - usual**power for power in (2, 3)])


def made(
    sketches: Sketches, window: int, seasons: Seasons = (), weights: Mapping[str, float] | None = None
) -> Reference:
    """The reference that these rows are, for windows of so many days."""
    days = tuple(sketches.days())
    columns = {}
    for name, kind in sketches.kinds.items():
        cut = binned.cut(kind, sketches.of(name))
        columns[name] = Column(cut, counted(sketches, name, cut, days))
    return Reference(days, columns, window, seasons, weights or {})


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
