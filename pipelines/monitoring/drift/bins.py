"""A column's reference cut into bins of about equal shares, and what of a sample's shares is worth a test.

A sample is told by how many of its rows lie in each bin; missing is a bin. The tests look at a few directions in which
shares can move: for numbers the first orthogonal polynomials of the rank (Neyman's smooth test: place, spread, skew and
tails) and what lies beyond nearly all that was seen, for categories each level, for both what is missing.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.monitoring.drift.sketch import Kind, Numbers, Words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BINS = 64
BEYOND = 0.01
"""The first and the last bin of numbers hold so much each."""
ORDERS = 4
LEVELS = 30
RARE = 0.005
"""Levels of a smaller share of the reference, and those after the most frequent, are one: others."""


@dataclass(frozen=True)
class Bins:
    """How a column is cut: between these `edges` (a bin holds its lower one), or into these `levels` and others.

    The last bin is what is missing.
    """

    kind: Kind
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return 2 + (len(self.edges) if self.kind == "numeric" else len(self.levels))

    def counts(self, column: Any) -> "NDArray[np.float64]":
        """How many rows of a sketch lie in each bin; of numbers as far as KLL tells."""
        import numpy as np

        if isinstance(column, Numbers):
            there = column.rows - column.missing
            shares = column.kept.get_pmf(list(self.edges)) if there else np.zeros(len(self.edges) + 1)
            return np.append(np.asarray(shares) * there, column.missing)
        named = [column.count(level) for level in self.levels]
        others = max(0, column.rows - column.missing - sum(named))
        return np.asarray([*named, others, column.missing], "float64")


def cut(kind: Kind, column: Any) -> Bins:
    """Bins of about equal shares of a sketch; a value that many rows have is one of its own."""
    import numpy as np

    if isinstance(column, Words):
        often = {word: many for word, many in column.frequent().items() if many >= RARE * column.rows}
        best = sorted(often, key=lambda word: (-often[word], word))[:LEVELS]
        return Bins(kind, levels=tuple(best))
    if column.rows == column.missing:
        return Bins(kind)
    ranks = [BEYOND, *np.arange(1, BINS) / BINS, 1 - BEYOND]
    cuts = np.asarray(column.kept.get_quantiles(ranks))
    return Bins(kind, edges=tuple(float(each) for each in edges(cuts) if np.isfinite(each)))


def edges(cuts: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Where bins begin that quantiles cut; a value that several of them fall on is a bin of its own."""
    import numpy as np

    values, times = np.unique(cuts, return_counts=True)
    return np.union1d(values, np.nextafter(values[times > 1], np.inf))


def directions(kind: Kind, shares: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """(bins, directions): what a row of each bin counts in each direction; mean 0 and variance 1 in the reference."""
    import numpy as np

    there = shares[:-1]
    inside = _levels(there) if kind == "categorical" else np.column_stack([_orders(there), _beyond(there)])
    found = np.zeros((len(shares), inside.shape[1] + 1))
    found[:-1, :-1] = inside
    found[-1, -1] = 1.0
    return _standard(found, shares)


def _levels(shares: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Each level against its share of what is not missing."""
    import numpy as np

    return np.asarray(np.eye(len(shares)) - shares / max(float(shares.sum()), 1e-300))


def _orders(shares: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Polynomials of the middle rank of each bin, orthogonal in the reference."""
    import numpy as np

    held = shares > 0
    if held.sum() < 2:
        return np.zeros((len(shares), 0))
    part = shares / shares.sum()
    rank = np.cumsum(part) - part / 2
    many = min(ORDERS, int(held.sum()) - 1)
    powers = np.vander(2 * rank - 1, many + 1, increasing=True)
    root = np.sqrt(part)[:, None]
    _, triangle = np.linalg.qr(powers * root)
    return np.asarray(powers @ np.linalg.inv(triangle))[:, 1:]


def _beyond(shares: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Whether a row lies in the first or the last bin, against their share of what is not missing."""
    import numpy as np

    ends = np.zeros(len(shares))
    ends[[0, -1]] = 1.0
    return np.asarray(ends - shares @ ends / max(float(shares.sum()), 1e-300))


def _standard(found: "NDArray[np.float64]", shares: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """The same, less its mean in the reference and in units of its deviation there."""
    import numpy as np

    centred = found - shares @ found
    variance = shares @ centred**2
    return np.asarray(centred / np.sqrt(np.maximum(variance, LEAST_VARIANCE)))


LEAST_VARIANCE = 1e-4
"""A level that the reference hardly has; its own variance would be that of nothing."""


def effect(kind: Kind, then: "NDArray[np.float64]", now: "NDArray[np.float64]") -> float:
    """How far two samples' shares are apart, from 0 to 1.

    The largest distance of the distribution functions (Kolmogorov and Smirnov), of categories half the sum of all
    distances; or the difference in what is missing, where that is larger.
    """
    import numpy as np

    gone = abs(float(now[-1] - then[-1]))
    if then[:-1].sum() <= 0 or now[:-1].sum() <= 0:
        return gone
    apart = now[:-1] / now[:-1].sum() - then[:-1] / then[:-1].sum()
    moved = np.abs(np.cumsum(apart)).max() if kind == "numeric" else np.abs(apart).sum() / 2
    return max(gone, float(moved))
