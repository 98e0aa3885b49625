"""What a model's answers are worth, in the field's own measures."""

from typing import TYPE_CHECKING, Any

from pipelines.catalog.gate_spec import Task, metrics_of
from pipelines.training import many_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 10
CUT = 0.5
"""Where accuracy and F1 split probabilities."""


def measures(task: Task, labels: "NDArray[Any]", found: "NDArray[Any]") -> dict[str, float]:
    """Every metric of the task, with rows and, for classification, the share of positives."""
    import numpy as np

    facts = {"rows": float(len(labels))}
    if task == "classification":
        facts["prevalence"] = float(labels.mean()) if len(labels) else 0.0
    if not defined(task, labels) or not np.isfinite(found).all():
        return facts
    return facts | {name: measure(name, labels, found) for name in metrics_of(task)}


def defined(task: Task, labels: "NDArray[Any]") -> bool:
    """Whether the metrics mean something: rows, of both classes, or of two classes at least where there are more."""
    import numpy as np

    if task == "multiclass":
        return len(np.unique(labels)) > 1
    return len(labels) > 0 and (task == "regression" or set(np.unique(labels)) == {0.0, 1.0})


def measure(name: str, labels: "NDArray[Any]", found: "NDArray[Any]") -> float:
    """One metric of answers, as scikit-learn defines it; `calibration_error` is ours, below.

    `found` has a number per row, or a row of probabilities, one per class; labels are then the classes' places.
    """
    from sklearn import metrics

    if found.ndim > 1:
        return _of_classes(name, labels, found)
    if name == "calibration_error":
        return calibration_error(labels, found, BINS)
    of_decisions = {"accuracy": metrics.accuracy_score, "f1": metrics.f1_score}
    if name in of_decisions:
        return float(of_decisions[name](labels, found >= CUT))
    functions = {
        "roc_auc": metrics.roc_auc_score,
        "average_precision": metrics.average_precision_score,
        "log_loss": metrics.log_loss,
        "brier": metrics.brier_score_loss,
        "r2": metrics.r2_score,
        "mae": metrics.mean_absolute_error,
        "rmse": metrics.root_mean_squared_error,
        "median_ae": metrics.median_absolute_error,
    }
    return float(functions[name](labels, found))


def _of_classes(name: str, labels: "NDArray[Any]", found: "NDArray[Any]") -> float:
    """One metric of rows of probabilities; the calibration error is that of the worst class."""
    if name != "calibration_error":
        return many_classes.measure(name, labels, found)
    happened = many_classes.happened(labels, found.shape[1])
    return max(calibration_error(*pair, BINS) for pair in zip(happened.T, found.T, strict=True))


def calibration_error(labels: "NDArray[Any]", found: "NDArray[Any]", bins: int) -> float:
    """The mean gap between what was said and what happened, over bins of equally many rows."""
    import numpy as np

    parts = np.array_split(np.argsort(found, kind="stable"), bins)
    gaps = [(len(part), abs(found[part].mean() - labels[part].mean())) for part in parts if len(part)]
    return float(sum(size * gap for size, gap in gaps) / len(labels))
