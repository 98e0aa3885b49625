"""What a suite may hold a view's rows against by name: {"$PARAMETER": name}.

`as_of` and `as_of_minus_6h` (any whole hours); and, from the view's earlier runs, `rows_low`, `rows_high` and
`<feature>_filled_low`, the share that is not null.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from math import sqrt

from pipelines.stores.feature_store.health import Past
from pipelines.validation.history import Bounds

LAST = timedelta(days=14)
"""How far the history reaches back; that of views that are computed rarely, to the last `FEWEST` runs."""
FEWEST, MOST = 30, 1500
ENOUGH, SPAN = 7, timedelta(days=2)
"""A history counts from so many runs on, once it has seen each hour of the day twice."""
VOLUME = 2.0
"""How many times more rows at a moment than ever before, or fewer, are still usual."""
SLACK = 0.1
"""How much larger a share of nulls than ever before is still usual, beside what chance does to few rows."""
HOURS = re.compile(r"as_of_minus_(\d{1,6})h")


def recent(past: Sequence[Past], as_of: datetime) -> list[Past]:
    """The earlier runs that count, the newest first; none while there are too few or they span too little."""
    found = [run for n, run in enumerate(past) if n < FEWEST or as_of - run.as_of <= LAST]
    if len(found) < ENOUGH or as_of - found[-1].as_of < SPAN:
        return []
    return found


def parameters(
    rows: int, moments: int, as_of: datetime, past: Sequence[Past], named: Iterable[str]
) -> Bounds:
    """The bounds by name for a run of so many rows at so many moments; without a history, only the times."""
    bounds: Bounds = {"as_of": as_of}
    for match in filter(None, map(HOURS.fullmatch, named)):
        bounds[match[0]] = as_of - timedelta(hours=int(match[1]))
    if not past:
        return bounds
    rates = [run.rows / max(run.moments, 1) for run in past]
    bounds["rows_low"] = int(min(rates) / VOLUME * moments)
    bounds["rows_high"] = int(max(rates) * VOLUME * moments) + 1
    for feature in sorted({name for run in past for name in run.nulls}):
        seen = [run.nulls[feature] for run in past if feature in run.nulls]
        if len(seen) >= ENOUGH:
            bounds[f"{feature}_filled_low"] = max(0.0, 1 - max(seen) - _slack(max(seen), rows))
    return bounds


def _slack(share: float, rows: int) -> float:
    """Three standard errors of a share of so few rows come on top."""
    return SLACK + 3 * sqrt(share * (1 - share) / max(rows, 1))
