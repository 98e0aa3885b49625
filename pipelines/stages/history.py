"""What earlier batches were like, as bounds that a suite names: {"$PARAMETER": "distance.mean.low"}.

For every number `<column>.mean.low` and `.high`, for every column `<column>.null_share.high`, and for the
volume `rows.low` and `rows.high`.
"""

from statistics import median

from pipelines.catalog import DatasetSpec
from pipelines.stages.known import profile
from pipelines.stages.staging import Staging

ENOUGH = 7
"""With fewer earlier batches there is no history to speak of, and no bound."""
SPREADS = 6.0
"""How many times the usual spread (median absolute deviation) from the median is still usual."""
VOLUME = 10.0
"""How many times more or fewer rows a day than the median are still usual."""


def parameters(spec: DatasetSpec, staged: Staging, profiles: list[dict[str, float]]) -> dict[str, float]:
    """The bounds by name; empty while the history is too short."""
    if len(profiles) < ENOUGH:
        return {}
    bounds: dict[str, float] = {}
    for name in {key for each in profiles for key in each} - {"rows", "days"}:
        values = [each[name] for each in profiles if name in each]
        if len(values) >= ENOUGH:
            bounds |= _bounds(name, values)
    days = profile(spec, staged).get("days", 1.0)
    usual = median(each["rows"] / max(each["days"], 1.0) for each in profiles) * days
    return bounds | {"rows.low": float(int(usual / VOLUME)), "rows.high": float(int(usual * VOLUME) + 1)}


def _bounds(name: str, values: list[float]) -> dict[str, float]:
    centre = median(values)
    spread = max(median(abs(value - centre) for value in values), abs(centre) * 0.02, 1e-9) * SPREADS
    if name.endswith(".null_share"):
        return {f"{name}.high": min(1.0, centre + max(spread, 0.1))}
    return {f"{name}.low": centre - spread, f"{name}.high": centre + spread}
