"""Parquet's old times of 96 bits, which Spark writes; the nanoseconds that Arrow makes of them may not hold them."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.reading.arrow_values import texts


def columns(file: Any) -> list[int]:
    """The places of a Parquet file's columns that hold such times."""
    paths = [c.path for c in map(file.schema.column, range(len(file.schema))) if c.physical_type == "INT96"]
    names = file.schema_arrow.names
    return [i for i, name in enumerate(names) if any(f"{path}.".startswith(f"{name}.") for path in paths)]


def exact(fine: pa.RecordBatch, wide: pa.RecordBatch, places: list[int]) -> pa.RecordBatch:
    """A batch read in nanoseconds; where the same read in seconds says otherwise, the column as texts."""
    arrays = list(fine.columns)
    for place in places:
        arrays[place] = _exact(fine.column(place), wide.column(place))
    return pa.RecordBatch.from_arrays(arrays, fine.schema.names)


def _exact(fine: pa.Array, wide: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(fine.type) and _agree(fine, wide):
        return fine
    there, known = texts(fine), texts(wide)
    without = pc.replace_substring_regex(there, r"(\d\d:\d\d:\d\d)\.\d{9}", r"\1")
    same = pc.equal(without, known)
    return fine if pc.all(same).as_py() is not False else pc.if_else(same, there, known)


def _agree(fine: pa.Array, wide: pa.Array) -> bool:
    nanoseconds, seconds = (np.asarray(a.view(pa.int64()).fill_null(0)) for a in (fine, wide))
    return bool((nanoseconds // 10**9 == seconds).all())
