"""What the candidate goes by: permutation importance on held-out rows, kept with the version."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.gate.case import Case
from pipelines.training.answers import answers, inputs_of
from pipelines.training.metrics import measure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

ROWS, REPEATS = 500, 2
SHOWN = 20
SCORERS = {
    "classification": ("neg_log_loss", "log_loss"),
    "regression": ("neg_mean_absolute_error", "mae"),
}


def importance(case: Case) -> dict[str, Any]:
    """By how much the loss grows when a column, or a feature view as a whole, is shuffled; the largest first.

    Columns are scikit-learn's permutation_importance. Columns that say the same share their importance; a view
    shuffled as a whole shows what all of its columns are worth together. Same rows, same answer.
    """
    from threadpoolctl import threadpool_limits

    rows = case.held.sample(min(ROWS, len(case.held)), random_state=0)
    with threadpool_limits(1):  # hundreds of small questions: more threads only wait for each other
        columns, views = _columns(case, rows), _views(case, rows)
    return {
        "loss": SCORERS[case.spec.task][1],
        "rows": len(rows),
        "repeats": REPEATS,
        "columns": columns,
        "views": views,
    }


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


def _columns(case: Case, rows: "pd.DataFrame") -> list[dict[str, Any]]:
    from sklearn.inspection import permutation_importance

    inputs = inputs_of(rows, case.model)
    found = permutation_importance(
        case.model,
        inputs,
        rows["label"],
        scoring=SCORERS[case.spec.task][0],
        n_repeats=REPEATS,
        random_state=0,
    )
    told = zip(map(str, inputs.columns), found.importances_mean, found.importances_std, strict=True)
    return _ranked([{"name": name, "mean": float(mean), "spread": float(std)} for name, mean, std in told])


def _views(case: Case, rows: "pd.DataFrame") -> list[dict[str, Any]]:
    """Each feature view's columns shuffled together, by the rows they came in."""
    import numpy as np

    inputs, draws = inputs_of(rows, case.model), np.random.default_rng(0)
    parts: dict[str, list[str]] = {}
    for name in case.spec.features_among(inputs.columns):
        parts.setdefault(name.split("__")[0], []).append(name)
    before, found = _loss(case, rows), []
    for view, names in parts.items():
        grown = [_loss(case, _shuffled(rows, names, draws)) - before for _ in range(REPEATS)]
        found.append({"name": view, "mean": float(np.mean(grown)), "spread": float(np.std(grown))})
    return _ranked(found)


def _shuffled(rows: "pd.DataFrame", names: list[str], draws: Any) -> "pd.DataFrame":
    moved = rows[names].iloc[draws.permutation(len(rows))].set_axis(rows.index)
    return rows.assign(**{name: moved[name] for name in names})


def _loss(case: Case, rows: "pd.DataFrame") -> float:
    labels = rows["label"].to_numpy("float64")
    return measure(SCORERS[case.spec.task][1], labels, answers(case.model, rows))


def _ranked(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found, key=lambda each: -each["mean"])


def write(found: dict[str, Any], path: Path) -> Path:
    """The numbers as JSON."""
    import json

    path.write_text(json.dumps(found, indent=2))
    return path
