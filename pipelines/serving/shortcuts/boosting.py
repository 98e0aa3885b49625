"""Histogram gradient boosting of a few rows: scikit-learn's own trees, without what it does anew at each call."""

from typing import TYPE_CHECKING, Any

from pipelines.serving.shortcuts.columns import Columns, Unknown
from pipelines.serving.shortcuts.trees import FEW, Trees

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Boosting:
    """A fitted HistGradientBoosting estimator; Unknown for any other.

    `raw` takes rows x columns of float64 as the estimator was fitted on and gives its sum of leaves.
    """

    def __init__(self, estimator: Any) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        if type(estimator) not in (HistGradientBoostingClassifier, HistGradientBoostingRegressor):
            raise Unknown
        self.estimator, self._columns = estimator, estimator.n_features_in_
        self._coded = Columns(estimator._preprocessor) if estimator._preprocessor is not None else None
        self._known = estimator._bin_mapper.make_known_categories_bitsets()
        self._trees = Trees([tree for trees in estimator._predictors for tree in trees], self._known)

    def predict(self, rows: "NDArray[np.float64]") -> Any:
        """Of each row what a regression says."""
        return self.estimator._loss.link.inverse(self.raw(rows).ravel())

    def predict_proba(self, rows: "NDArray[np.float64]") -> Any:
        """Of each row what a classifier says of each class."""
        return self.estimator._loss.predict_proba(self.raw(rows))

    def raw(self, rows: "NDArray[np.float64]") -> "NDArray[np.float64]":
        import numpy as np

        if rows.shape[1] != self._columns:
            raise ValueError(f"{rows.shape[1]} columns where the model was fitted on {self._columns}")
        coded = rows if self._coded is None else self._coded.transform(rows)
        start = self.estimator._baseline_prediction
        found = np.zeros((len(rows), self.estimator.n_trees_per_iteration_), dtype=start.dtype, order="F")
        found += start
        return self._few(coded, found) if len(rows) <= FEW else self._many(coded, found)

    def _few(self, coded: "NDArray[np.float64]", found: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Adds the leaves of all trees, one after another."""
        import numpy as np

        leaves = self._trees.values[self._trees.leaves(coded)]
        for answer in range(found.shape[1]):
            each = np.column_stack([found[:, answer], leaves[:, answer :: found.shape[1]]])
            found[:, answer] = np.add.accumulate(each, axis=1)[:, -1]
        return found

    def _many(self, coded: "NDArray[np.float64]", found: "NDArray[np.float64]") -> "NDArray[np.float64]":
        for trees in self.estimator._predictors:
            for answer, tree in enumerate(trees):
                found[:, answer] += tree.predict(coded, *self._known, 1)
        return found
