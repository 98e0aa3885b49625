"""A frame of rows as the sketches of its days."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.monitoring.drift.sketch import WHOLE, Kind, Sketches, taken

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

DAY = 24 * 60 * 60 * 10**9


def sketched(rows: "pd.DataFrame", kinds: Mapping[str, Kind], middle: float) -> Sketches:
    """The sketches of labelled rows by the UTC day of `event_timestamp`, apart by whether the label reaches the middle.

    A column that the rows lack is missing in each of them.
    """
    import numpy as np
    import pandas as pd

    days = days_of(rows["event_timestamp"])
    labels = pd.to_numeric(rows["label"]).to_numpy("float64", na_value=np.nan)
    halves = np.where(np.isnan(labels), WHOLE, labels >= middle)
    whole = {
        name: rows[name] if name in rows else pd.Series(None, rows.index, dtype="object") for name in kinds
    }
    columns = {
        name: numbers(whole[name]) if kind == "numeric" else words(whole[name])
        for name, kind in kinds.items()
    }
    return taken(kinds, columns, days, halves)


def days_of(moments: "pd.Series[Any]") -> "NDArray[np.int64]":
    """The UTC day of each moment, counted from 1970."""
    import numpy as np

    return np.asarray(moments.astype("datetime64[ns, UTC]").astype("int64")) // DAY


def middle(labels: "pd.Series[Any]") -> float:
    """What tells labels apart in two: of two kinds their middle, of numbers their median."""
    import pandas as pd

    known = pd.to_numeric(labels).dropna().astype("float64")
    few = known.unique()
    return float(few.mean()) if len(few) == 2 else float(known.median()) if len(known) else 0.0


def numbers(values: "pd.Series[Any]") -> "NDArray[np.float64]":
    """Numbers as floats; what is none is missing."""
    import numpy as np
    import pandas as pd

    if not isinstance(values.dtype, np.dtype) or values.dtype.kind not in "iuf":
        values = pd.to_numeric(values.astype(object), errors="coerce")
    return np.ascontiguousarray(values.to_numpy("float64", na_value=np.nan))


def words(values: "pd.Series[Any]") -> Any:
    """Categories as Arrow's texts; what is missing is null."""
    import pyarrow as pa

    there = values.notna().to_numpy()
    if isinstance(values.dtype, str) or values.dtype.name in ("str", "string", "large_string[pyarrow]"):
        return pa.array(values.astype(object), pa.string(), from_pandas=True)
    return pa.array(values.astype(object).astype(str), pa.string(), mask=~there)
