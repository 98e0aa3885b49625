"""Times as whole numbers since 1970 in UTC, so that no conversion moves one across another.

DuckDB cuts nanoseconds off times with a zone: a feature would be seen up to a microsecond too early.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.contracts import EvergreenError

Numbers = npt.NDArray[np.int64]
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
LEAST, MOST = -(2**63) + 1, 2**63 - 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Instants:
    """Moments in one unit (us or ns since 1970); `known` is False where there is none."""

    unit: str
    values: Numbers
    known: npt.NDArray[np.bool_]

    def bounds(self) -> tuple[int, int] | None:
        """The first and the last moment; None if there is none at all."""
        found = self.values[self.known]
        return (int(found.min()), int(found.max())) if len(found) else None

    def floor(self, unit: str) -> Numbers:
        """The last moment of the unit that is not after each."""
        if (self.unit, unit) == ("ns", "us"):
            return self.values // 1000
        return self._finer(unit)

    def ceil(self, unit: str) -> Numbers:
        """The first moment of the unit that is not before each."""
        if (self.unit, unit) == ("ns", "us"):
            return -(-self.values // 1000)
        return self._finer(unit)

    def _finer(self, unit: str) -> Numbers:
        """Unchanged, or microseconds as nanoseconds; what lies beyond their range stays at its end."""
        if self.unit == unit:
            return self.values
        return np.clip(self.values, LEAST // 1000 + 1, MOST // 1000) * 1000


def instants(column: pa.ChunkedArray, name: str) -> Instants:
    """A column's times: naive ones are UTC, text is read as ISO 8601, null is no time."""
    kind = column.type
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us"))
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = _read(column, name)
    elif pa.types.is_null(kind):
        column = column.cast(pa.timestamp("us"))
    elif not pa.types.is_timestamp(kind):
        raise EvergreenError(f"entity rows' column {name!r} holds {kind}, not times; give it timestamps")
    unit = unit_of(column.type)
    numbers = column.cast(pa.timestamp(unit, column.type.tz)).cast(pa.int64())
    known = np.asarray(pc.is_valid(numbers).to_numpy(), dtype=bool)
    return Instants(unit, np.asarray(pc.fill_null(numbers, 0).to_numpy(), dtype=np.int64), known)


def _read(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    try:
        read = pd.to_datetime(column.to_pandas(), utc=True, format="ISO8601")
    except ValueError as error:
        raise EvergreenError(f"entity rows' column {name!r} holds text that is no time: {error}") from error
    return pa.chunked_array([pa.Array.from_pandas(read)])


def unit_of(*kinds: pa.DataType) -> str:
    """The unit in which times of these types are compared: us, or ns if one of them is that fine."""
    return "ns" if any(pa.types.is_timestamp(kind) and kind.unit == "ns" for kind in kinds) else "us"


def number(field: pa.Field, unit: str) -> pc.Expression:
    """A source's time column as whole numbers of the unit."""
    if not (pa.types.is_timestamp(field.type) or pa.types.is_date(field.type)):
        raise EvergreenError(f"column {field.name!r} holds {field.type}, not times; store it as a timestamp")
    zone = field.type.tz if pa.types.is_timestamp(field.type) else None
    return pc.field(field.name).cast(pa.timestamp(unit, zone)).cast(pa.int64())


def not_after(field: pa.Field, bound: int, unit: str) -> pc.Expression:
    """column <= bound, in the column's own type so that the scan can skip row groups."""
    return _comparable(field) <= _literal(field, bound, unit, up=False)


def not_before(field: pa.Field, bound: int, unit: str) -> pc.Expression:
    """column >= bound, in the column's own type so that the scan can skip row groups."""
    return _comparable(field) >= _literal(field, bound, unit, up=True)


def _comparable(field: pa.Field) -> pc.Expression:
    column = pc.field(field.name)
    return column if pa.types.is_timestamp(field.type) else column.cast(pa.timestamp("us"))


def _literal(field: pa.Field, bound: int, unit: str, up: bool) -> pa.Scalar:
    kind = field.type if pa.types.is_timestamp(field.type) else pa.timestamp("us")
    there, here = PER_SECOND[kind.unit], PER_SECOND[unit]
    exact = -(-bound * there // here) if up else bound * there // here
    return pa.scalar(min(max(exact, LEAST), MOST), kind)


def of(moment: datetime) -> int:
    """A moment in microseconds since 1970; a naive one is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


def before(values: Numbers, span: timedelta | None, unit: str) -> Numbers:
    """Each moment less a span, not beyond what the unit can tell; no span (or zero) is no limit."""
    length = (span or timedelta()) // timedelta(microseconds=1) * (PER_SECOND[unit] // 10**6)
    if not 0 < length <= MOST:
        return np.full(len(values), LEAST, dtype=np.int64)
    return np.maximum(values, LEAST + length) - length


def as_time(values: Any, unit: str) -> pa.Array:
    """Whole numbers as a UTC timestamp column."""
    return pa.array(values, pa.int64()).cast(pa.timestamp(unit, "UTC"))
