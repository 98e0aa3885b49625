"""Rows to draw for people: of several candidates, each with its days and labels as all rows have them, the nearest.

Whatever is judged is judged on all rows. A page can show only some, and should show the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.monitoring.drift.bins import BINS, LEVELS, edges, effect
from pipelines.monitoring.drift.rows import days_of, numbers
from pipelines.monitoring.drift.sketch import Kind
from pipelines.training.answers import NOT_INPUT

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

MOST = 5000
"""Of what is drawn; Evidently's own comparison took 438 s at 3M rows."""
CANDIDATES = 64
CUT_BY = 100_000
"""Of more rows the bins of numbers are cut by so many; all rows are counted in them."""
FEW = 20
"""Up to so many different labels are strata of their own, more are two by their median."""


@dataclass(frozen=True)
class Sample:
    """Rows of `whole` many, and how far at most a column's shares are from those of all (0 to 1), and which one's."""

    rows: "pd.DataFrame"
    whole: int
    apart: float = 0.0
    column: str | None = None

    def told(self, when: str) -> str:
        """How near it is, in words."""
        if self.whole == len(self.rows):
            return f"all {self.whole:,} rows {when}"
        near = (
            f", of whose shares they are at most {self.apart:.3f} away ({self.column})" if self.column else ""
        )
        return f"{len(self.rows):,} of {self.whole:,} rows {when}{near}"


def sample(rows: "pd.DataFrame", most: int = MOST, candidates: int = CANDIDATES) -> Sample:
    """At most so many rows that agree with all of them, always the same ones; fewer are all."""
    import numpy as np

    if len(rows) <= most:
        return Sample(rows, len(rows))
    drawn = _candidates(_order(rows), most, candidates)
    names, apart = [], []
    for name, kind, codes, bins in _coded(rows):
        names.append(name)
        apart.append(_distances(kind, codes, bins, drawn))
    if not names:
        return Sample(rows.iloc[np.sort(drawn[0])], len(rows))
    table = np.asarray(apart)
    best = int(table.max(axis=0).argmin())
    worst = int(table[:, best].argmax())
    return Sample(rows.iloc[np.sort(drawn[best])], len(rows), float(table[worst, best]), names[worst])


def _order(rows: "pd.DataFrame") -> "NDArray[np.int64]":
    """The places of the rows by day, and within it by label."""
    import numpy as np
    import pandas as pd

    key = np.zeros(len(rows), "int64")
    if "event_timestamp" in rows:
        key = days_of(rows["event_timestamp"])
    if "label" in rows:
        known = pd.to_numeric(rows["label"], errors="coerce").to_numpy("float64", na_value=np.nan)
        strata = pd.factorize(known, sort=True)[0]
        if strata.max(initial=0) >= FEW:
            strata = np.where(np.isnan(known), -1, known >= np.nanmedian(known))
        key = key * (FEW + 1) + strata.astype("int64") + 1
    return np.asarray(np.argsort(key, kind="stable"))


def _candidates(order: "NDArray[np.int64]", most: int, many: int) -> "NDArray[np.int64]":
    """(candidates, rows): of each of as many runs of the ordered rows as are drawn, one by chance."""
    import numpy as np

    step = np.arange(most) + np.random.default_rng(0).random((many, most))
    return np.asarray(order[np.minimum((step * (len(order) / most)).astype("int64"), len(order) - 1)])


def _coded(rows: "pd.DataFrame") -> Iterator[tuple[str, Kind, "NDArray[np.int64]", int]]:
    """Each column that has shares, one after another: in which bin each row lies, and how many there are; the last is
    what is missing."""
    from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype, is_timedelta64_dtype

    for name in rows:
        values = rows[name]
        if (name in NOT_INPUT and name != "label") or is_datetime64_any_dtype(values):
            continue
        if is_timedelta64_dtype(values):
            continue
        kind = "numeric" if is_numeric_dtype(values) else "categorical"
        codes, bins = _numbers(values) if kind == "numeric" else _levels(values)
        yield str(name), kind, codes, bins


def _numbers(values: "pd.Series[Any]") -> "tuple[NDArray[np.int64], int]":
    import numpy as np

    plain = values.to_numpy("float64", na_value=np.nan) if values.dtype.kind in "iufb" else numbers(values)
    cuts = _edges(plain[:: max(1, len(plain) // CUT_BY)])
    codes = np.searchsorted(cuts, plain, side="right")
    return np.where(np.isnan(plain), len(cuts) + 1, codes), len(cuts) + 2


def _edges(values: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Bins of about equal shares. A sketch would cut by chance."""
    import numpy as np

    known = values[~np.isnan(values)]
    if not len(known):
        return known
    return edges(np.quantile(known, np.arange(1, BINS) / BINS, method="lower"))


def _levels(values: "pd.Series[Any]") -> "tuple[NDArray[np.int64], int]":
    """Its most frequent levels each, all others together."""
    import numpy as np
    import pandas as pd

    try:
        codes, levels = pd.factorize(values, use_na_sentinel=True)
    except TypeError:  # values that cannot be told apart by a hash, such as lists
        codes, levels = pd.factorize(values.astype(str), use_na_sentinel=True)
    counts = np.bincount(codes[codes >= 0], minlength=max(len(levels), 1))
    rank = np.empty(len(counts) + 1, "int64")
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    kept = np.minimum(rank, LEVELS)
    kept[-1] = LEVELS + 1  # code -1, what is missing
    return kept[codes], LEVELS + 2


def _distances(kind: Kind, codes: "NDArray[np.int64]", bins: int, drawn: "NDArray[np.int64]") -> list[float]:
    """How far each candidate's shares of one column are from those of all rows."""
    import numpy as np

    whole = np.bincount(codes, minlength=bins) / len(codes)
    shares = (np.bincount(codes[each], minlength=bins) / len(each) for each in drawn)
    return [effect(kind, whole, share) for share in shares]
