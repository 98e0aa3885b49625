"""Which days of a reference others are held against: all of them, or those of the same weekday, month, or both."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WEEKDAY, MONTH = "weekday", "month"
Seasons = tuple[str, ...]
WEEK, YEAR = 7, 12
CODES = (YEAR + 1) * (WEEK + 1)
"""A group's number is of its month and its weekday; one more of either stands for any."""
FEWEST = 4
"""Fewer days are no group: the next coarser one stands for it. Each weekday comes so often in a month at least."""
MOST_FITTED = 0.5
"""Of what past windows differ by; where groups take more of it, too little is left to tell how windows differ."""


def codes(days: "Sequence[int] | NDArray[np.int64]", seasons: Seasons) -> "NDArray[np.int64]":
    """The group of each day (counted from 1970, UTC): equal where all of these seasons are."""
    import numpy as np

    day = np.asarray(days, "int64")
    months = day.astype("datetime64[D]").astype("datetime64[M]").astype("int64") % YEAR
    month = months if MONTH in seasons else np.full(len(day), YEAR)
    return np.asarray(month * (WEEK + 1) + (day % WEEK if WEEKDAY in seasons else WEEK))


@dataclass(frozen=True, eq=False)
class Groups:
    """How `days` of a reference are held apart: by the first seasons of the `ladder` of which there are enough days.

    The last of a ladder are no seasons: the whole.
    """

    days: "NDArray[np.int64]"
    ladder: tuple[Seasons, ...] = ((),)

    def sums(self, values: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Of each group the sum over its days of such values, (days, ...) to (groups, ...)."""
        import numpy as np

        found = np.zeros((CODES, *values.shape[1:]))
        for seasons in self.ladder:
            np.add.at(found, codes(self.days, seasons), values)
        return found

    @cached_property
    def sizes(self) -> "NDArray[np.float64]":
        """How many days each group has."""
        import numpy as np

        return self.sums(np.ones(len(self.days)))

    def of(self, days: "Sequence[int] | NDArray[np.int64]") -> "NDArray[np.int64]":
        """The group that each of these days is held against."""
        import numpy as np

        found = codes(days, ())
        for seasons in reversed(self.ladder):
            own = codes(days, seasons)
            found = np.where(self.sizes[own] >= FEWEST, own, found)
        return found

    def means(self, values: "NDArray[np.float64]", rows: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Of each group the mean of its days' values by their rows, (groups, ...); of none it is 0."""
        import numpy as np

        return np.asarray(self.sums(values * rows[:, None]) / np.maximum(self.sums(rows), 1.0)[:, None])

    def uncertain(self, days: "Sequence[int] | NDArray[np.int64]") -> float:
        """The variance of what is expected of a window of these days, in units of its own, were days independent."""
        return float(self._uncertain(_each(self.of(days)).sum(axis=0)[None])[0]) if len(days) else 0.0

    def fitted(self, length: int) -> float:
        """The share of the variance of past windows of so many days that is not seen: the means fit their own days."""
        if length not in self._fitted:
            counts = runs(_each(self.of(self.days)), max(1, min(length, len(self.days))))
            self._fitted[length] = float(self._uncertain(counts).mean()) if len(counts) else 0.0
        return self._fitted[length]

    @cached_property
    def _fitted(self) -> dict[int, float]:
        return {}

    @cached_property
    def _alike(self) -> "NDArray[np.float64]":
        """The covariance of the means of groups, in units of a day's variance: a month's days are the whole's too."""
        import numpy as np

        share = np.zeros((CODES, len(self.days)))
        for seasons in self.ladder:
            own = codes(self.days, seasons)
            share[own, np.arange(len(own))] = 1 / self.sizes[own]
        return np.asarray(share @ share.T)

    def _uncertain(self, counts: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """The same of windows with so many days of each group, (windows, groups)."""
        import numpy as np

        return np.asarray(((counts @ self._alike) * counts).sum(axis=1) / counts.sum(axis=1))


def _each(groups: "NDArray[np.int64]") -> "NDArray[np.float64]":
    """(days, groups): 1 for the group of each day."""
    import numpy as np

    return np.asarray(np.eye(CODES)[groups])


def runs(values: "NDArray[np.float64]", length: int) -> "NDArray[np.float64]":
    """The sum of each run of so many days."""
    import numpy as np

    sums = np.cumsum(np.vstack([np.zeros((1, values.shape[1])), values]), axis=0)
    return np.asarray(sums[length:] - sums[:-length])


def ladder(days: Sequence[int], seasons: Seasons, window: int) -> tuple[Seasons, ...]:
    """The seasons to hold days apart by, from those asked for to none; weekdays are given up before months.

    It begins with the first that leave past windows of so many days half of what they differ by.
    """
    import numpy as np

    asked = [each for each in (MONTH, WEEKDAY) if each in seasons]
    found = tuple(tuple(asked[:many]) for many in range(len(asked), -1, -1))
    own = np.asarray(days, "int64")
    while len(found) > 1 and Groups(own, found).fitted(window) > MOST_FITTED:
        found = found[1:]
    return found
