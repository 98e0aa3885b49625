"""Whether what the candidate says happens as often as it says."""

from typing import TYPE_CHECKING, Any

from pipelines.contracts import Rule
from pipelines.gate.case import Case
from pipelines.gate.resampling import CONFIDENCE, Estimate, Limit, at_most, estimate, sums, weights

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check(case: Case) -> list[Rule]:
    """The gap over the bins and the gap as a whole; no rule for a regression or where the spec asks for none."""
    asked = case.spec.gate.calibration
    if asked is None or case.spec.task != "classification":
        return []
    labels, said, rows = case.labels, case.answers["candidate"], len(case.labels)
    over_bins = binned(labels, said, case.blocks, asked.bins)
    whole = in_the_large(labels, said, case.blocks)
    return [
        at_most(
            Limit(f"calibration over {asked.bins} bins", "calibration_error", asked.error, rows),
            over_bins,
            f"predicted and happened differ by {over_bins.value:.4f} on average over {asked.bins} bins, noise of "
            f"{over_bins.noise:.4f} taken off ({_interval(over_bins)}); at most {asked.error}",
        ),
        at_most(
            Limit("calibration in the large", "mean_gap", asked.mean, rows),
            whole,
            f"{said.mean():.4f} predicted on average, {labels.mean():.4f} happened: {whole.value:.4f} apart "
            f"({_interval(whole)}); at most {asked.mean}",
        ),
    ]


def binned(labels: "NDArray[Any]", said: "NDArray[Any]", blocks: "NDArray[Any]", bins: int) -> Estimate:
    """The mean gap over bins of equally many rows, without what noise alone would give."""
    import numpy as np

    place = np.empty(len(said), dtype="int64")
    for number, part in enumerate(np.array_split(np.argsort(said, kind="stable"), bins)):
        place[part] = number
    codes = np.unique(blocks, return_inverse=True)[1]
    gaps, counts = sums(codes, said - labels, place, bins), np.bincount(codes)
    drawn = weights(len(counts))
    found = estimate(
        float(abs(gaps.sum(axis=0)).sum() / len(said)), abs(drawn @ gaps).sum(axis=1) / (drawn @ counts)
    )
    quiet = max(0.0, found.value - found.noise)
    return Estimate(quiet, found.noise, min(found.low, quiet), found.high)


def in_the_large(labels: "NDArray[Any]", said: "NDArray[Any]", blocks: "NDArray[Any]") -> Estimate:
    """The distance between the mean answer and what happened; 0 lies in the interval if nothing shows the sign."""
    import numpy as np

    codes = np.unique(blocks, return_inverse=True)[1]
    gaps, counts = np.bincount(codes, said - labels), np.bincount(codes)
    drawn, gap, tail = weights(len(counts)), float((said - labels).mean()), (1 - CONFIDENCE) / 2
    ends = 2 * gap - np.quantile((drawn @ gaps) / (drawn @ counts), [1 - tail, tail])
    low = 0.0 if ends[0] <= 0 <= ends[1] else float(abs(ends).min())
    return Estimate(abs(gap), 0.0, min(low, abs(gap)), float(abs(ends).max()))


def curve(labels: "NDArray[Any]", said: "NDArray[Any]", bins: int) -> list[tuple[float, float, int]]:
    """Per bin of equally many rows: mean predicted, share that happened, rows."""
    import numpy as np

    parts = np.array_split(np.argsort(said, kind="stable"), bins)
    return [(float(said[p].mean()), float(labels[p].mean()), len(p)) for p in parts if len(p)]


def _interval(found: Estimate) -> str:
    return f"{CONFIDENCE:.0%} interval {found.low:.4f} to {found.high:.4f}"
