"""The parts of some rows that a spec's `gate.slices.columns` name; gate and monitors cut them alike."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

FEW_VALUES, PARTS = 10, 4
"""A number with more values than this is cut at its quartiles."""


@dataclass(frozen=True)
class Slice:
    """One value of a declared column: its name in every record, where its rows are, and more words where needed."""

    name: str
    mask: "Mask"
    note: str = ""

    @property
    def rows(self) -> int:
        return int(self.mask.sum())


def slices(rows: "pd.DataFrame", column: str) -> list[Slice]:
    """Each value of a column, quartiles where a number has many, and the rows that have none."""
    if column not in rows:
        return []
    values = rows[column]
    missing = values.isna().to_numpy()
    parts = list(_quarters(column, values) if _many(values) else _values(column, values))
    return parts + ([Slice(f"slice {column} missing", missing)] if missing.any() else [])


def _many(values: "pd.Series[Any]") -> bool:
    from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

    number = is_numeric_dtype(values) or is_datetime64_any_dtype(values)
    return bool(number and not is_bool_dtype(values) and values.nunique() > FEW_VALUES)


def _values(column: str, values: "pd.Series[Any]") -> Iterator[Slice]:
    for value in sorted(values.dropna().unique(), key=str):
        yield Slice(f"slice {column} = {value}", (values == value).fillna(False).to_numpy("bool"))


def _quarters(column: str, values: "pd.Series[Any]") -> Iterator[Slice]:
    import pandas as pd

    cut = pd.qcut(values, PARTS, duplicates="drop")
    for number, part in enumerate(cut.cat.categories, 1):
        mask = (cut == part).to_numpy("bool")
        inside = values[mask]
        name = f"slice {column} part {number} of {len(cut.cat.categories)}"
        yield Slice(name, mask, f"{inside.min()} to {inside.max()}: ")
