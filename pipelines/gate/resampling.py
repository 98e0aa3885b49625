"""How sure a number is that has no paired other: whole blocks of rows are drawn again, all of a block or none."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.contracts import Decision, Kind, Rule

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number, what noise alone adds to it, and its interval."""

    value: float
    noise: float
    low: float
    high: float


@dataclass(frozen=True)
class Limit:
    """What a number is held against, and what it is called."""

    name: str
    metric: str
    at_most: float
    rows: int


def weights(blocks: int) -> "NDArray[Any]":
    """How often each block is drawn, a row per draw; the seed is fixed, so the same rows give the same verdict."""
    import numpy as np

    return np.random.default_rng(0).multinomial(blocks, np.full(blocks, 1 / blocks), DRAWS).astype("float64")


def sums(codes: "NDArray[Any]", values: "NDArray[Any]", among: "NDArray[Any]", many: int) -> "NDArray[Any]":
    """Per block (`codes`, counted from 0) and per part (`among`, 0 to many - 1) the sum of a value."""
    import numpy as np

    blocks = int(codes.max()) + 1
    flat = np.bincount(codes * many + among, values, minlength=blocks * many)
    return np.asarray(flat.reshape(blocks, many))


def estimate(value: float, drawn: "NDArray[Any]", confidence: float = CONFIDENCE) -> Estimate:
    """The basic bootstrap interval of a number that cannot be negative.

    A mean of absolute gaps, or a largest difference, is above 0 by noise alone, and a draw adds the same noise once
    more. Mirrored at the value, the draws take it off again; percentiles would count it twice.
    """
    import numpy as np

    tail = (1 - confidence) / 2
    below, above = np.quantile(drawn, [tail, 1 - tail])
    low, high = (max(0.0, float(2 * value - end)) for end in (above, below))
    return Estimate(value, max(0.0, float(drawn.mean()) - value), min(low, value), max(high, value))


def at_most(limit: Limit, found: Estimate, explanation: str, confidence: float = CONFIDENCE) -> Rule:
    """PASS at or below the bound, FAIL if the whole interval lies above it, INCONCLUSIVE between.

    Above the bound is never cleared, however noisy: more rows must show that it was noise.
    """
    if found.value <= limit.at_most:
        decision = Decision.PASS
    else:
        decision = Decision.FAIL if found.low > limit.at_most else Decision.INCONCLUSIVE
    return Rule(
        limit.name,
        decision,
        explanation,
        value=found.value,
        bound=limit.at_most,
        low=found.low,
        high=found.high,
        kind=Kind.AT_MOST,
        metric=limit.metric,
        rows=limit.rows,
        confidence=confidence,
    )
