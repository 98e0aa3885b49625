"""The input columns of two samples: which can be compared, which vanished, and why another cannot be; none is left out.

Pandas' nullable types, small integers, booleans and objects are compared as what they mean: numbers or categories.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.training.answers import NOT_INPUT

if TYPE_CHECKING:
    import pandas as pd

LEAST = 200
"""Of fewer values at training, or fewer rows on one side, nothing is said."""
NUMBERS = {"integer", "floating", "decimal", "mixed-integer-float"}
TIMES = {"datetime64", "datetime", "date", "time", "timedelta64", "timedelta", "period"}
MISSING = "missing"


@dataclass
class Watched:
    """Two samples with the columns that can be compared, numbers as floats and categories as text.

    `kinds` says numeric or categorical; `vanished` and `left_out` say of each other column why it is not among them.
    `gone` has the kinds of the vanished of which there were values enough to call it drift.
    """

    old: "pd.DataFrame"
    new: "pd.DataFrame"
    kinds: dict[str, str] = field(default_factory=dict)
    vanished: dict[str, str] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def watched(
    spec: ModelSpec,
    old: "pd.DataFrame",
    new: "pd.DataFrame",
    whole: "tuple[pd.DataFrame, pd.DataFrame] | None" = None,
) -> Watched:
    """Every input column of either sample, and the label, in exactly one of kinds, vanished and left_out.

    Values are counted in the `whole` of both sides, where these are samples of more: what is rare has not vanished.
    """
    import pandas as pd

    counted = whole or (old, new)
    names = [c for c in dict.fromkeys([*old, *new]) if c not in NOT_INPUT or c == "label"]
    found = Watched(pd.DataFrame(index=old.index), pd.DataFrame(index=new.index))
    columns: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for name in names:
        sides = [s[name] if name in s else pd.Series(None, s.index, dtype="object") for s in (old, new)]
        kind = _kind(spec, name, *sides)
        plain = [_plain(values, kind) for values in sides]
        counts = [_values(rows, name, kind) for rows in counted]
        for side, values in zip(columns, plain, strict=True):
            side[name] = values
        _placed(found, name, kind, counts, [len(rows) for rows in counted])
    found.old, found.new = (
        pd.DataFrame(side, index=rows.index) for side, rows in zip(columns, (old, new), strict=True)
    )
    return found


def plain(rows: "pd.DataFrame", kinds: Mapping[str, str]) -> "pd.DataFrame":
    """Columns of any rows as they are compared: numbers as floats, categories as text; one they lack is missing."""
    import pandas as pd

    there = {
        name: rows[name] if name in rows else pd.Series(None, rows.index, dtype="object") for name in kinds
    }
    return pd.DataFrame({name: _plain(there[name], kind) for name, kind in kinds.items()}, rows.index)


def _values(rows: "pd.DataFrame", name: str, kind: str) -> int:
    """How many rows have a value of a column; of a number one that can be read as such."""
    if name not in rows:
        return 0
    values = rows[name]
    numbers = kind == "numeric" and values.dtype == object
    return int((_plain(values, kind) if numbers else values).notna().sum())


def _placed(found: Watched, name: str, kind: str, counts: Sequence[int], rows: Sequence[int]) -> None:
    """Say of a column with so many values in so many rows, then and now, that it is compared, vanished, or left out
    and why."""
    (had, has), (then, now) = counts, rows
    if had and not has and now:
        share = had / then
        found.vanished[name] = f"no value in the newest {now:,} rows; {share:.0%} had one at training"
        if had >= LEAST and kind in ("numeric", "categorical"):
            found.gone[name] = kind
    elif not (had and has):
        found.left_out[name] = _absent(had, has)
    elif kind not in ("numeric", "categorical"):
        found.left_out[name] = kind
    elif had < LEAST:
        found.left_out[name] = f"{had:,} values at training, {LEAST} needed"
    else:
        found.kinds[name] = kind


def _absent(had: int, has: int) -> str:
    if has:
        return "it had no value at training"
    return "no row has arrived" if had else "no value on either side"


def _kind(spec: ModelSpec, name: str, old: "pd.Series[Any]", new: "pd.Series[Any]") -> str:
    """numeric, categorical, or why neither."""
    from pandas.api.types import infer_dtype

    values = (old if old.notna().any() else new).dropna()
    inferred = infer_dtype(values.astype(object)) if values.dtype == object else infer_dtype(values)
    if inferred in TIMES:
        return "a time, which always moves"
    few = values.astype(str).nunique() <= max(len(old), len(new)) / 10
    if name in spec.entities and few:
        return "categorical"
    if inferred in NUMBERS:
        return "numeric"
    return "categorical" if few else "nearly every row has a value of its own"


def _plain(values: "pd.Series[Any]", kind: str) -> "pd.Series[Any]":
    """Numbers as floats; all else as text in which a missing value is a level of its own."""
    import pandas as pd

    if kind == "numeric":
        return pd.to_numeric(values.astype(object), errors="coerce").astype("float64")
    there = values.notna()
    if kind == "categorical":
        return values.astype(object).astype(str).where(there, MISSING).astype(object)
    return values.astype(object).where(there, None)
