"""How sure we are that one model is better than another on the same rows.

Rows of one hour share their weather, so whole blocks of rows are left out in turn: the jackknife. It needs no draws,
so the same rows give the same verdict, and it is one method for every metric and both tasks. Neighbouring hours share
their weather as well (on the flights of 2013 what one hour gains goes with the next at 0.3 to 0.6, which made
intervals of independent hours 1.3 to 2 times too narrow), so the spread is taken from slow waves over the hours:
equally weighted cosines with Student's t (Lazarus, Lewis, Stock and Watson, 2018).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.catalog import Comparison
from pipelines.catalog.gate_spec import METRICS
from pipelines.contracts import Decision
from pipelines.training.metrics import CUT, measure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Blocks = NDArray[np.int64]

RUNS = 15
"""A metric that is no function of sums is computed again without each of so many runs of blocks."""
ORDERED = 20
"""From so many blocks on their order counts; fewer are days or runs, long enough to go alone."""
FEWEST = 4
"""Waves from which a spread is taken at least."""
POWER = 0.8
"""How often a real effect should be seen when rows are asked for."""


@dataclass(frozen=True)
class Improvement:
    """How much better the candidate is, in the metric's own units (positive: better), and the interval.

    `error` is the standard error, `freedom` its degrees of freedom.
    """

    mean: float
    low: float
    high: float
    blocks: int
    error: float = float("nan")
    freedom: float = 1.0


@dataclass(frozen=True)
class Estimate:
    """A number, what it is without each block in turn, and each block's share of the rows."""

    whole: float
    without: "Numbers"
    shares: "Numbers"


def losses(metric: str, labels: "Numbers", said: "Numbers") -> "Numbers":
    """Each row's loss in a metric that is a mean over rows; smaller is better."""
    import numpy as np

    if metric in ("brier", "rmse", "r2"):
        return np.asarray((said - labels) ** 2)
    if metric in ("mae", "median_ae"):
        return np.asarray(abs(said - labels))
    if metric == "accuracy":
        return np.asarray((said >= CUT) != (labels == 1), dtype="float64")
    tiny = np.finfo("float64").eps  # as scikit-learn clips
    clipped = np.clip(said, tiny, 1 - tiny)
    return np.asarray(-(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)))


def paired_improvement(
    metric: str, labels: "Numbers", ours: "Numbers", theirs: "Numbers", blocks: "Blocks", confidence: float
) -> Improvement:
    """The interval of ours against theirs in any metric of the catalog, on identical rows."""
    estimate, codes = _METHODS.get(metric, _recomputed), _codes(blocks)
    mine, other = (estimate(metric, labels, said, codes) for said in (ours, theirs))
    sign = 1 if METRICS[metric][1] else -1
    gain = Estimate(sign * (mine.whole - other.whole), sign * (mine.without - other.without), mine.shares)
    return interval(gain, int(codes.max()) + 1, confidence)


def improvement(ours: "Numbers", theirs: "Numbers", blocks: "Blocks", confidence: float) -> Improvement:
    """The paired interval of the mean of theirs - ours, losses of the same rows."""
    import numpy as np

    codes = _codes(blocks)
    found = _ratio(
        np.column_stack([theirs - ours, np.ones(len(ours))]), codes, lambda s: s[..., 0] / s[..., 1]
    )
    return interval(found, int(codes.max()) + 1, confidence)


def interval(found: Estimate, blocks: int, confidence: float) -> Improvement:
    """Student's t interval from the jackknife; blocks of unequal size count as fewer (Kish)."""
    import numpy as np
    from scipy.special import stdtrit

    pulls = found.whole - found.without
    if len(pulls) < 2 or not np.isfinite(pulls).all():
        return Improvement(found.whole, -float("inf"), float("inf"), blocks)
    effective = 1 / float((found.shares**2).sum())
    freedom = max(1.0, min(effective - 1, waves(len(pulls)) or effective))
    error = standard_error(pulls)
    reach = float(stdtrit(freedom, (1 + confidence) / 2)) * error
    return Improvement(found.whole, found.whole - reach, found.whole + reach, blocks, error, freedom)


def waves(blocks: int) -> int:
    """How many cosines tell the spread of so many blocks in order; 0 where they are taken to go alone."""
    return max(FEWEST, int(0.41 * blocks ** (2 / 3))) if blocks >= ORDERED else 0


def standard_error(pulls: "Numbers") -> float:
    """Of an estimate, from how far each block left out pulls it, blocks in the order of time.

    Never less than if the blocks went alone: slow waves are few, and can be small by luck.
    """
    import numpy as np

    count, many = len(pulls), waves(len(pulls))
    alone = float(((count - 1) / count * (pulls**2).sum()) ** 0.5)
    if not many:
        return alone
    turns = np.pi * np.arange(1, many + 1)[:, None] * (np.arange(count) + 0.5) / count
    parts = (2 / count) ** 0.5 * np.cos(turns) @ pulls
    return max(alone, float((count - 1) * ((parts**2).mean() / count) ** 0.5))


def decide(rule: Comparison, found: Improvement) -> Decision:
    """PASS only if the whole interval is on the right side of the bound; FAIL only if all is on the wrong."""
    if found.low > rule.bound:
        return Decision.PASS
    return Decision.FAIL if found.high < rule.bound else Decision.INCONCLUSIVE


def needed(
    found: Improvement, effect: float, confidence: float, rows: int, power: float = POWER
) -> int | None:
    """How many rows like these show this effect so often; None where their spread is not known."""
    from math import ceil, isfinite

    from scipy.special import ndtri, stdtrit

    if not isfinite(found.error) or found.error == 0 or effect <= 0:
        return None
    wanted = float(rows)
    for _ in range(10):  # more rows also know their spread better
        freedom = max(1.0, found.freedom * (wanted / rows) ** (2 / 3))
        reach = float(stdtrit(freedom, (1 + confidence) / 2)) + float(ndtri(power))
        wanted = rows * (reach * found.error / effect) ** 2
    return ceil(wanted)


def _codes(blocks: "Blocks") -> "Blocks":
    import numpy as np

    return np.asarray(np.unique(blocks, return_inverse=True)[1])


def _shares(codes: "Blocks") -> "Numbers":
    import numpy as np

    return np.bincount(codes) / len(codes)


def _ratio(parts: "Numbers", codes: "Blocks", value: Callable[[Any], Any]) -> Estimate:
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
    return _ratio(np.column_stack([lost, np.ones(len(lost))]), codes, mean)


def _f1(_: str, labels: "Numbers", said: "Numbers", codes: "Blocks") -> Estimate:
    import numpy as np

    called, true = said >= CUT, labels == 1
    parts = np.column_stack([2.0 * (called & true), 1.0 * called + true])
    return _ratio(parts, codes, lambda sums: sums[..., 0] / sums[..., 1])


def _r2(metric: str, labels: "Numbers", said: "Numbers", codes: "Blocks") -> Estimate:
    import numpy as np

    away = labels - labels.mean()
    parts = np.column_stack([losses(metric, labels, said), away**2, away, np.ones(len(away))])
    return _ratio(parts, codes, lambda s: 1 - s[..., 0] / (s[..., 1] - s[..., 2] ** 2 / s[..., 3]))


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
    return _codes((middle * min(RUNS, len(sizes)) // len(codes)).astype("int64")[codes])


def _measured(metric: str, labels: "Numbers", said: "Numbers") -> float:
    """The metric; no number where it has no meaning."""
    from pipelines.training.metrics import defined

    return measure(metric, labels, said) if defined(METRICS[metric][0], labels) else float("nan")


_METHODS = {
    **dict.fromkeys(("log_loss", "brier", "accuracy", "mae", "rmse"), _mean_loss),
    "f1": _f1,
    "r2": _r2,
    "roc_auc": _roc_auc,
}
"""How a metric is estimated with and without each block; the others are recomputed."""
