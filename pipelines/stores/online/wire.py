"""Columns as Feast's own bytes: serialized ValueProto, Timestamp and entity keys, in bulk.

Making a message for each value takes a microsecond; these bytes follow from the column as a whole.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from feast.protos.feast.types.Value_pb2 import ValueType
from google.protobuf.timestamp_pb2 import Timestamp

from pipelines.stores.online.values import listed, native_array, protos, stored_column

FIXED = {"FLOAT": (b"\x35", "<f4"), "DOUBLE": (b"\x29", "<f8"), "BOOL": (b"\x38", "u1")}
"""The tag before a value of fixed width, and how the value is laid out."""
VARINT = {"INT32": b"\x18", "INT64": b"\x20", "UNIX_TIMESTAMP": b"\x40"}
SIZED = {"STRING": b"\x12", "BYTES": b"\x0a", "PDF_BYTES": b"\x0a", "IMAGE_BYTES": b"\x0a"}


def value_bytes(values: pa.Array, value_type: str) -> list[bytes]:
    """A column as serialized ValueProtos; no bytes for a missing value, as in Feast."""
    native = native_array(values, value_type)
    if native is None or pa.types.is_null(values.type):
        return [value.SerializeToString() for value in protos(values, value_type)]
    if value_type in FIXED:
        return _fixed(native, *FIXED[value_type])
    if value_type in VARINT:
        return _each(listed(native), _tagged(VARINT[value_type], varint))
    return _each(listed(native), _tagged(SIZED[value_type], _sized))


def _fixed(values: pa.Array, tag: bytes, layout: str) -> list[bytes]:
    """Values of fixed width, cut out of one piece of memory."""
    numbers = values.fill_null(0).to_numpy(zero_copy_only=False).astype(layout)
    width = numbers.dtype.itemsize + 1
    cells = np.empty((len(numbers), width), np.uint8)
    cells[:, 0] = tag[0]
    cells[:, 1:] = numbers.view(np.uint8).reshape(len(numbers), width - 1)
    piece = cells.tobytes()
    found = [piece[at : at + width] for at in range(0, len(piece), width)]
    for position in np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False)):
        found[position] = b""
    return found


def _each(values: list[Any], encode: Callable[[Any], bytes]) -> list[bytes]:
    """Each distinct value is encoded once."""
    known = {value: b"" if value is None else encode(value) for value in set(values)}
    return [known[value] for value in values]


def _tagged(tag: bytes, encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    return lambda value: tag + encode(value)


def varint(number: int) -> bytes:
    """A whole number as protobuf has it, negative ones as 64 bits."""
    number &= (1 << 64) - 1
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _sized(value: str | bytes) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return varint(len(content)) + content


def timestamp_bytes(microseconds: int) -> bytes:
    """A moment as a serialized Timestamp."""
    seconds, rest = divmod(microseconds, 1_000_000)
    found: bytes = Timestamp(seconds=seconds, nanos=rest * 1000).SerializeToString()
    return found


def entity_keys(columns: Sequence[tuple[str, str, pa.Array]]) -> list[bytes]:
    """Keys as Feast's serialize_entity_key writes them (version 3), from (name, value type, values) by name."""
    head = struct.pack("<I", len(columns))
    for name, _, _ in columns:
        head += struct.pack("<II", ValueType.STRING, len(name.encode())) + name.encode()
    parts = [_each(stored_column(values, kind), _keyed(kind)) for _, kind, values in columns]
    return [head + b"".join(row) for row in zip(*parts, strict=True)]


def _keyed(value_type: str) -> Callable[[Any], bytes]:
    """How a value of a key is written: its type, its length, itself."""
    code = ValueType.Enum.Value(value_type)

    def encode(value: Any) -> bytes:
        if isinstance(value, int):
            value = struct.pack("<i" if value_type == "INT32" else "<q", value)
        content = value.encode() if isinstance(value, str) else value
        return struct.pack("<II", code, len(content)) + content

    return encode
