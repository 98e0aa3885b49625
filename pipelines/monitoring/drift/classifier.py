"""A classifier that is shown rows of two sides, and how well it tells those of days that it has not seen.

Rows of a day share their weather, so a day is either learned from or asked about. So is a weekday: the reference has
many Mondays, and by them a window's only one would be taken for the reference's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.monitoring.drift.sketch import Kind

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

FOLDS, WEEK = 5, 7
ITERATIONS, LEAVES, ASKED = 50, 31, 0.5
"""Trees are large, and a split is looked for in a part of the columns: what two of them say together shows in neither
before a tree has split by the other."""
LEVELS = 50
"""Categories after the most frequent are one: others."""
ENDLESS = 1e300
NAMED, CLEAR = 3, 0.01
"""So many columns are named at most, each of which costs so much AUC when it is shuffled."""


@dataclass(frozen=True)
class Sides:
    """Rows of two sides: `values` (rows, columns), which of the `names` are categories, each row's side (0 or 1) and
    day."""

    names: tuple[str, ...]
    categories: tuple[bool, ...]
    values: "NDArray[np.float64]"
    side: "NDArray[np.int64]"
    day: "NDArray[np.int64]"


@dataclass(frozen=True)
class Asked:
    """A classifier that learned from some folds, and the rows of another with their side."""

    model: Any
    values: "NDArray[np.float64]"
    side: "NDArray[np.int64]"

    def auc(self, shuffled: int | None = None) -> float:
        """How well it tells them, with the values of one column shuffled among them if asked for."""
        import numpy as np
        from sklearn.metrics import roc_auc_score

        values = self.values
        if shuffled is not None:
            values = values.copy()
            values[:, shuffled] = np.random.default_rng(0).permutation(values[:, shuffled])
        return float(roc_auc_score(self.side, self.model.predict_proba(values)[:, 1]))


@dataclass(frozen=True)
class Classified:
    """What was learned from the other folds and asked of each."""

    names: tuple[str, ...]
    asked: tuple[Asked, ...]

    def auc(self, shuffled: int | None = None) -> float:
        """The mean over the folds by their rows; 0.5, which is to guess, where none has rows of both sides."""
        import numpy as np

        if not self.asked:
            return 0.5
        rows = [len(each.side) for each in self.asked]
        return float(np.average([each.auc(shuffled) for each in self.asked], weights=rows))

    def named(self) -> tuple[str, ...]:
        """The columns that it tells them by, those first that cost most when they are shuffled; at most three."""
        whole = self.auc()
        costs = {name: whole - self.auc(place) for place, name in enumerate(self.names)}
        clear = [name for name, cost in costs.items() if cost >= CLEAR]
        return tuple(sorted(clear, key=lambda name: (-costs[name], name))[:NAMED])


def sides(
    old: "pd.DataFrame", new: "pd.DataFrame", days: "NDArray[np.int64]", kinds: Mapping[str, Kind]
) -> Sides:
    """Both sides as one table; a category is its place among the most frequent of both."""
    import numpy as np
    import pandas as pd

    both = pd.concat([old, new], ignore_index=True)
    columns = {
        name: _coded(both[name]) if kind == "categorical" else _finite(both[name])
        for name, kind in kinds.items()
    }
    told = {name: values for name, values in columns.items() if len(np.unique(values)) > 1}
    values = np.column_stack([*told.values()]) if told else np.zeros((len(both), 0))
    side = np.repeat([0, 1], [len(old), len(new)])
    return Sides(tuple(told), tuple(kinds[name] == "categorical" for name in told), values, side, days)


def _finite(values: "pd.Series[Any]") -> "NDArray[np.float64]":
    import numpy as np

    return np.asarray(np.clip(values.to_numpy("float64"), -ENDLESS, ENDLESS))


def _coded(values: "pd.Series[Any]") -> "NDArray[np.float64]":
    import numpy as np
    import pandas as pd

    often = values.value_counts().sort_index(kind="stable").sort_values(ascending=False, kind="stable")
    codes = pd.Index(often.index[:LEVELS]).get_indexer(pd.Index(values))
    return np.where(codes < 0, float(LEVELS), codes)


def classified(of: Sides) -> Classified:
    """A classifier per fold of days, which is asked of that fold and learned from no other row of its days."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # of so few rows more threads only wait for each other
        return Classified(of.names, tuple(_asked(of)) if of.names else ())


def _asked(of: Sides) -> Iterator[Asked]:
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier

    for learn, ask in folds(of):
        none = np.isnan(of.values[learn]).all(axis=0)
        values = np.where(none, 0.0, of.values)  # it refuses a column that has no value at all
        model = HistGradientBoostingClassifier(
            max_iter=ITERATIONS,
            max_leaf_nodes=LEAVES,
            max_features=ASKED,
            categorical_features=list(of.categories),
            early_stopping=False,
            random_state=0,
        )
        yield Asked(model.fit(values[learn], of.side[learn]), values[ask], of.side[ask])


def folds(of: Sides) -> "Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]":
    """Which rows to learn from and which to ask about, fold by fold where both have rows of both sides.

    No day is in both, and no weekday. Days lie in the same fold whatever else is compared, so that what a fold is like
    by chance is alike in all comparisons.
    """
    fold = of.day % WEEK % FOLDS
    for each in range(FOLDS):
        ask = fold == each
        if all(0 < of.side[rows].sum() < rows.sum() for rows in (ask, ~ask)):
            yield ~ask, ask
