"""Parquet as it lands: its schema held against the dataset, then its rows through the same strict reading."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.catalog import Column, DatasetSpec
from pipelines.contracts import TransientError
from pipelines.reading.delimited import MOST_COLUMNS, labels, missing_columns, unknown_columns
from pipelines.reading.records import LONGEST_RECORD, Bad, Hashed, Parsed, Refused
from pipelines.reading.values import Faults, rescued, typed

ROWS = 32_768
KINDS = {
    "string": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t),
    "integer": pa.types.is_integer,
    "float": lambda t: pa.types.is_floating(t) or pa.types.is_integer(t),
    "timestamp": lambda t: pa.types.is_timestamp(t) and t.tz is not None,
}


class Source:
    """One Parquet file; its footer is read and checked at once. A row's line is its number, from 1."""

    def __init__(self, raw: Hashed, spec: DatasetSpec) -> None:
        self.spec, self._raw, self._bytes = spec, raw, 0
        self._file = _guarded(lambda: pq.ParquetFile(raw.file, pre_buffer=False))
        self.names = list(self._file.schema_arrow.names)
        fault = _schema_fault(self._file.schema_arrow, spec)
        if fault:
            raise Refused(fault)
        self.names = labels(self.names)
        self.extra = [name for name in self.names if name not in spec.columns]

    @property
    def note(self) -> str | None:
        """The columns the dataset does not know, and how to accept them."""
        return unknown_columns(self.spec, self.extra)

    def digest(self) -> str:
        """SHA-256 of the file as it lies there now."""
        self._raw.file.seek(0)
        return Hashed(self._raw.file).digest()

    def blocks(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The rows a stretch at a time, with the number of the first."""
        batches, row = self._file.iter_batches(ROWS, use_threads=False), 1
        while (batch := _guarded(lambda: next(batches, None))) is not None:
            self._bytes += batch.nbytes
            _check(batch)
            if self._bytes > self.spec.max_bytes:
                raise Refused(f"larger than {self.spec.name}'s limit of {self.spec.max_bytes} bytes")
            yield row, batch
            row += batch.num_rows

    def raw(self, lines: np.ndarray[Any, Any]) -> Iterator[dict[int, bytes]]:
        """The rows with these numbers (ascending) as JSON, a stretch of the file at a time."""
        for first, batch in self.blocks():
            near = lines[np.searchsorted(lines, first) : np.searchsorted(lines, first + batch.num_rows)]
            if len(near):
                yield {int(line): _json(batch, int(line) - first) for line in near}

    def parse(self, block: tuple[int, pa.RecordBatch]) -> Parsed:
        """A stretch of rows: typed, or refused with the first rule they break."""
        first, batch = block
        columns = [self._text(batch, name) for name in self.spec.columns]
        texts = pa.Table.from_arrays(columns, list(self.spec.columns))
        index = pa.array(range(batch.num_rows), pa.int64())
        faults = _nul_bytes(texts)
        texts = texts.append_column("_index", index)
        if faults:
            texts = texts.filter(pc.invert(pc.is_in(index, pa.array(list(faults), pa.int64()))))
        table, ill = typed(self.spec, texts)
        faults |= ill
        extra = [
            _any_text(batch.column(self.names.index(name)).take(table["_index"].combine_chunks()))
            for name in self.extra
        ]
        landed = (
            table.select(list(self.spec.columns))
            .append_column("_rescued", rescued(self.extra, extra, table.num_rows))
            .append_column("_line", pc.add(table["_index"], first))
        )
        return Parsed(landed, [Bad(first + i, *faults[i], _json(batch, i)) for i in sorted(faults)])

    def _text(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        if name not in self.names:
            return pa.nulls(batch.num_rows, pa.string())
        array = batch[name]
        text = _time_text(array) if pa.types.is_timestamp(array.type) else array.cast(pa.string())
        empty = pc.is_in(text, pa.array(self.spec.null_values, pa.string()))
        return pc.if_else(empty, pa.scalar(None, pa.string()), text)


def _check(batch: pa.RecordBatch) -> None:
    """Texts are UTF-8 and of a length that a row may have."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        long = pa.types.is_binary(column.type) or KINDS["string"](column.type)
        if long and (pc.max(pc.binary_length(column)).as_py() or 0) > LONGEST_RECORD:
            raise Refused(f"a value of {name!r} above {LONGEST_RECORD} bytes")
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        raise Refused(f"a Parquet text is not UTF-8: {_first_line(error)}") from error


def _guarded(call: Any) -> Any:
    """A read whose failure is the file's, unless the disk itself reported it."""
    try:
        return call()
    except OSError as error:
        if error.errno is not None:
            raise TransientError(
                f"the file could not be read: {error.strerror}; it will be tried again"
            ) from error
        raise Refused(f"not sound Parquet: {_first_line(error)}") from error
    except (pa.ArrowException, ValueError, MemoryError) as error:
        raise Refused(f"not sound Parquet: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _schema_fault(schema: pa.Schema, spec: DatasetSpec) -> str | None:
    """What is wrong with a Parquet file's columns, in one sentence; None if nothing is."""
    if len(schema.names) > MOST_COLUMNS:
        return f"{len(schema.names)} columns; a {spec.name} file has {len(spec.columns)}"
    doubled = [name for name in spec.columns if schema.names.count(name) > 1]
    if doubled:
        return f"column {doubled[0]!r} stands twice in the schema"
    missing = [name for name in spec.required if name not in schema.names]
    if missing:
        return missing_columns(spec, missing, [name for name in schema.names if name not in spec.columns])
    for name, column in spec.columns.items():
        if name in schema.names and not _fits(schema.field(name).type, column):
            zone = " with a zone" if column.type == "timestamp" else ""
            found = schema.field(name).type
            return f"Parquet column {name!r} is {found}, but {spec.name}.yaml says {column.type}{zone}"
    return None


def _fits(kind: Any, column: Column) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(KINDS[column.type](plain) or pa.types.is_null(plain))


def _time_text(array: pa.Array) -> pa.Array:
    """Times as texts; nanoseconds are written out where there are any, and then refused as too fine."""
    exact = array.cast(pa.timestamp("us", "UTC"), safe=False)
    text = pc.replace_substring_regex(exact.cast(pa.string()), r"\.000000Z$", "Z")
    if array.type.unit != "ns":
        return text
    same = pc.equal(exact.cast(pa.timestamp("ns", "UTC")), array.cast(pa.timestamp("ns", "UTC")))
    return pc.if_else(same, text, array.cast(pa.string()))


def _nul_bytes(texts: pa.Table) -> Faults:
    faults: Faults = {}
    for name in texts.column_names:
        found = pc.indices_nonzero(pc.fill_null(pc.match_substring(texts[name], "\0"), False))
        faults |= dict.fromkeys(found.to_pylist(), ("NUL byte", "a field holds a NUL byte"))
    return faults


def _any_text(array: pa.Array) -> pa.Array:
    """Whatever a column holds, as texts."""
    values = array.to_pylist()
    return pa.array([v if v is None or isinstance(v, str) else str(v) for v in values], pa.string())


def _json(batch: pa.RecordBatch, index: int) -> bytes:
    return json.dumps(batch.slice(index, 1).to_pylist()[0], default=str).encode()
