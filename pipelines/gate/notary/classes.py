"""The notary's own arithmetic of more than two classes: counted from one table of truth against decision."""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLOSE_TO_ONE = 1e-6
"""How far the probabilities of a row may be from one in sum."""


def numbers(column: Any) -> "NDArray[Any]":
    """The answers in a column of the evidence: a number per row, or a list of them in each."""
    import numpy as np

    plain = isinstance(column, np.ndarray) and column.dtype != object
    return np.asarray(column if plain else [*column], dtype="float64")


def sound(said: "NDArray[Any]", classes: int) -> bool:
    """Whether every row holds a probability for each class, which together are one."""
    return said.shape[1:] == (classes,) and all(
        min(row) >= 0 and max(row) <= 1 and abs(math.fsum(row) - 1) <= CLOSE_TO_ONE for row in said
    )


def crossed(labels: "NDArray[Any]", said: "NDArray[Any]") -> "NDArray[Any]":
    """How many rows of each class (down) were taken for each (across); the first of the likeliest is taken."""
    import numpy as np

    many = said.shape[1]
    taken = np.argsort(-said, axis=1, kind="stable")[:, 0]
    pairs = labels.astype("int64") * many + taken
    return np.bincount(pairs, minlength=many * many).reshape(many, many)


def found(labels: "NDArray[Any]", said: "NDArray[Any]") -> "list[tuple[float, int]]":
    """Per class the share of its rows that is taken for it, and how many rows it has."""
    table = crossed(labels, said)
    rows = [int(row.sum()) for row in table]
    return [(table[at, at] / many if many else math.nan, many) for at, many in enumerate(rows)]


def metric(name: str, labels: "NDArray[Any]", said: "NDArray[Any]") -> float:
    """A metric of rows of probabilities."""
    import numpy as np

    if name in ("log_loss", "brier"):
        return float(_lost(name, labels.astype("int64"), said).mean())
    table = crossed(labels, said)
    there = np.flatnonzero(table.sum(axis=1))
    if name == "accuracy":
        return float(np.trace(table) / table.sum())
    if name == "balanced_accuracy":
        return float(np.mean([table[at, at] / table[at].sum() for at in there]))
    if name == "f1":
        return float(np.mean([2 * table[at, at] / (table[at].sum() + table[:, at].sum()) for at in there]))
    if name == "calibration_error":
        return max(_gap(labels == at, said[:, at]) for at in range(said.shape[1]))
    return float(np.mean([_pairs_won(said[labels == at, at], said[labels != at, at]) for at in there]))


def _lost(name: str, labels: "NDArray[Any]", said: "NDArray[Any]") -> Any:
    import numpy as np

    true = said[np.arange(len(said)), labels]
    if name == "brier":
        return (said**2).sum(axis=1) - 2 * true + 1
    least = 2.0**-52
    return -np.log(np.clip(true, least, 1 - least))


def _gap(true: "NDArray[Any]", said: "NDArray[Any]") -> float:
    import numpy as np

    away = (said - true)[np.argsort(said, kind="stable")]
    return float(sum(abs(part.sum()) for part in np.array_split(away, 10)) / len(said))


def _pairs_won(mine: "NDArray[Any]", others: "NDArray[Any]") -> float:
    """The share of pairs of a row of the class and another in which the first has more; Mann and Whitney's U."""
    import numpy as np
    from scipy.stats import rankdata

    if not len(mine) or not len(others):
        return 0.5
    ranks = rankdata(np.concatenate([mine, others]))[: len(mine)].sum()
    return float((ranks - len(mine) * (len(mine) + 1) / 2) / (len(mine) * len(others)))
