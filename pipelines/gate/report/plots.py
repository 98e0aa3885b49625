"""The plots people expect on a run, drawn from the held-out rows."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.gate.report import explanations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Painter = Callable[["Axes"], None]
POINTS = 2000
"""So many dots are drawn; more only darken the middle."""


def draw(
    spec: ModelSpec, labels: Any, scores: Mapping[str, Any], importance: dict[str, Any], folder: Path
) -> list[Path]:
    """PNG files: for a classification calibration, ROC, precision-recall and confusion at the threshold, for a
    regression predicted against actual and residuals; importance for both."""
    folder.mkdir(parents=True, exist_ok=True)
    of_task = _regression if spec.task == "regression" else _classification
    drawn = of_task(spec, labels, scores) | {"importance": lambda axes: explanations.draw(axes, importance)}
    return [_figure(folder / f"{name}.png", painter) for name, painter in drawn.items()]


def _classification(spec: ModelSpec, labels: Any, scores: Mapping[str, Any]) -> dict[str, Painter]:
    return {
        "calibration": lambda axes: _calibration(axes, spec.label.name, labels, scores),
        "roc": lambda axes: _curve(axes, "roc", labels, scores),
        "precision_recall": lambda axes: _curve(axes, "pr", labels, scores),
        "confusion": lambda axes: _confusion(axes, spec, labels, scores["candidate"]),
    }


def _regression(spec: ModelSpec, labels: Any, scores: Mapping[str, Any]) -> dict[str, Painter]:
    return {
        "predicted": lambda axes: _predicted(axes, spec.label.name, labels, scores["candidate"]),
        "residuals": lambda axes: _residuals(axes, spec.label.name, labels, scores),
    }


def _figure(path: Path, painter: Painter) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    painter(figure.add_subplot())
    figure.savefig(path, dpi=90)
    return path


def _calibration(axes: "Axes", label: str, labels: Any, scores: Mapping[str, Any]) -> None:
    from sklearn.calibration import calibration_curve

    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect")
    for name, chances in scores.items():
        happened, said = calibration_curve(labels, chances, n_bins=10, strategy="quantile")
        axes.plot(said, happened, marker="o", label=name)
    axes.set(
        title="Calibration on held-out rows",
        xlabel="predicted probability",
        ylabel=f"share with {label}",
    )
    axes.legend()


def _curve(axes: "Axes", kind: str, labels: Any, scores: Mapping[str, Any]) -> None:
    from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay

    display = RocCurveDisplay if kind == "roc" else PrecisionRecallDisplay
    for name, chances in scores.items():
        display.from_predictions(labels, chances, name=name, ax=axes)
    axes.set_title("ROC on held-out rows" if kind == "roc" else "Precision and recall on held-out rows")


def _confusion(axes: "Axes", spec: ModelSpec, labels: Any, chances: Any) -> None:
    from sklearn.metrics import ConfusionMatrixDisplay

    ConfusionMatrixDisplay.from_predictions(
        labels,
        (chances >= spec.threshold).astype(int),
        display_labels=["no", "yes"],
        ax=axes,
        colorbar=False,
    )
    axes.set_title(f"{spec.label.name} at {spec.threshold}")


def _predicted(axes: "Axes", label: str, actual: Any, said: Any) -> None:
    dots = slice(None, None, max(1, len(actual) // POINTS))
    ends = [min(actual.min(), said.min()), max(actual.max(), said.max())]
    axes.plot(ends, ends, color="grey", linestyle=":", label="perfect")
    axes.scatter(said[dots], actual[dots], s=8, alpha=0.4, color="#2f6f4f")
    axes.set(title=f"{label} on held-out rows", xlabel="predicted", ylabel="actual")


def _residuals(axes: "Axes", label: str, actual: Any, scores: Mapping[str, Any]) -> None:
    for name, said in scores.items():
        axes.hist(said - actual, bins=60, histtype="step", label=name)
    axes.axvline(0, color="grey", linestyle=":")
    axes.set(title=f"{label}: predicted - actual on held-out rows", xlabel="residual", ylabel="rows")
    axes.legend()
