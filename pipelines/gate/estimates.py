"""A metric on all rows, and without each block of them in turn: what the jackknife's intervals are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.catalog.gate_spec import METRICS, Task
from pipelines.training.many_classes import decided, happened, row_losses
from pipelines.training.metrics import CUT, defined, measure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Blocks = NDArray[np.int64]

RUNS = 15
"""A metric that is no function of sums is computed again without each of so many runs of blocks."""


@dataclass(frozen=True)
class Estimate:
    """A number, what it is without each block in turn, and each block's share of the rows."""

    whole: float
    without: "Numbers"
    shares: "Numbers"


def losses(metric: str, labels: "Numbers", said: "Numbers") -> "Numbers":
    """Each row's loss in a metric that is a mean over rows; smaller is better."""
    import numpy as np

    if said.ndim > 1:
        return row_losses(metric, labels, said)
    if metric in ("brier", "rmse", "r2"):
        return np.asarray((said - labels) ** 2)
    if metric in ("mae", "median_ae"):
        return np.asarray(abs(said - labels))
    if metric == "accuracy":
        return np.asarray((said >= CUT) != (labels == 1), dtype="float64")
    tiny = np.finfo("float64").eps  # as scikit-learn clips
    clipped = np.clip(said, tiny, 1 - tiny)
    return np.asarray(-(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)))


def estimated(metric: str, labels: "Numbers", said: "Numbers", codes: "Blocks") -> Estimate:
    """Any metric of the catalog, with and without each block (`codes`, counted from 0)."""
    if said.ndim > 1 and metric in BY_CLASS:
        return _each_class(metric, labels, said, codes)
    return _METHODS.get(metric, _recomputed)(metric, labels, said, codes)


def codes_of(blocks: "Blocks") -> "Blocks":
    import numpy as np

    return np.asarray(np.unique(blocks, return_inverse=True)[1])


def _shares(codes: "Blocks") -> "Numbers":
    import numpy as np

    return np.bincount(codes) / len(codes)


def ratio(parts: "Numbers", codes: "Blocks", value: Callable[[Any], Any]) -> Estimate:
    """A function of sums over rows (the columns of `parts`), with and without each block."""
    import numpy as np

    sums = np.column_stack([np.bincount(codes, part) for part in parts.T])
    total = sums.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Estimate(float(value(total)), np.asarray(value(total - sums)), _shares(codes))


def _mean_loss(metric: str, labels: "Numbers", said: "Numbers", codes: "Blocks") -> Estimate:
    import numpy as np

    lost = losses(metric, labels, said)
    values: dict[str, Callable[[Any], Any]] = {
        "accuracy": lambda sums: 1 - sums[..., 0] / sums[..., 1],
        "rmse": lambda sums: (sums[..., 0] / sums[..., 1]) ** 0.5,
    }
    mean = values.get(metric, lambda sums: sums[..., 0] / sums[..., 1])
    return ratio(np.column_stack([lost, np.ones(len(lost))]), codes, mean)


def _f1(_: str, labels: "Numbers", said: "Numbers", codes: "Blocks") -> Estimate:
    import numpy as np

    called, true = said >= CUT, labels == 1
    parts = np.column_stack([2.0 * (called & true), 1.0 * called + true])
    return ratio(parts, codes, lambda sums: sums[..., 0] / sums[..., 1])


def _r2(metric: str, labels: "Numbers", said: "Numbers", codes: "Blocks") -> Estimate:
    import numpy as np

    away = labels - labels.mean()
    parts = np.column_stack([losses(metric, labels, said), away**2, away, np.ones(len(away))])
    return ratio(parts, codes, lambda s: 1 - s[..., 0] / (s[..., 1] - s[..., 2] ** 2 / s[..., 3]))


def _roc_auc(_: str, labels: "Numbers", said: "Numbers", codes: "Blocks") -> Estimate:
    """From pairs won, as DeLong's: without a block are all pairs but those in which it has a part."""
    import numpy as np

    true, blocks = labels == 1, int(codes.max()) + 1
    wins = _beaten(said, ~true)
    positives, negatives = (np.bincount(codes, part, blocks) for part in (true, ~true))
    by_positive = np.bincount(codes, wins * true, blocks)
    lost = (true.sum() - _beaten(said, true)) * ~true
    within = np.bincount(codes, _beaten_within(said, ~true, codes) * true, blocks)
    without = by_positive.sum() - by_positive - np.bincount(codes, lost, blocks) + within
    pairs = (positives.sum() - positives) * (negatives.sum() - negatives)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = float(by_positive.sum() / (positives.sum() * negatives.sum()))
        return Estimate(whole, without / pairs, _shares(codes))


def _beaten(said: "Numbers", others: "NDArray[np.bool_]") -> "Numbers":
    """How many of the others each answer lies above; a tie is half a win."""
    import numpy as np

    ordered = np.sort(said[others])
    below, up_to = (np.searchsorted(ordered, said, side) for side in ("left", "right"))
    return np.asarray((below + up_to) / 2)


def _beaten_within(said: "Numbers", others: "NDArray[np.bool_]", codes: "Blocks") -> "Numbers":
    """The same among the others of a row's own block."""
    import numpy as np

    places = np.unique(said, return_inverse=True)[1]
    before = np.concatenate([[0], np.cumsum(np.bincount(codes, others))])[codes]
    return np.asarray(_beaten(codes * (places.max() + 1.0) + places, others) - before)


def _recomputed(metric: str, labels: "Numbers", said: "Numbers", codes: "Blocks") -> Estimate:
    """The metric itself without each of some runs of blocks, equally long in rows.

    Leaving out single blocks would mislead for medians and gaps, which jump.
    """
    import numpy as np

    groups = _runs(codes)
    kept = [groups != group for group in range(int(groups.max()) + 1)]
    without = [_measured(metric, labels[keep], said[keep]) for keep in kept]
    return Estimate(measure(metric, labels, said), np.array(without), _shares(groups))


def _runs(codes: "Blocks") -> "Blocks":
    import numpy as np

    sizes = np.bincount(codes)
    middle = np.cumsum(sizes) - sizes / 2
    return codes_of((middle * min(RUNS, len(sizes)) // len(codes)).astype("int64")[codes])


def _measured(metric: str, labels: "Numbers", said: "Numbers") -> float:
    """The metric; no number where it has no meaning."""
    tasks = METRICS[metric][0]
    task: Task = "multiclass" if said.ndim > 1 else tasks[0]
    return measure(metric, labels, said) if defined(task, labels) else float("nan")


def _each_class(metric: str, labels: "Numbers", said: "Numbers", codes: "Blocks") -> Estimate:
    """The mean over the classes that happened of a metric of one class against the rest."""
    import numpy as np

    asked = said if metric == "roc_auc" else happened(decided(said), said.shape[1])
    places = np.unique(labels).astype("int64")
    found = [_METHODS[metric](metric, 1.0 * (labels == at), asked[:, at], codes) for at in places]
    whole, without = (
        float(np.mean([each.whole for each in found])),
        np.mean([each.without for each in found], axis=0),
    )
    return Estimate(whole, without, found[0].shares)


def _recall(_: str, labels: "Numbers", said: "Numbers", codes: "Blocks") -> Estimate:
    import numpy as np

    true = labels == 1
    parts = np.column_stack([1.0 * (true & (said >= CUT)), 1.0 * true])
    return ratio(parts, codes, lambda sums: sums[..., 0] / sums[..., 1])


_METHODS: dict[str, Callable[[str, Any, Any, Any], Estimate]] = {
    **dict.fromkeys(("log_loss", "brier", "accuracy", "mae", "rmse"), _mean_loss),
    "f1": _f1,
    "r2": _r2,
    "roc_auc": _roc_auc,
    "balanced_accuracy": _recall,
}
"""How a metric is estimated with and without each block; the others are recomputed."""
BY_CLASS = ("f1", "roc_auc", "balanced_accuracy")
"""Of more than two classes these are estimated class by class."""
