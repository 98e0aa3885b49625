"""A column of the reference: a few counts per day, and what its rows say in each direction."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pipelines.monitoring.drift import bins as binned
from pipelines.monitoring.drift.bins import Bins

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INPUT, RELATION = "input", "relation"
"""What a test is about: a column's own values, or the answers that the same values have."""
WHAT = {INPUT: "its values", RELATION: "what it says of the label"}
ORDERS, BEYOND = ["place", "spread", "skew", "tails"], "beyond what was seen"
LABELS, PRIOR = 30, 2.0
"""A bin with few labels is thought to have the share of all, as if so many rows of it said so."""
FEW = 100
"""A group of days is thought to vary as the whole does, as if so many rows of it said so."""


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

    def quieter(self, counts: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """By how much less rows of some counts deviate than all of them in each direction, (groups, directions).

        A group of few rows is drawn towards the whole, and none deviates less than if a few rows came elsewhere.
        """
        import numpy as np

        squares, rows = self.directions**2, counts.sum(axis=1, keepdims=True)
        mean, square = (counts @ each / np.maximum(rows, 1.0) for each in (self.directions, squares))
        whole = np.maximum(self.shares @ squares, 1e-12)
        drawn = (rows * (square - mean**2) / whole + FEW) / (rows + FEW)
        least = np.minimum(binned.RARE * squares.max(axis=0) / whole, 1.0)
        return np.asarray(np.sqrt(np.maximum(drawn, least)))

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
