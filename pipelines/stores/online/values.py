"""Feature values on their way online: as Arrow has them, as SQLite keeps them, as Feast's ValueProto."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.value_type import ValueType

from pipelines.contracts import EvergreenError

NAN = "NaN"
"""SQLite would keep a float that is not a number as NULL."""


@dataclass(frozen=True)
class Kind:
    """How SQLite keeps a Feast value type: natively, as the named field of ValueProto, or else as its bytes."""

    sqlite: str
    field: str | None = None


PROTO = Kind("BLOB")
KINDS = {
    "BOOL": Kind("INTEGER", "bool_val"),
    "INT32": Kind("INTEGER", "int32_val"),
    "INT64": Kind("INTEGER", "int64_val"),
    "UNIX_TIMESTAMP": Kind("INTEGER", "unix_timestamp_val"),
    "FLOAT": Kind("REAL", "float_val"),
    "DOUBLE": Kind("REAL", "double_val"),
    "STRING": Kind("TEXT", "string_val"),
    "JSON": Kind("TEXT", "json_val"),
    "UUID": Kind("TEXT", "uuid_val"),
    "TIME_UUID": Kind("TEXT", "time_uuid_val"),
    "DECIMAL": Kind("TEXT", "decimal_val"),
    "BYTES": Kind("BLOB", "bytes_val"),
    "PDF_BYTES": Kind("BLOB", "bytes_val"),
    "IMAGE_BYTES": Kind("BLOB", "bytes_val"),
}
TYPES_BY_FIELD = {kind.field: name for name, kind in reversed(KINDS.items())}
PLAIN = {"double_val", "float_val", "int64_val", "int32_val", "string_val", "bool_val"}
"""Fields of ValueProto that are Python's own values."""
NATIVE = {"REAL": float, "INTEGER": int, "TEXT": str}
Reader = Callable[[Any], Any]
KEY_TYPES = {"STRING", "BYTES", "INT32", "INT64", "UNIX_TIMESTAMP"}
"""What Feast can look up: the types it can serialize in an entity key."""


def kind_of(value_type: str) -> Kind:
    """How values of a Feast type (the name of a ValueType) are kept."""
    return KINDS.get(value_type, PROTO)


def stored(value: Any, kind: Kind) -> Any:
    """A ValueProto as SQLite keeps it; a value of another type than its column's, as ValueProto bytes."""
    field = value.WhichOneof("val")
    if field is None or field == "null_val":
        return None
    if field == kind.field:
        found = getattr(value, field)
        return NAN if found != found else found
    if kind.field == "bytes_val":
        raise EvergreenError(f"a feature of bytes was given a {field}; write bytes or change its dtype")
    return value.SerializeToString()


def proto(value: Any, kind: Kind) -> Any:
    """What was stored, as a ValueProto; without a value for None."""
    if value is None:
        return ValueProto()
    if kind.field is None or (kind.sqlite != "BLOB" and type(value) is bytes):
        return ValueProto.FromString(value)
    if kind.sqlite == "REAL" and value == NAN:
        value = float("nan")
    return ValueProto(**{kind.field: value})


def reader(kind: Kind) -> Reader:
    """What makes of a stored value the Python value that Feast would make of it."""
    native = NATIVE.get(kind.sqlite) if kind.field in PLAIN else None

    def read(value: Any) -> Any:
        if value is None:
            return None
        if type(value) is native and value != NAN:
            return bool(value) if kind.field == "bool_val" else value
        return python_value(proto(value, kind))

    return read


def python_value(value: Any) -> Any:
    """A ValueProto as Feast would make it Python's own; what needs no making is taken as it is."""
    kind = value.WhichOneof("val")
    return getattr(value, kind) if kind in PLAIN else feast_value_type_to_python_type(value)


def stored_column(values: pa.Array, value_type: str) -> list[Any]:
    """A column as SQLite keeps it; NaN is a missing value, as in Feast."""
    native = native_array(values, value_type)
    if native is not None:
        return listed(native)
    kind = kind_of(value_type)
    return [stored(value, kind) for value in protos(values, value_type)]


def protos(values: pa.Array, value_type: str) -> Sequence[Any]:
    """A column as Feast itself converts it: one ValueProto for each value."""
    python = _python_values(values, value_type)
    found: Sequence[Any] = python_values_to_proto_values(python, ValueType[value_type])
    return found


def _python_values(values: pa.Array, value_type: str) -> Any:
    """Values as Feast's conversion takes them: dicts for maps, and datetimes where it needs a zone."""
    if value_type == "ZONED_TIMESTAMP":
        return values.to_pylist()
    if _holds_entries(values.type):
        return values.to_pylist(maps_as_pydicts="strict")
    return values.to_numpy(zero_copy_only=False)


def _holds_entries(kind: pa.DataType) -> bool:
    """Whether there are maps or structs at any depth."""
    if pa.types.is_map(kind) or pa.types.is_struct(kind):
        return True
    return hasattr(kind, "value_type") and _holds_entries(kind.value_type)


def native_array(values: pa.Array, value_type: str) -> pa.Array | None:
    """The column in the Arrow type nearest to the Feast type; None if only Feast knows how to convert it."""
    have = values.type
    if pa.types.is_dictionary(have):
        return native_array(values.cast(have.value_type), value_type)
    if pa.types.is_null(have):
        return pa.nulls(len(values), pa.int64())
    if value_type in ("FLOAT", "DOUBLE") and _is_number(have):
        return _floats(values, pa.float32() if value_type == "FLOAT" else pa.float64())
    if value_type in ("INT32", "INT64") and pa.types.is_integer(have):
        return values.cast(pa.int32() if value_type == "INT32" else pa.int64())
    if value_type == "UNIX_TIMESTAMP" and pa.types.is_timestamp(have):
        return _seconds(values)
    return _same(values, value_type)


def _same(values: pa.Array, value_type: str) -> pa.Array | None:
    """A column that Arrow has in a type of the same meaning."""
    have, types = values.type, pa.types
    if value_type == "BOOL" and types.is_boolean(have):
        return values.cast(pa.int8())
    if value_type == "STRING" and _is_text(have):
        return values.cast(pa.large_string())
    if value_type in ("BYTES", "PDF_BYTES", "IMAGE_BYTES") and _is_binary(have):
        return values.cast(pa.large_binary())
    return None


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def _floats(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Rounded to the wanted width, nulls for what is not a number."""
    found = values.cast(wanted, safe=False)
    if found.null_count < len(found) and pc.any(pc.is_nan(found)).as_py():
        found = pc.if_else(pc.is_nan(found), pa.scalar(None, wanted), found)
    return found.cast(pa.float64())


def _seconds(values: pa.Array) -> pa.Array:
    """Whole seconds since 1970, rounded down."""
    units = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[values.type.unit]
    ticks = values.cast(pa.int64())
    counts = np.floor_divide(ticks.fill_null(0).to_numpy(zero_copy_only=False), units)
    return pa.array(counts, pa.int64(), mask=ticks.is_null().to_numpy(zero_copy_only=False))


def microseconds(values: pa.Array) -> pa.Array:
    """Moments as int64 microseconds since 1970 in UTC; times without a zone are read as UTC."""
    zone = getattr(values.type, "tz", None)
    return values.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())


def listed(values: pa.Array) -> list[Any]:
    """An array's values as Python's own, None where it is null."""
    if _is_text(values.type) or _is_binary(values.type):
        texts: list[Any] = values.to_numpy(zero_copy_only=False).tolist()
        return texts
    found: list[Any] = values.fill_null(0).to_numpy(zero_copy_only=False).tolist()
    for position in (
        np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False)) if values.null_count else ()
    ):
        found[position] = None
    return found
