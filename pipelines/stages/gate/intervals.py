"""How sure we are that one model is better than another on the same rows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.catalog import Comparison
from pipelines.contracts import Decision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DRAWS = 2000


@dataclass(frozen=True)
class Improvement:
    """Mean improvement in loss per row (positive: the candidate is better) and its interval."""

    mean: float
    low: float
    high: float
    blocks: int


def losses(
    metric: str, labels: "NDArray[np.float64]", chances: "NDArray[np.float64]"
) -> "NDArray[np.float64]":
    """Each row's log_loss or brier; smaller is better."""
    import numpy as np

    if metric == "brier":
        return np.asarray((chances - labels) ** 2)
    clipped = np.clip(chances, 1e-15, 1 - 1e-15)
    return np.asarray(-(labels * np.log(clipped) + (1 - labels) * np.log(1 - clipped)))


def improvement(
    ours: "NDArray[np.float64]", theirs: "NDArray[np.float64]", blocks: "NDArray[np.int64]", confidence: float
) -> Improvement:
    """The paired interval of theirs - ours, rows of one block resampled together.

    Flights of one hour share their weather, so rows are not independent; a bootstrap over blocks does not
    pretend that they are. The draws have a fixed seed: the same rows give the same verdict.
    """
    import numpy as np

    gain = theirs - ours
    codes = np.unique(blocks, return_inverse=True)[1]
    sums, counts = np.bincount(codes, gain), np.bincount(codes)
    picks = np.random.default_rng(0).integers(0, len(sums), (DRAWS, len(sums)))
    means = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Improvement(float(gain.mean()), float(low), float(high), len(sums))


def decide(rule: Comparison, found: Improvement) -> Decision:
    """PASS only if the whole interval is on the right side of the bound; FAIL only if all is on the wrong."""
    bound = 0.0 if rule.rule == "better" else -rule.margin
    if found.low > bound:
        return Decision.PASS
    return Decision.FAIL if found.high < bound else Decision.INCONCLUSIVE
