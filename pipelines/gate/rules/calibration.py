"""Whether what the candidate says happens as often as it says."""

from typing import TYPE_CHECKING, Any

from pipelines.contracts import Rule
from pipelines.gate.case import Case
from pipelines.gate.resampling import CONFIDENCE, Estimate, Limit, at_most, estimate, sums, weights
from pipelines.training.many_classes import happened

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check(case: Case) -> list[Rule]:
    """The gap over the bins and the gap as a whole, of the worst class where there are more than two; no rule for a
    regression or where the spec asks for none."""
    asked, sides = case.spec.gate.calibration, _sides(case)
    if asked is None or not sides:
        return []
    rows, each = len(case.labels), 1 - (1 - CONFIDENCE) / len(sides)
    bins = {name: binned(*pair, case.blocks, asked.bins, each) for name, pair in sides.items()}
    large = {name: in_the_large(*pair, case.blocks, each) for name, pair in sides.items()}
    uneven, off = (max(found, key=lambda name: found[name].value) for found in (bins, large))
    over_bins, whole, (labels, said) = bins[uneven], large[off], sides[off]
    return [
        at_most(
            Limit(f"calibration over {asked.bins} bins", "calibration_error", asked.error, rows),
            over_bins,
            f"{_worst(uneven, sides)}predicted and happened differ by {over_bins.value:.4f} on average over "
            f"{asked.bins} bins, noise of {over_bins.noise:.4f} taken off "
            f"({_interval(over_bins, each)}); at most {asked.error}",
            each,
        ),
        at_most(
            Limit("calibration in the large", "mean_gap", asked.mean, rows),
            whole,
            f"{_worst(off, sides)}{said.mean():.4f} predicted on average, {labels.mean():.4f} happened: "
            f"{whole.value:.4f} apart ({_interval(whole, each)}); at most {asked.mean}",
            each,
        ),
    ]


def _sides(case: Case) -> dict[str, tuple["NDArray[Any]", "NDArray[Any]"]]:
    """What happened and what was said of it: of the positive class, of each of many, of nothing for a regression."""
    labels, said, classes = case.labels, case.answers["candidate"], case.spec.label.classes
    if classes:
        columns = zip(happened(labels, len(classes)).T, said.T, strict=True)
        return dict(zip(map(str, classes), columns, strict=True))
    return {"": (labels, said)} if case.spec.task == "classification" else {}


def _worst(name: str, sides: dict[str, Any]) -> str:
    return f"{name}, the worst of {len(sides)} classes: " if name else ""


def binned(
    labels: "NDArray[Any]",
    said: "NDArray[Any]",
    blocks: "NDArray[Any]",
    bins: int,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """The mean gap over bins of equally many rows, without what noise alone would give."""
    import numpy as np

    place = np.empty(len(said), dtype="int64")
    for number, part in enumerate(np.array_split(np.argsort(said, kind="stable"), bins)):
        place[part] = number
    codes = np.unique(blocks, return_inverse=True)[1]
    gaps, counts = sums(codes, said - labels, place, bins), np.bincount(codes)
    drawn = weights(len(counts))
    found = estimate(
        float(abs(gaps.sum(axis=0)).sum() / len(said)),
        abs(drawn @ gaps).sum(axis=1) / (drawn @ counts),
        confidence,
    )
    quiet = max(0.0, found.value - found.noise)
    return Estimate(quiet, found.noise, min(found.low, quiet), found.high)


def in_the_large(
    labels: "NDArray[Any]", said: "NDArray[Any]", blocks: "NDArray[Any]", confidence: float = CONFIDENCE
) -> Estimate:
    """The distance between the mean answer and what happened; 0 lies in the interval if nothing shows the sign."""
    import numpy as np

    codes = np.unique(blocks, return_inverse=True)[1]
    gaps, counts = np.bincount(codes, said - labels), np.bincount(codes)
    drawn, gap, tail = weights(len(counts)), float((said - labels).mean()), (1 - confidence) / 2
    ends = 2 * gap - np.quantile((drawn @ gaps) / (drawn @ counts), [1 - tail, tail])
    low = 0.0 if ends[0] <= 0 <= ends[1] else float(abs(ends).min())
    return Estimate(abs(gap), 0.0, min(low, abs(gap)), float(abs(ends).max()))


def curve(labels: "NDArray[Any]", said: "NDArray[Any]", bins: int) -> list[tuple[float, float, int]]:
    """Per bin of equally many rows: mean predicted, share that happened, rows."""
    import numpy as np

    parts = np.array_split(np.argsort(said, kind="stable"), bins)
    return [(float(said[p].mean()), float(labels[p].mean()), len(p)) for p in parts if len(p)]


def _interval(found: Estimate, confidence: float) -> str:
    return f"{100 * confidence:.3g}% interval {found.low:.4f} to {found.high:.4f}"
