"""Parquet as it lands: its schema held against the dataset, then its rows through the same strict reading."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.catalog import DatasetSpec
from pipelines.contracts import TransientError
from pipelines.reading import arrow_values, int96
from pipelines.reading.arrow_values import depth, is_bytes, is_text, leaves, lengths, picked
from pipelines.reading.conversions import converted, fault_of_type, kind_for
from pipelines.reading.delimited import MOST_COLUMNS, as_named, labels, missing_columns, unknown_columns
from pipelines.reading.records import LONGEST_RECORD, Bad, Hashed, Parsed, Refused
from pipelines.reading.values import Faults, rescued, typed

ROWS = 32_768
STRETCH = 64 << 20
"""Bytes of values that are worked on at once."""
DEEPEST = 50


class Source:
    """One Parquet file; its footer is read and checked at once. A row's line is its number, from 1."""

    def __init__(self, raw: Hashed, spec: DatasetSpec) -> None:
        self.spec, self._raw, self._bytes = spec, raw, 0
        self._file = _guarded(lambda: pq.ParquetFile(raw.file, pre_buffer=False))
        schema = self._file.schema_arrow
        names = as_named(list(schema.names), spec)
        fault = _shape_fault(self._file, spec) or _schema_fault(names, schema.types, spec)
        if fault:
            raise Refused(fault)
        self.names = labels(names)
        self.extra = [name for name in self.names if name not in spec.columns]
        self._kinds = dict(zip(self.names, schema.types, strict=True))

    @property
    def note(self) -> str | None:
        """The columns the dataset does not know, and how to accept them."""
        kinds = {name: kind for name in self.extra if (kind := kind_for(self._kinds[name]))}
        absent = [name for name in self.spec.columns if name not in self.names]
        return unknown_columns(self.spec, self.extra, absent, kinds)

    def digest(self) -> str:
        """SHA-256 of the file as it lies there now."""
        self._raw.file.seek(0)
        return Hashed(self._raw.file).digest()

    def blocks(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The rows a stretch at a time, with the number of the first."""
        batches, row = _guarded(self._batches), 1
        while (batch := _guarded(lambda: next(batches, None))) is not None:
            _check(batch)
            size = _unpacked(batch)
            self._bytes += size
            if self._bytes > self.spec.max_bytes:
                raise Refused(f"larger than {self.spec.name}'s limit of {self.spec.max_bytes} bytes")
            step = max(1, batch.num_rows // (size // STRETCH + 1))
            for start in range(0, batch.num_rows, step):
                yield row + start, batch.slice(start, step)
            row += batch.num_rows

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """The file's batches; times of 96 bits as they are, which nanoseconds of 64 bits need not hold."""
        batches = self._file.iter_batches(ROWS, use_threads=False)
        places = int96.columns(self._file)
        if not places:
            return iter(batches)
        seconds = pq.ParquetFile(self._raw.file, pre_buffer=False, coerce_int96_timestamp_unit="s")
        pairs = zip(batches, seconds.iter_batches(ROWS, use_threads=False), strict=True)
        return (int96.exact(fine, wide, places) for fine, wide in pairs)

    def raw(self, lines: np.ndarray[Any, Any]) -> Iterator[dict[int, bytes]]:
        """The rows with these numbers (ascending) as JSON, a stretch of the file at a time."""
        for first, batch in self.blocks():
            near = lines[np.searchsorted(lines, first) : np.searchsorted(lines, first + batch.num_rows)]
            if len(near):
                yield dict(zip(near.tolist(), self._json(batch, near - first), strict=True))

    def parse(self, block: tuple[int, pa.RecordBatch]) -> Parsed:
        """A stretch of rows: typed, or refused with the first rule they break."""
        first, batch = block
        texts, faults = self._texts(batch)
        if faults:
            texts = texts.filter(pc.invert(pc.is_in(texts["_index"], pa.array(list(faults), pa.int64()))))
        table, ill = typed(self.spec, texts)
        faults |= ill
        kept = table["_index"].combine_chunks()
        extra = [arrow_values.texts(batch.column(self.names.index(name))).take(kept) for name in self.extra]
        landed = (
            table.select(list(self.spec.columns))
            .append_column("_rescued", rescued(self.extra, extra, table.num_rows))
            .append_column("_line", pc.add(table["_index"], first))
        )
        refused = sorted(faults)
        raws = self._json(batch, np.array(refused, np.int64))
        return Parsed(landed, [Bad(first + i, *faults[i], raw) for i, raw in zip(refused, raws, strict=True)])

    def _texts(self, batch: pa.RecordBatch) -> tuple[pa.Table, Faults]:
        """The dataset's columns as texts with `_index`, and the rows that are at fault already."""
        columns: list[pa.Array] = []
        faults: Faults = {}
        for name in self.spec.columns:
            text, lossy = self._text(batch, name)
            columns.append(text)
            faults = lossy | faults
        texts = pa.Table.from_arrays(columns, list(self.spec.columns))
        faults = _nul_bytes(texts) | faults
        return texts.append_column("_index", pa.array(range(batch.num_rows), pa.int64())), faults

    def _text(self, batch: pa.RecordBatch, name: str) -> tuple[pa.Array, Faults]:
        if name not in self.names:
            return pa.nulls(batch.num_rows, pa.string()), {}
        return converted(batch.column(self.names.index(name)), name, self.spec)

    def _json(self, batch: pa.RecordBatch, indexes: np.ndarray[Any, Any]) -> list[bytes]:
        """The rows at these places, each as one JSON object."""
        return arrow_values.rows(self.names, [picked(column, indexes) for column in batch.columns])


def _check(batch: pa.RecordBatch) -> None:
    """Texts are UTF-8, and no value is longer than a row may be."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if _longest(column) > LONGEST_RECORD:
            raise Refused(f"a value of {name!r} above {LONGEST_RECORD} bytes")
        try:
            for leaf in leaves(column):
                leaf.validate(full=is_text(leaf.type))
        except pa.ArrowInvalid as error:
            raise Refused(f"a Parquet text is not UTF-8: {_first_line(error)}") from error


def _longest(column: pa.Array) -> int:
    """Bytes of a column's longest value."""
    if pa.types.is_nested(column.type) and column.nbytes > LONGEST_RECORD:
        return max((column.slice(i, 1).nbytes for i in range(len(column))), default=0)
    words = [leaf for leaf in leaves(column) if is_text(leaf.type) or is_bytes(leaf.type)]
    return max((pc.max(lengths(leaf)).as_py() or 0 for leaf in words), default=0)


def _unpacked(batch: pa.RecordBatch) -> int:
    """Bytes of a batch's values once each stands by itself, where a file says a long one once."""
    size = batch.nbytes
    for column in batch.columns:
        if pa.types.is_dictionary(column.type) and (
            is_text(column.type.value_type) or is_bytes(column.type.value_type)
        ):
            size += pc.sum(lengths(column.dictionary).take(column.indices)).as_py() or 0
    return int(size)


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


def _shape_fault(file: Any, spec: DatasetSpec) -> str | None:
    """Whether a file has more columns, or columns in columns, than anybody means."""
    schema, columns = file.schema_arrow, file.metadata.num_columns
    if columns > MOST_COLUMNS:
        return f"{columns} columns; a {spec.name} file has {len(spec.columns)}"
    deep = [field.name for field in schema if depth(field.type) > DEEPEST]
    return f"column {deep[0]!r} is nested more than {DEEPEST} deep" if deep else None


def _schema_fault(names: list[str], kinds: list[Any], spec: DatasetSpec) -> str | None:
    """What is wrong with a Parquet file's columns, in one sentence; None if nothing is."""
    doubled = [name for name in spec.columns if names.count(name) > 1]
    if doubled:
        return f"column {doubled[0]!r} stands twice in the schema"
    missing = [name for name in spec.required if name not in names]
    if missing:
        return missing_columns(spec, missing, [name for name in names if name not in spec.columns])
    found = ((name, kind) for name, kind in zip(names, kinds, strict=True) if name in spec.columns)
    return next(filter(None, (fault_of_type(kind, name, spec) for name, kind in found)), None)


def _nul_bytes(texts: pa.Table) -> Faults:
    faults: Faults = {}
    for name in texts.column_names:
        found = pc.indices_nonzero(pc.fill_null(pc.match_substring(texts[name], "\0"), False))
        faults |= dict.fromkeys(found.to_pylist(), ("NUL byte", "a field holds a NUL byte"))
    return faults
