"""What earlier batches were like, as bounds that a suite names: {"$PARAMETER": "distance_mean_low"}.

For every number `<column>_mean_low` and `_high`, for every column `<column>_filled_low` (the share that is not
null), for the volume `rows_low` and `rows_high`, and for freshness `newest_low`.
"""

from datetime import datetime, timedelta
from math import sqrt
from statistics import median
from typing import TYPE_CHECKING

from pipelines.catalog import DatasetSpec
from pipelines.stores import Stores

if TYPE_CHECKING:
    from pipelines.reading.staging import Staging

LAST = 30
"""How many earlier batches count."""
ENOUGH = 7
"""With fewer earlier batches there is no history to speak of, and no bound."""
SPREADS = 10.0
"""How many times the usual spread (median absolute deviation) from the median is still usual."""
VOLUME = 10.0
"""How many times more or fewer rows an hour than the median are still usual."""
STALE = timedelta(days=7)
"""A batch whose newest row is this much older than what is known brings nothing fresh."""

Bounds = dict[str, float | datetime]


def parameters(spec: DatasetSpec, staged: "Staging", stores: Stores) -> Bounds:
    """The bounds by name; empty while the history is too short."""
    profiles, known = stores.ledger.profiles(spec.name, LAST), stores.ledger.watermark(spec.name)
    if len(profiles) < ENOUGH or known is None:
        return {}
    from pipelines.reading.copies import profile

    now = profile(spec, staged)
    usual = median(each["rows"] / max(each["hours"], 1.0) for each in profiles) * max(now["hours"], 1.0)
    bounds: Bounds = {"rows_low": int(usual / VOLUME), "rows_high": int(usual * VOLUME) + 1}
    bounds["newest_low"] = known - STALE
    # A mean of few rows strays further than one of many.
    size = max(1.0, sqrt(median(each["rows"] for each in profiles) / max(now["rows"], 1.0)))
    for name in {key for each in profiles for key in each} - {"rows", "hours"}:
        values = [each[name] for each in profiles if name in each]
        if len(values) >= ENOUGH:
            bounds |= _bounds(name, values, size)
    return bounds


def _bounds(name: str, values: list[float], size: float) -> Bounds:
    centre = median(values)
    usual = median(abs(value - centre) for value in values)
    if name.endswith("_filled"):
        return {f"{name}_low": max(0.0, centre - max(usual * SPREADS, 0.1) * size)}
    spread = max(usual * SPREADS, abs(centre) * 0.1, 1e-9) * size
    return {f"{name}_low": centre - spread, f"{name}_high": centre + spread}
