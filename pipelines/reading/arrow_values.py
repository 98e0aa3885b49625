"""Arrow values written out exactly, whatever their type and however wild: as what JSON holds, and as texts."""

import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.reading.delimited import labels

Values = list[Any]
BEFORE = re.compile(r"^-(\d{3})-")
"""A year before our era as numpy writes it, one digit short of ISO 8601."""


def is_text(kind: Any) -> bool:
    """Whether a type holds texts."""
    return any(ask(kind) for ask in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def is_bytes(kind: Any) -> bool:
    """Whether a type holds bytes."""
    asked = (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
        pa.types.is_fixed_size_binary,
    )
    return any(ask(kind) for ask in asked)


def decoded(array: pa.Array) -> pa.Array:
    """The values themselves, where an array holds codes of them or names their kind."""
    if isinstance(array, pa.ExtensionArray):
        return decoded(array.storage)
    if isinstance(array, pa.DictionaryArray):
        return decoded(array.dictionary_decode())
    return array


def leaves(array: pa.Array) -> Iterator[pa.Array]:
    """The arrays of plain values that an array is made of."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        yield from leaves(array.storage)
    elif pa.types.is_dictionary(kind):
        yield from leaves(array.dictionary)
    elif pa.types.is_struct(kind):
        yield from chain.from_iterable(leaves(array.field(i)) for i in range(kind.num_fields))
    elif _is_list(kind):
        yield from leaves(array.values)
    else:
        yield array


def lengths(array: pa.Array) -> pa.Array:
    """The bytes of each text, or of bytes."""
    view = pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type)
    return pc.binary_length(array.cast(pa.large_binary()) if view else array)


def depth(kind: Any) -> int:
    """How deep types stand in each other; that of a plain one is 0."""
    deepest, open_ones = 0, [(kind, 0)]
    while open_ones:
        inner, level = open_ones.pop()
        deepest = max(deepest, level)
        open_ones += [(inner.field(i).type, level + 1) for i in range(inner.num_fields)]
    return deepest


def plain(array: pa.Array) -> Values:
    """The values as JSON can hold them: what it has no form for, as a text that loses nothing."""
    convert = next((way for fits, way in WAYS if fits(array.type)), None)
    return convert(array) if convert else _fallback(array)


def texts(array: pa.Array) -> pa.Array:
    """The values as texts: those of nested types as JSON."""
    values = plain(array)
    return pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string())


def rows(names: list[str], columns: list[pa.Array]) -> list[bytes]:
    """Each row as one JSON object under these names."""
    held = [plain(column) for column in columns]
    return [json.dumps(dict(zip(names, row, strict=True))).encode() for row in zip(*held, strict=True)]


def picked(array: pa.Array, places: np.ndarray[Any, Any]) -> pa.Array:
    """The values at these places, also of types that Arrow cannot take them from."""
    try:
        return array.take(pa.array(places, pa.int64()))
    except pa.ArrowNotImplementedError:
        return (
            pa.concat_arrays([array.slice(int(place), 1) for place in places]) if len(places) else array[:0]
        )


def moments(array: pa.Array) -> Values:
    """Times and dates of any size, as ISO 8601 with as many digits for the year as it takes."""
    unit, zone = ("ms", "") if pa.types.is_date64(array.type) else ("D", "")
    if pa.types.is_timestamp(array.type):
        unit, zone = array.type.unit, "Z" if array.type.tz else ""
    numbers = _numbers(array)
    filled = np.array([number or 0 for number in numbers], np.int64)
    written = np.datetime_as_string(filled.view(f"M8[{unit}]") if unit != "D" else filled.astype("M8[D]"))
    pairs = zip(numbers, (BEFORE.sub(r"-0\1-", text) for text in written.tolist()), strict=True)
    # The smallest number is numpy's mark for "no time".
    return [None if n is None else f"{n} {unit} from 1970" if t == "NaT" else t + zone for n, t in pairs]


def _numbers(array: pa.Array) -> Values:
    """The whole numbers that lie under times, dates and durations."""
    return list(array.view(pa.int32() if array.type.bit_width == 32 else pa.int64()).to_pylist())


def _clock(array: pa.Array) -> Values:
    """Times of day as such; what is no time of a day, as the number it is."""
    unit = array.type.unit
    per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]

    def written(number: int) -> str:
        seconds, rest = divmod(number, per)
        if not 0 <= seconds < 86_400:
            return f"{number} {unit}"
        text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        return text + (f".{rest:0{len(str(per)) - 1}}" if per > 1 else "")

    return [None if number is None else written(number) for number in _numbers(array)]


def _durations(array: pa.Array) -> Values:
    return [None if number is None else f"{number} {array.type.unit}" for number in _numbers(array)]


def _floats(array: pa.Array) -> Values:
    values = array.to_pylist()
    return [v if v is None or np.isfinite(v) else str(float(v)) for v in (v and float(v) for v in values)]


def _decimals(array: pa.Array) -> Values:
    return [None if value is None else format(value, "f") for value in array.to_pylist()]


def _bytes(array: pa.Array) -> Values:
    return [None if value is None else readable(value) for value in array.to_pylist()]


def readable(raw: bytes) -> str:
    """Bytes as the text they are, or else in hexadecimal."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "0x" + raw.hex()


def _lists(array: pa.Array) -> Values:
    return [plain(row.values) if row.is_valid else None for row in array]


def _structs(array: pa.Array) -> Values:
    kind = array.type
    names = labels([kind.field(i).name for i in range(kind.num_fields)])
    columns = [plain(array.field(i)) for i in range(kind.num_fields)]
    held = zip(*columns, strict=True) if columns else ((),) * len(array)
    there = array.is_valid().to_pylist()
    return [
        dict(zip(names, row, strict=True)) if valid else None for valid, row in zip(there, held, strict=True)
    ]


def _coded(array: Any) -> Values:
    if len(array) < len(array.dictionary):
        return plain(array.dictionary_decode())
    values = plain(array.dictionary)
    return [None if code is None else values[code] for code in array.indices.to_pylist()]


def _fallback(array: pa.Array) -> Values:
    return [str(value) if value.is_valid else None for value in array]


def _as_they_are(array: pa.Array) -> Values:
    return list(array.to_pylist())


def _is_list(kind: Any) -> bool:
    asked = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_map)
    return any(ask(kind) for ask in asked) or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)


WAYS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Values]], ...] = (
    (lambda kind: isinstance(kind, pa.UuidType), lambda array: _fallback(array)),
    (lambda kind: isinstance(kind, pa.BaseExtensionType), lambda array: plain(array.storage)),
    (pa.types.is_dictionary, _coded),
    (lambda kind: is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind), _as_they_are),
    (pa.types.is_null, _as_they_are),
    (pa.types.is_floating, _floats),
    (is_bytes, _bytes),
    (lambda kind: pa.types.is_timestamp(kind) or pa.types.is_date(kind), moments),
    (pa.types.is_time, _clock),
    (pa.types.is_duration, _durations),
    (pa.types.is_decimal, _decimals),
    (_is_list, _lists),
    (pa.types.is_struct, _structs),
)
