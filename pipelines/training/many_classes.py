"""Metrics of more than two classes, and what they are made of: each row's loss, its decision, its place in the truth.

Labels are the classes' places in the spec's order, from 0; answers hold a row of probabilities for each of them. A mean
over classes is over those that occur among the labels: what never happened can be neither found nor missed.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUM = 1e-6
"""How far a row of probabilities may be from one in sum; 32-bit floats are a tenth of that."""


def are_probabilities(found: "NDArray[Any]", classes: int) -> bool:
    """Whether each row holds a probability of each class, and they sum to one."""
    import numpy as np

    if found.ndim != 2 or found.shape[1] != classes or not np.isfinite(found).all():
        return False
    return bool(((found >= 0) & (found <= 1)).all() and (abs(found.sum(axis=1) - 1) <= SUM).all())


def decided(found: "NDArray[Any]") -> "NDArray[Any]":
    """The place of the likeliest class; of equals the first in the spec's order."""
    import numpy as np

    return np.asarray(found.argmax(axis=1))


def happened(labels: "NDArray[Any]", classes: int) -> "NDArray[Any]":
    """One column per class, 1 in the rows that are of it."""
    import numpy as np

    return np.asarray(labels[:, None] == np.arange(classes), dtype="float64")


def row_losses(metric: str, labels: "NDArray[Any]", found: "NDArray[Any]") -> "NDArray[Any]":
    """Each row's loss in a metric that is a mean over rows; smaller is better. Brier's is from 0 to 2."""
    import numpy as np

    if metric == "brier":
        return np.asarray(((found - happened(labels, found.shape[1])) ** 2).sum(axis=1))
    if metric == "accuracy":
        return np.asarray(decided(found) != labels, dtype="float64")
    tiny = np.finfo("float64").eps  # as scikit-learn clips
    of_truth = np.take_along_axis(found, labels.astype("int64")[:, None], axis=1)[:, 0]
    return np.asarray(-np.log(np.clip(of_truth, tiny, 1 - tiny)))


def measure(name: str, labels: "NDArray[Any]", found: "NDArray[Any]") -> float:
    """One metric of answers, as scikit-learn defines it; F1 and AUC are one class against the rest, then their mean."""
    import numpy as np
    from sklearn import metrics

    if name in ("log_loss", "brier"):
        return float(row_losses(name, labels, found).mean())
    if name == "roc_auc":
        aucs = [metrics.roc_auc_score(labels == place, found[:, int(place)]) for place in np.unique(labels)]
        return float(np.mean(aucs))
    if name == "f1":
        score = metrics.f1_score(
            labels, decided(found), labels=np.unique(labels), average="macro", zero_division=0
        )
        return float(score)
    if name == "balanced_accuracy":
        return float(np.mean(recalls(labels, found)[np.unique(labels).astype("int64")]))
    return float(metrics.accuracy_score(labels, decided(found)))


def recalls(labels: "NDArray[Any]", found: "NDArray[Any]") -> "NDArray[Any]":
    """Per class the share of its rows that is predicted as it; NaN where it has no row."""
    import numpy as np

    rows = happened(labels, found.shape[1])
    hits = (rows * (decided(found) == labels)[:, None]).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray(hits / rows.sum(axis=0))
