"""A whole Pipeline by its shorter ways, where it has any."""

import logging
from typing import TYPE_CHECKING, Any

from pipelines.serving.shortcuts.boosting import Boosting
from pipelines.serving.shortcuts.columns import Columns, Unknown, numbers
from pipelines.serving.shortcuts.trees import FEW

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

TRIED = 2 * FEW
"""Made-up rows on which the shorter way must say what the estimator says."""
log = logging.getLogger("evergreen.serving")


def shortened(pipeline: Any, rows: "pd.DataFrame") -> Any:
    """The Pipeline by a shorter way that says of these rows what it says; the Pipeline itself where there is none."""
    try:
        short = Shortened(pipeline)
        agrees = _alike(short, pipeline, rows)
    except (Unknown, AttributeError, TypeError, ValueError):
        return pipeline
    if not agrees:
        log.warning(
            "the shorter way through %s says something else, so it is not taken", type(pipeline).__name__
        )
    return short if agrees else pipeline


def _alike(short: "Shortened", pipeline: Any, rows: "pd.DataFrame") -> bool:
    """Whether both say the same of the rows, and the estimators of rows made up around what they know."""
    import numpy as np

    method = "predict_proba" if hasattr(pipeline, "predict_proba") else "predict"
    mine, its = short.shortly(method, rows), getattr(pipeline, method)(rows)
    made = _made_up(short.last.estimator)
    raw = short.last.estimator._raw_predict(made, n_threads=1)
    few = np.concatenate([short.last.raw(part) for part in np.array_split(made, TRIED // FEW)])
    return bool(
        np.array_equal(mine, its, equal_nan=True)
        and np.array_equal(few, raw)
        and np.array_equal(short.last.raw(made), raw)
    )


def _made_up(estimator: Any) -> "NDArray[np.float64]":
    """Rows of values at, beside and far from each column's thresholds, categories known and unknown, and nothing."""
    import numpy as np

    chance = np.random.default_rng(0)
    rows = np.empty((TRIED, estimator.n_features_in_))
    for place in range(rows.shape[1]):
        values = _values(estimator, place)
        rows[:, place] = chance.choice(np.append(values, np.nan), TRIED)
    return rows


def _values(estimator: Any, place: int) -> "NDArray[np.float64]":
    """What a column may hold: the categories that it has, or numbers at and just above where a tree may split it."""
    import numpy as np

    coder, edges = estimator._preprocessor, estimator._bin_mapper.bin_thresholds_
    if coder is None:
        known = np.asarray(edges[place], "float64")
    elif estimator.is_categorical_[place]:
        words = coder.named_transformers_["encoder"].categories_
        known = np.asarray(words[np.sum(estimator.is_categorical_[:place])], "float64")
    else:  # it puts the columns of numbers after those of categories
        numbers_before = np.sum(~estimator.is_categorical_[:place])
        known = np.asarray(edges[np.sum(estimator.is_categorical_) + numbers_before], "float64")
    return np.concatenate([known, np.nextafter(known, np.inf), [-1e9, 0.0, 1e9]])


def _shorter(step: Any) -> Any:
    from sklearn.compose import ColumnTransformer

    return Columns(step) if type(step) is ColumnTransformer else step


def _floats(rows: Any, estimator: Any) -> "NDArray[np.float64]":
    """What the last step is given, as the numbers that it makes of it; Unknown if it does more than that."""
    import numpy as np

    if not hasattr(rows, "iloc"):
        return np.asarray(rows, dtype="float64")
    if [*rows.columns] != [*getattr(estimator, "feature_names_in_", ())]:
        raise Unknown
    return np.asarray(numbers(rows, [*rows.columns]))


class Shortened:
    """A fitted Pipeline that ends in gradient boosting; what it cannot answer the shorter way the Pipeline answers."""

    def __init__(self, pipeline: Any) -> None:
        *steps, (_, last) = pipeline.steps
        self.pipeline, self.last = pipeline, Boosting(last)
        self._steps = [step for _, step in steps if step not in (None, "passthrough")]
        self._steps[-1:] = map(_shorter, self._steps[-1:])  # what another step is given, it is given as ever
        if hasattr(pipeline, "predict_proba"):
            self.predict_proba = self._asked("predict_proba")
            self.classes_ = pipeline.classes_
        else:
            self.predict = self._asked("predict")

    def _asked(self, method: str) -> Any:
        def ask(rows: "pd.DataFrame") -> Any:
            try:
                return self.shortly(method, rows)
            except Unknown:
                return getattr(self.pipeline, method)(rows)

        return ask

    def shortly(self, method: str, rows: "pd.DataFrame") -> Any:
        """The answers by the shorter way; Unknown if these rows have none."""
        found: Any = rows
        for step in self._steps:
            found = step.transform(found)
        return getattr(self.last, method)(_floats(found, self.last.estimator))
