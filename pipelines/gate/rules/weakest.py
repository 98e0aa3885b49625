"""Looks for the part of the rows in which the candidate does worst against the champion, and names it in words."""

from typing import TYPE_CHECKING, Any

from pipelines.gate.case import Case
from pipelines.gate.estimates import losses
from pipelines.training.answers import inputs_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

RUNS = 8
"""The hours are cut into so many runs, taken in turn by search and judgement; few borders, where weather leaks over."""
VALUES = 20
"""Of a column of words its most frequent values are tried."""
DEPTH = 2
STAND_IN = {"classification": "log_loss", "multiclass": "log_loss", "regression": "mae"}
"""What the search goes by where the slices' metric is no mean over rows."""
MEANS = ("log_loss", "brier", "accuracy", "mae", "rmse")


def find(case: Case, least: int) -> "tuple[str, Mask] | None":
    """The slice's name in words and its rows in the half that judges; None where nothing has so many rows."""
    search = halves(case.blocks)
    if min(search.sum(), (~search).sum()) < 2 * least:
        return None
    table = columns(inputs_of(case.held, case.model))
    tree = _grown(table[search], gains(case)[search], least)
    leaf = _lowest(tree)
    inside = tree.apply(table.to_numpy("float32")) == leaf
    words, mask = described(tree, leaf, table[inside]), inside & ~search
    return (words, mask) if words and mask.sum() >= least else None


def halves(blocks: "NDArray[Any]") -> "Mask":
    """Which rows the search may see: every other of eight runs of hours."""
    import numpy as np

    codes = np.unique(blocks, return_inverse=True)[1]
    return np.asarray(codes * RUNS // (int(codes.max()) + 1) % 2 == 0)


def gains(case: Case) -> "NDArray[Any]":
    """By how much each row's loss is smaller than the champion's."""
    asked = case.spec.gate.slices.metric
    metric = asked if asked in MEANS else STAND_IN[case.spec.task]
    ours, theirs = (losses(metric, case.labels, case.answers[who]) for who in ("candidate", "champion"))
    return theirs - ours


def columns(inputs: "pd.DataFrame") -> "pd.DataFrame":
    """The inputs as numbers a tree can split: frequent words as yes or no, times by hour and weekday."""
    import pandas as pd

    found = [part for name in inputs for part in _numbers(str(name), inputs[name])]
    return pd.concat(found, axis=1)


def _numbers(name: str, values: "pd.Series[Any]") -> "list[pd.Series[Any]]":
    from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

    if is_datetime64_any_dtype(values):
        return [
            values.dt.hour.astype("float32").rename(f"hour of {name}"),
            values.dt.dayofweek.astype("float32").rename(f"weekday of {name}"),
        ]
    if is_numeric_dtype(values):
        return [values.astype("float32").rename(name)]
    frequent = sorted(values.value_counts().index[:VALUES], key=str)
    return [
        (values == value).fillna(False).astype("float32").rename(f"{name} = {value}") for value in frequent
    ]


def _grown(table: "pd.DataFrame", gain: "NDArray[Any]", least: int) -> Any:
    from sklearn.tree import DecisionTreeRegressor

    tree = DecisionTreeRegressor(max_depth=DEPTH, min_samples_leaf=least, random_state=0)
    return tree.fit(table.to_numpy("float32"), gain)


def _lowest(tree: Any) -> int:
    """The leaf where the candidate gains least."""
    nodes = tree.tree_
    leaves = [node for node in range(nodes.node_count) if nodes.children_left[node] < 0]
    return int(min(leaves, key=lambda node: nodes.value[node].item()))


def described(tree: Any, leaf: int, inside: "pd.DataFrame") -> str:
    """The way to a leaf in words, such as `origin = EWR and distance > 900`; empty where nothing was split.

    A row without the value goes where the tree sends it; of those that lie `inside` the words tell.
    """
    nodes, words, node = tree.tree_, [], 0
    while node != leaf:
        right, name = leaf >= nodes.children_right[node], str(inside.columns[nodes.feature[node]])
        missing = " or missing" if inside[name].isna().any() else ""
        words.append(_step(name, nodes.threshold[node], right) + missing)
        node = nodes.children_right[node] if right else nodes.children_left[node]
    return " and ".join(words)


def _step(name: str, threshold: float, right: bool) -> str:
    if " = " in name:
        return name if right else name.replace(" = ", " is not ", 1)
    return f"{name} {'>' if right else '<='} {threshold:.6g}"
