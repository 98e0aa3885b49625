"""How sure we are that one model is better than another on the same rows.

Rows of one hour share their weather, so whole blocks of rows are left out in turn: the jackknife. It needs no draws,
so the same rows give the same verdict, and it is one method for every metric and both tasks. Neighbouring hours share
their weather as well (on the flights of 2013 what one hour gains goes with the next at 0.3 to 0.6, which made
intervals of independent hours 1.3 to 2 times too narrow), so the spread is taken from slow waves over the hours:
equally weighted cosines with Student's t (Lazarus, Lewis, Stock and Watson, 2018).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.catalog import Comparison
from pipelines.catalog.gate_spec import METRICS
from pipelines.contracts import Decision
from pipelines.gate.estimates import Estimate, codes_of, estimated, ratio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Blocks = NDArray[np.int64]

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


def paired_improvement(
    metric: str, labels: "Numbers", ours: "Numbers", theirs: "Numbers", blocks: "Blocks", confidence: float
) -> Improvement:
    """The interval of ours against theirs in any metric of the catalog, on identical rows."""
    codes = codes_of(blocks)
    mine, other = (estimated(metric, labels, said, codes) for said in (ours, theirs))
    sign = 1 if METRICS[metric][1] else -1
    gain = Estimate(sign * (mine.whole - other.whole), sign * (mine.without - other.without), mine.shares)
    return interval(gain, int(codes.max()) + 1, confidence)


def improvement(ours: "Numbers", theirs: "Numbers", blocks: "Blocks", confidence: float) -> Improvement:
    """The paired interval of the mean of theirs - ours, losses of the same rows."""
    import numpy as np

    codes = codes_of(blocks)
    found = ratio(
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
