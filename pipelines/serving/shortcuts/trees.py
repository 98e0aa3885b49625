"""All trees of gradient boosting walked at once, for rows so few that calling each tree costs more than its walk."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEW = 32
"""So many rows take less time so; of more, scikit-learn's own walk, a tree at a time, takes no longer."""
CODES = 256
"""Codes that a category may have in scikit-learn, from 0 on; one more stands for what is missing or unknown."""


class Trees:
    """The trees of a fitted HistGradientBoosting estimator, in the order in which their leaves are summed.

    `known` is what scikit-learn gives its trees: which categories the model has seen, and whose they are.
    """

    def __init__(self, predictors: Sequence[Any], known: tuple[Any, Any]) -> None:
        import numpy as np

        sizes = [len(tree.nodes) for tree in predictors]
        self._roots = np.cumsum([0, *sizes[:-1]]).astype(np.intp)
        nodes = np.concatenate([tree.nodes for tree in predictors])
        own, start = np.arange(len(nodes)), np.repeat(self._roots, sizes)
        leaf = nodes["is_leaf"].astype(bool)
        right, left = (np.where(leaf, own, start + nodes[side]) for side in ("right", "left"))
        self._next = np.stack([right, left], axis=1).astype(np.intp).ravel()
        self._feature = np.where(leaf, 0, nodes["feature_idx"]).astype(np.intp)
        self._threshold, self.values = nodes["num_threshold"].copy(), nodes["value"].copy()
        self._missing = nodes["missing_go_to_left"].astype(bool)
        self._depth = int(nodes["depth"].max())
        self._lefts, self._table = _categories(predictors, nodes, leaf, known)

    def leaves(self, rows: "NDArray[np.float64]") -> "NDArray[np.intp]":
        """Of rows x columns the place in `values` of the leaf that each row comes to in each tree: rows x trees."""
        import numpy as np

        (count, width), trees = rows.shape, len(self._roots)
        flat = np.ascontiguousarray(rows).ravel()
        row, at = np.repeat(np.arange(count) * width, trees), np.tile(self._roots, count)
        for _ in range(self._depth):
            value = flat[row + self._feature[at]]
            left = value <= self._threshold[at]
            missing = np.isnan(value)
            if missing.any():
                left[missing] = self._missing[at[missing]]
            self._by_category(value, at, left)
            at = self._next[2 * at + left]
        return at.reshape(count, trees)

    def _by_category(self, value: Any, at: Any, left: Any) -> None:
        """Puts right which way those go that are at a split by categories."""
        import numpy as np

        if not len(self._lefts):
            return
        table = self._table[at]
        (here,) = np.nonzero(table >= 0)
        code = value[here]
        outside = ~((code >= 0) & (code < CODES))
        code = np.where(outside, CODES, code).astype(np.intp)
        left[here] = self._lefts[table[here], code]


def _categories(predictors: Sequence[Any], nodes: Any, leaf: Any, known: tuple[Any, Any]) -> tuple[Any, Any]:
    """Of each split by categories which codes go left, the last for what is missing; and of each node its split."""
    import numpy as np

    split = nodes["is_categorical"].astype(bool) & ~leaf
    table = np.where(split, np.cumsum(split) - 1, -1)
    tree = np.repeat(np.arange(len(predictors)), [len(each.nodes) for each in predictors])
    lefts = np.empty((int(split.sum()), CODES + 1), dtype=bool)
    for place, node in enumerate(np.flatnonzero(split)):
        went = _bits(predictors[tree[node]].raw_left_cat_bitsets[nodes["bitset_idx"][node]])
        seen = _bits(known[0][known[1][nodes["feature_idx"][node]]])
        lefts[place, :CODES] = went | (~seen & bool(nodes["missing_go_to_left"][node]))
        lefts[place, CODES] = nodes["missing_go_to_left"][node]
    return lefts, table


def _bits(words: Any) -> Any:
    """The 256 bits of eight 32-bit words, the lowest first."""
    import numpy as np

    return np.unpackbits(np.asarray(words, "<u4").view(np.uint8), bitorder="little").astype(bool)
