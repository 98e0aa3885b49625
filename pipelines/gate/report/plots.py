"""The plots people expect on a run, drawn from the held-out rows."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.gate.report import explanations
from pipelines.gate.rules.calibration import curve
from pipelines.training.many_classes import decided

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Painter = Callable[["Axes"], None]
POINTS = 2000
"""So many dots are drawn; more only darken the middle."""


def draw(
    spec: ModelSpec, labels: Any, scores: Mapping[str, Any], importance: dict[str, Any], folder: Path
) -> list[Path]:
    """PNG files: for a classification calibration, ROC, precision-recall and confusion at the threshold, for a
    multiclass calibration and ROC of each class and the confusion of the likeliest, for a regression predicted against
    actual and residuals; importance for all."""
    folder.mkdir(parents=True, exist_ok=True)
    of_task = {"regression": _regression, "multiclass": _multiclass}.get(spec.task, _classification)
    drawn = of_task(spec, labels, scores) | {"importance": lambda axes: explanations.draw(axes, importance)}
    return [_figure(folder / f"{name}.png", painter) for name, painter in drawn.items()]


def _classification(spec: ModelSpec, labels: Any, scores: Mapping[str, Any]) -> dict[str, Painter]:
    return {
        "calibration": lambda axes: _calibration(axes, spec.label.name, labels, scores),
        "roc": lambda axes: _curve(axes, "roc", labels, scores),
        "precision_recall": lambda axes: _curve(axes, "pr", labels, scores),
        "confusion": lambda axes: _confusion(axes, spec, labels, scores["candidate"]),
    }


def _multiclass(spec: ModelSpec, labels: Any, scores: Mapping[str, Any]) -> dict[str, Painter]:
    classes, said = [str(each) for each in spec.label.classes], scores["candidate"]
    return {
        "calibration": lambda axes: _class_calibration(axes, classes, labels, said),
        "roc": lambda axes: _class_curves(axes, classes, labels, said),
        "confusion": lambda axes: _class_confusion(axes, classes, labels, said),
    }


def _class_calibration(axes: "Axes", classes: list[str], labels: Any, said: Any) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect")
    for place, name in enumerate(classes):
        points = curve(1.0 * (labels == place), said[:, place], 10)
        axes.plot([p for p, _, _ in points], [h for _, h, _ in points], marker="o", markersize=3, label=name)
    axes.set(
        title="The candidate's calibration, class by class",
        xlabel="predicted probability",
        ylabel="share of the class",
    )
    axes.legend(fontsize=7)


def _class_curves(axes: "Axes", classes: list[str], labels: Any, said: Any) -> None:
    from sklearn.metrics import RocCurveDisplay

    for place, name in enumerate(classes):
        if (labels == place).any() and (labels != place).any():
            RocCurveDisplay.from_predictions(labels == place, said[:, place], name=name, ax=axes)
    axes.set_title("The candidate's ROC, each class against the rest")
    axes.legend(fontsize=7)


def _class_confusion(axes: "Axes", classes: list[str], labels: Any, said: Any) -> None:
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    counts = confusion_matrix(labels, decided(said), labels=range(len(classes)))
    ConfusionMatrixDisplay(counts, display_labels=classes).plot(
        ax=axes, colorbar=False, xticks_rotation="vertical"
    )
    axes.set_title("What the likeliest class was, and what it is")


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
