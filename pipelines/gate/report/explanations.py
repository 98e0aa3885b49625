"""What the candidate goes by: permutation importance on held-out rows, kept with the version."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.gate.case import Case, with_columns
from pipelines.training.answers import inputs_of
from pipelines.training.metrics import measure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

ROWS, REPEATS = 500, 2
SHOWN = 20
LOSSES = {"classification": "log_loss", "multiclass": "log_loss", "regression": "mae"}
AT_ONCE = 40
"""How many shuffled copies of the rows are asked in one question: a call costs what many rows cost."""

Groups = Mapping[str, Sequence[str]]
"""Columns that are shuffled together, by the name they are told under."""


def importance(case: Case) -> dict[str, Any]:
    """By how much the loss grows when a column, or a feature view as a whole, is shuffled; the largest first.

    Columns that say the same share their importance; a view shuffled as a whole shows what all of its columns are
    worth together. Same rows, same answer.
    """
    from threadpoolctl import threadpool_limits

    rows = case.held.sample(min(ROWS, len(case.held)), random_state=0)
    columns = {str(name): [str(name)] for name in inputs_of(rows, case.model).columns}
    views: dict[str, list[str]] = {}
    for name in case.spec.features_among(columns):
        views.setdefault(name.split("__")[0], []).append(name)
    with threadpool_limits(1):  # more threads only wait for each other
        found = {"columns": _grown(case, rows, columns), "views": _grown(case, rows, views)}
    return {"loss": LOSSES[case.spec.task], "rows": len(rows), "repeats": REPEATS, **found}


def draw(axes: "Axes", found: dict[str, Any]) -> None:
    """The columns that matter most, with how far the repeats lie apart."""
    best = found["columns"][:SHOWN][::-1]
    axes.barh(
        [c["name"] for c in best],
        [c["mean"] for c in best],
        xerr=[c["spread"] for c in best],
        color="#2f6f4f",
        ecolor="#888",
    )
    axes.tick_params(axis="y", labelsize=7)
    axes.set(title="Importance on held-out rows", xlabel=f"{found['loss']} grows by, when shuffled")


def _grown(case: Case, rows: "pd.DataFrame", groups: Groups) -> list[dict[str, Any]]:
    """By how much the loss grows with each group shuffled by the rows it came in: mean and spread over the repeats."""
    import numpy as np

    labels, metric = rows["label"].to_numpy("float64"), LOSSES[case.spec.task]
    before = measure(metric, labels, case.said(rows))
    losses = [measure(metric, labels, said) for said in _answered(case, _shuffled(rows, groups))]
    grown = np.reshape(losses, (len(groups), REPEATS)) - before
    means, spreads = grown.mean(axis=1), grown.std(axis=1)
    told = zip(groups, means, spreads, strict=True)
    return _ranked([{"name": name, "mean": float(mean), "spread": float(std)} for name, mean, std in told])


def _shuffled(rows: "pd.DataFrame", groups: Groups) -> "Iterator[pd.DataFrame]":
    """The rows once per group and repeat, with the group's columns in another order."""
    import numpy as np

    draws = np.random.default_rng(0)
    for names in groups.values():
        for _ in range(REPEATS):
            moved = rows[list(names)].iloc[draws.permutation(len(rows))].set_axis(rows.index)
            yield with_columns(rows, {name: moved[name] for name in names})


def _answered(case: Case, copies: "Iterable[pd.DataFrame]") -> "Iterator[NDArray[Any]]":
    """The model's answers to each copy, asked some at a time."""
    import numpy as np
    import pandas as pd

    left = iter(copies)
    while together := list(islice(left, AT_ONCE)):
        yield from np.split(case.said(pd.concat(together)), len(together))


def _ranked(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda each: -each["mean"])


def write(found: dict[str, Any], path: Path) -> Path:
    """The numbers as JSON."""
    import json

    path.write_text(json.dumps(found, indent=2))
    return path
