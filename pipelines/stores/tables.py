"""The Delta tables of the lake: each commit happens exactly once and outlives a power cut."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from pipelines.catalog import DatasetSpec
from pipelines.contracts import EvergreenError, TransientError
from pipelines.stores.durable import address, flush, local
from pipelines.stores.shared.objects import refuse_without_conditions

ARROW = {
    "string": pa.string(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
ATTEMPTS = 10
ROW_GROUP = 131_072
"""Row groups small enough that a writer holds tens of megabytes, not hundreds."""
ORDER = "order"
"""The transaction id that all commits to a version share, so that of two racing ones only the first goes through."""


def arrow_schema(spec: DatasetSpec) -> pa.Schema:
    """The dataset's columns as Arrow types, as they lie in silver without `_batch` and `_line`."""
    return pa.schema([pa.field(name, ARROW[column.type]) for name, column in spec.columns.items()])


def silver_schema(spec: DatasetSpec) -> pa.Schema:
    """Silver's columns: the dataset's, unknown columns rescued as JSON, the batch and the line in its file."""
    ours = [("_rescued", pa.string()), ("_batch", pa.string()), ("_line", pa.int64())]
    return pa.schema([*arrow_schema(spec), *(pa.field(name, kind) for name, kind in ours)])


@dataclass(frozen=True)
class Stream:
    """Rows larger than memory: `open` gives a new reader of them each time it is called."""

    schema: pa.Schema
    open: Callable[[], pa.RecordBatchReader]


class Moved(Exception):
    """Another commit came between looking at a table and adding to it."""


class Tables:
    """Tables by layer (silver, quarantine, features, ...) and name under one root folder or URL."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")

    def uri(self, layer: str, name: str) -> str:
        return address(self.root, layer, name)

    def version(self, layer: str, name: str) -> int | None:
        """The newest version of a table; None if there is no such table."""
        table = self.table(layer, name)
        return None if table is None else int(table.version())

    def committed(self, layer: str, name: str, txn: str) -> int | None:
        """The transaction's version if a commit with this id is in the table, durably; else None."""
        table = self.table(layer, name)
        version = None if table is None else table.transaction_version(txn)
        if version is not None:
            flush(self.uri(layer, name))
        return version

    def opened(self, layer: str, name: str, schema: pa.Schema) -> int:
        """The newest version of a table, made empty if there was none."""
        return int(self._open_or_create(layer, name, schema).version())

    def append(
        self,
        layer: str,
        name: str,
        data: pa.Table | Stream,
        txn: str,
        token: int = 0,
        base: int | None = None,
    ) -> bool:
        """Adds the rows once per `txn`, durably; False if that transaction was there already, by any token.

        With `base`, they are added to that version of the table and no other; Moved if it is no longer the newest.
        """
        txns = [Transaction(txn, token)] + ([Transaction(ORDER, base + 1)] if base is not None else [])
        for _ in range(ATTEMPTS):
            table = self._open_or_create(layer, name, data.schema)
            if table.transaction_version(txn) is not None:
                flush(table.table_uri)
                return False
            if base is not None and table.version() != base:
                raise Moved
            # The checks above and this write share one snapshot, so a racing commit of these ids conflicts.
            # A reader is opened only to be read: DuckDB aborts the process at its end over one left open.
            rows = data.open() if isinstance(data, Stream) else data
            if self._write(table, rows, "append", txns):
                return True
        raise TransientError(f"{self.uri(layer, name)}: others kept committing; try again")

    def replace(self, layer: str, name: str, data: pa.Table, predicate: str | None) -> int:
        """Puts the rows in place of those that match `predicate` (all if None); the version it made."""
        for _ in range(ATTEMPTS):
            table = self._open_or_create(layer, name, data.schema)
            if self._write(table, data, "overwrite", [], predicate):
                return int(table.version())
        raise TransientError(f"{self.uri(layer, name)}: others kept committing; try again")

    def compact(self, layer: str, name: str, files: int) -> None:
        """Brings the rows of a table of more than so many files into few; earlier versions stay readable."""
        table = self.table(layer, name)
        if table is not None and len(table.file_uris()) > files:
            with suppress(CommitFailedError):  # somebody else is writing; another time
                table.optimize.compact()
                flush(table.table_uri)

    def evolve(self, spec: DatasetSpec) -> None:
        """Gives silver the dataset's columns: new ones are added, wider types rewrite it, nothing is lost."""
        table = self.table("silver", spec.name)
        if table is None:
            return
        wanted, have = silver_schema(spec), {f.name: f.type for f in pa.schema(table.schema().to_arrow())}
        gone = [name for name in have if name not in wanted.names]
        if gone:
            raise EvergreenError(
                f"silver of {spec.name} holds column {gone[0]!r}, which {spec.name}.yaml no longer has;"
                " put it back with deprecated: N instead of removing it"
            )
        changed = [
            f.name for f in wanted if f.name in have and pa.types.is_string(f.type) != _is_text(have[f.name])
        ]
        changed += [f.name for f in wanted if f.name in have and _narrower(have[f.name], f.type)]
        if changed:
            self._rewrite(table, spec, wanted)
        elif set(wanted.names) - set(have):
            self._write(table, wanted.empty_table(), "append", [], merge=True)

    def _rewrite(self, table: DeltaTable, spec: DatasetSpec, wanted: pa.Schema) -> None:
        """The same rows with wider types, in one commit; earlier versions stay readable."""

        def rows() -> pa.RecordBatchReader:
            batches = rows_of(table).scanner(batch_readahead=2, fragment_readahead=1).to_batches()
            return pa.RecordBatchReader.from_batches(wanted, (_widened(batch, wanted) for batch in batches))

        try:
            done = self._write(table, rows(), "overwrite", [])
        except (pa.ArrowInvalid, DeltaError) as error:
            raise EvergreenError(
                f"silver of {spec.name} has values that its new types cannot hold: {str(error).splitlines()[0]};"
                " widen to string instead"
            ) from error
        if not done:
            raise TransientError(f"silver of {spec.name} changed while it was widened; run again")

    def dataset(self, layer: str, name: str, version: int | None = None) -> pads.Dataset | None:
        """A table's rows at a version (the newest if None); None if there is no such table."""
        table = self.table(layer, name, version)
        return None if table is None else rows_of(table)

    def silver(self, spec: DatasetSpec, version: int | None = None) -> pads.Dataset:
        """A dataset's valid rows; empty, with the right columns, before anything landed."""
        found = self.dataset("silver", spec.name, version)
        return found if found is not None else pads.dataset(silver_schema(spec).empty_table())

    def table(self, layer: str, name: str, version: int | None = None) -> DeltaTable | None:
        """A table at a version (the newest if None); None if there is no such table."""
        try:
            return DeltaTable(self.uri(layer, name), version=version)
        except TableNotFoundError:
            return None

    def _open_or_create(self, layer: str, name: str, schema: pa.Schema) -> DeltaTable:
        if local(self.root) is None:
            refuse_without_conditions(self.root)
        table = self.table(layer, name)
        if table is not None:
            return table
        try:
            DeltaTable.create(self.uri(layer, name), schema, mode="ignore")
        except (CommitFailedError, DeltaError, OSError):
            if self.table(layer, name) is None:
                raise
        flush(self.uri(layer, name))
        return cast(DeltaTable, self.table(layer, name))

    def _write(
        self,
        table: DeltaTable,
        data: pa.Table | pa.RecordBatchReader,
        mode: str,
        txns: list[Transaction],
        predicate: str | None = None,
        merge: bool = False,
    ) -> bool:
        """Whether the commit went through; False on a conflict with another writer."""
        how: dict[str, Any] = {"mode": mode}
        if mode == "overwrite":
            how |= {"predicate": predicate, "schema_mode": "merge" if predicate else "overwrite"}
        if merge:
            how["schema_mode"] = "merge"
        if txns:
            how["commit_properties"] = CommitProperties(app_transactions=txns)
        try:
            write_deltalake(table, data, writer_properties=writing(data.schema), **how)
        except CommitFailedError:
            return False
        table.update_incremental()
        flush(table.table_uri)
        return True


def rows_of(table: DeltaTable) -> pads.Dataset:
    """A table's rows. A local one is read by Arrow's own file system: threads that call back into Python as the
    interpreter ends, which delta-rs's would, abort the process."""
    folder = local(table.table_uri)
    found = SubTreeFileSystem(str(folder), LocalFileSystem()) if folder is not None else None
    return table.to_pyarrow_dataset(filesystem=found)


def writing(schema: pa.Schema) -> WriterProperties:
    """How rows are written: a dictionary of texts, which repeat; of numbers and times it costs more than it saves."""
    texts = {
        field.name: ColumnProperties(dictionary_enabled=True) for field in schema if _is_text(field.type)
    }
    return WriterProperties(
        max_row_group_size=ROW_GROUP,
        compression="SNAPPY",
        default_column_properties=ColumnProperties(dictionary_enabled=False),
        column_properties=texts or None,
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _narrower(have: pa.DataType, wanted: pa.DataType) -> bool:
    return bool(pa.types.is_integer(have) != pa.types.is_integer(wanted))


def _widened(batch: pa.RecordBatch, wanted: pa.Schema) -> pa.RecordBatch:
    """A batch with other types; columns it lacks are null, times become ISO 8601 text."""
    columns = []
    for field in wanted:
        if field.name not in batch.schema.names:
            columns.append(pa.nulls(batch.num_rows, field.type))
        elif pa.types.is_timestamp(batch[field.name].type) and pa.types.is_string(field.type):
            columns.append(pc.strftime(batch[field.name], "%Y-%m-%dT%H:%M:%SZ"))
        else:
            columns.append(batch[field.name].cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=wanted)
