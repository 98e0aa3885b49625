"""Parquet's values as the texts that a CSV would hold: what loses nothing is taken, what would is its row's fault."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.catalog import Column, DatasetSpec
from pipelines.reading.arrow_values import decoded, is_bytes, is_text, moments, plain, readable, texts
from pipelines.reading.times import UTC, instants, within, written, zone_setting
from pipelines.reading.values import Faults

Kind = Any
EXACT = {2: 2**11, 4: 2**24, 8: 2**53}
"""By its bytes: up to where a floating-point number leaves no integer out."""
DIGITS = 15
"""Decimal digits that a double keeps, wherever the point is."""
WRITTEN = {"string": "string", "integer": "int64", "float": "double", "timestamp": "timestamp[us, tz=UTC]"}
INEXACT = "is not a number that a float column holds exactly; written as double, the nearest is taken"
Told = tuple[pa.Array, pa.Array | None, str]
"""Texts, which rows would lose something, and what they would."""


def _is_word(kind: Kind) -> bool:
    return is_text(kind) or is_bytes(kind) or isinstance(kind, pa.UuidType)


def _is_number(kind: Kind) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def fault_of_type(kind: Kind, name: str, spec: DatasetSpec) -> str | None:
    """Why a column of this Parquet type cannot be the dataset's, and what helps; None if it can."""
    column, plain_kind = spec.columns[name], _value_type(kind)
    if pa.types.is_null(plain_kind) or _is_word(plain_kind):
        return None
    if column.type in ("integer", "float") and _is_number(plain_kind):
        return None
    if column.type == "string" and pa.types.is_boolean(plain_kind):
        return None
    zone = " with a zone" if column.type == "timestamp" else ""
    found = f"Parquet column {name!r} is {kind}, but {spec.name}.yaml says {column.type}{zone}"
    if column.type == "timestamp" and (pa.types.is_timestamp(plain_kind) or pa.types.is_date32(plain_kind)):
        zoned = column.timezone or getattr(plain_kind, "tz", None)
        return None if zoned else f"{found}; {zone_setting(spec, name)}"
    return f"{found}; written as {WRITTEN[column.type]} it is taken"


def kind_for(kind: Kind) -> str | None:
    """The dataset's type of a column that takes this Parquet type as it is; None if none does."""
    plain_kind = _value_type(kind)
    if _is_word(plain_kind):
        return "string"
    if pa.types.is_timestamp(plain_kind):
        return "timestamp" if plain_kind.tz else None
    if pa.types.is_integer(plain_kind) or (pa.types.is_decimal(plain_kind) and plain_kind.scale == 0):
        return "integer"
    return "float" if _is_number(plain_kind) else None


def _value_type(kind: Kind) -> Kind:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def converted(array: pa.Array, name: str, spec: DatasetSpec) -> tuple[pa.Array, Faults]:
    """A column of the dataset as texts, null where empty, and the rows whose value would not survive that."""
    column, kind = spec.columns[name], _value_type(array.type)
    values = array if isinstance(kind, pa.UuidType) else decoded(array)
    way = next((way for fits, way in WAYS if fits(kind, column.type)), _words)
    text, lossy, why = way(values, column)
    empty = pc.is_in(text, pa.array(spec.null_values, pa.string()))
    text = pc.if_else(empty, pa.scalar(None, pa.string()), text)
    return text, {} if lossy is None else _faults(text, lossy, name, column, why)


def _faults(text: pa.Array, lossy: pa.Array, name: str, column: Column, why: str) -> Faults:
    places = pc.indices_nonzero(pc.and_(pc.fill_null(lossy, False), pc.is_valid(text)))
    shown = zip(places.to_pylist(), text.take(places).to_pylist(), strict=True)
    return {i: (column.type, f"{name}: {value[:80]} {why}") for i, value in shown}


def _words(array: pa.Array, column: Column) -> Told:
    return array.cast(pa.string()), None, ""


def _bytes(array: pa.Array, column: Column) -> Told:
    """Bytes are the text they hold in UTF-8."""
    raw = array.cast(pa.binary())
    try:
        return raw.cast(pa.string()), None, ""
    except pa.ArrowInvalid:
        text = pa.array(
            [None if value is None else readable(value) for value in raw.to_pylist()], pa.string()
        )
    return text, pc.not_equal(text.cast(pa.binary()), raw), "is not UTF-8"


def _whole(array: pa.Array, column: Column) -> Told:
    """A floating-point number without a fraction is an integer, as far as such numbers leave none out."""
    limit, wide = float(EXACT[array.type.bit_width // 8]), array.cast(pa.float64())
    size = pc.abs(wide)
    whole = pc.and_(pc.equal(pc.floor(wide), wide), pc.less(size, limit))
    digits = pc.if_else(whole, wide, pa.scalar(None, pa.float64())).cast(pa.int64()).cast(pa.string())
    lossy = pc.and_(pc.greater_equal(size, limit), pc.is_finite(wide))
    why = f"is not below {int(limit)}, from where {array.type} leaves integers out"
    return pc.coalesce(digits, wide.cast(pa.string())), lossy, why


def _floats(array: pa.Array, column: Column) -> Told:
    return array.cast(pa.float64()).cast(pa.string()), None, ""


def _integers_as_floats(array: pa.Array, column: Column) -> Told:
    limit = 2**53 if array.type.bit_width == 64 else 0
    lossy = pc.greater(array, pa.scalar(limit, array.type)) if limit else None
    if limit and pa.types.is_signed_integer(array.type):
        lossy = pc.or_(lossy, pc.less(array, pa.scalar(-limit, array.type)))
    return array.cast(pa.string()), lossy, INEXACT


def _decimals(array: pa.Array, column: Column) -> Told:
    """Decimals without their last zeros; for a float column, of as many digits as a double keeps."""
    text = pa.array(plain(array), pa.string())
    text = pc.replace_substring_regex(text, r"\.0*$|(\.\d*[1-9])0+$", r"\1")
    if column.type == "integer":
        return text, None, ""
    digits = pc.replace_substring_regex(text, r"^-?0*\.?0*|\.|0+$", "")
    return text, pc.greater(pc.utf8_length(digits), DIGITS), INEXACT


def _days(array: pa.Array, column: Column) -> Told:
    """A day is its first moment, by the clocks of the column's zone."""
    return _times(array.cast(pa.timestamp("s")), column)


def _times(array: pa.Array, column: Column) -> Told:
    """Times to the microsecond; any other as it is, for the strict reading to refuse."""
    found = within(array, cut=column.nanoseconds == "cut")
    local = None if array.type.tz else column.timezone
    text = written(found.view(UTC) if local is None else instants(found.view(pa.timestamp("us")), local))
    if text.null_count > array.null_count:
        text = pc.coalesce(text, pa.array(moments(array), pa.string()))
    return text, None, ""


WAYS: tuple[tuple[Callable[[Kind, str], bool], Callable[[pa.Array, Column], Told]], ...] = (
    (lambda kind, _: isinstance(kind, pa.UuidType), lambda array, _: (texts(array), None, "")),
    (lambda kind, _: is_bytes(kind), _bytes),
    (lambda kind, wanted: pa.types.is_floating(kind) and wanted == "integer", _whole),
    (lambda kind, _: pa.types.is_floating(kind), _floats),
    (lambda kind, wanted: pa.types.is_integer(kind) and wanted == "float", _integers_as_floats),
    (lambda kind, _: pa.types.is_decimal(kind), _decimals),
    (lambda kind, _: pa.types.is_timestamp(kind), _times),
    (lambda kind, wanted: pa.types.is_date32(kind) and wanted == "timestamp", _days),
)
