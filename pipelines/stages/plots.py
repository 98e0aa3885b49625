"""The plots people expect on a run, drawn from the held-out rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.stages.train import inputs_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

SAMPLE = 1500


def draw(
    spec: ModelSpec, model: Any, held: "pd.DataFrame", scores: dict[str, Any], folder: Path
) -> list[Path]:
    """Calibration, ROC, precision-recall, confusion at the threshold and feature importance, as PNG files."""
    if "baseline" not in scores:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    labels = held["label"]
    drawn = {
        "calibration": lambda axes: _calibration(axes, labels, scores),
        "roc": lambda axes: _curve(axes, "roc", labels, scores),
        "precision_recall": lambda axes: _curve(axes, "pr", labels, scores),
        "confusion": lambda axes: _confusion(axes, labels, scores["candidate"], spec.threshold),
        "importance": lambda axes: _importance(axes, model, held),
    }
    return [_figure(folder / f"{name}.png", painter) for name, painter in drawn.items()]


def _figure(path: Path, painter: Any) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    painter(figure.add_subplot())
    figure.savefig(path, dpi=90)
    return path


def _calibration(axes: "Axes", labels: Any, scores: dict[str, Any]) -> None:
    from sklearn.calibration import calibration_curve

    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect")
    for name, chances in scores.items():
        happened, said = calibration_curve(labels, chances, n_bins=10, strategy="quantile")
        axes.plot(said, happened, marker="o", label=name)
    axes.set(
        title="Calibration on held-out rows", xlabel="predicted probability", ylabel="share that was late"
    )
    axes.legend()


def _curve(axes: "Axes", kind: str, labels: Any, scores: dict[str, Any]) -> None:
    from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay

    display = RocCurveDisplay if kind == "roc" else PrecisionRecallDisplay
    for name, chances in scores.items():
        display.from_predictions(labels, chances, name=name, ax=axes)
    axes.set_title("ROC on held-out rows" if kind == "roc" else "Precision and recall on held-out rows")


def _confusion(axes: "Axes", labels: Any, chances: Any, threshold: float) -> None:
    from sklearn.metrics import ConfusionMatrixDisplay

    ConfusionMatrixDisplay.from_predictions(
        labels,
        (chances >= threshold).astype(int),
        display_labels=["on time", "late"],
        ax=axes,
        colorbar=False,
    )
    axes.set_title(f"Confusion at {threshold}")


def _importance(axes: "Axes", model: Any, held: "pd.DataFrame") -> None:
    """How much log loss grows when a column is shuffled, on a sample; the twenty that matter most."""
    import numpy as np
    from sklearn.metrics import log_loss

    rows = held.sample(min(SAMPLE, len(held)), random_state=0)
    inputs, draws = inputs_of(rows, model), np.random.default_rng(0)
    before = log_loss(rows["label"], model.predict_proba(inputs)[:, 1], labels=[0, 1])
    grown = {}
    for name in map(str, inputs.columns):
        shuffled = inputs.assign(**{name: inputs[name].to_numpy()[draws.permutation(len(inputs))]})
        grown[name] = log_loss(rows["label"], model.predict_proba(shuffled)[:, 1], labels=[0, 1]) - before
    best = sorted(grown, key=grown.__getitem__)[-20:]
    axes.barh(best, [grown[name] for name in best], color="#2f6f4f")
    axes.tick_params(axis="y", labelsize=7)
    axes.set(title="Importance on held-out rows", xlabel="log loss grows by, when shuffled")
