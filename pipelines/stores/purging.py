"""Takes rows out of a Delta table so that nothing of them is left: no old file, no old version, no line in its log.

Whoever calls holds the erasure's lock: nobody writes meanwhile, so every file that the newest version does not name
belongs to nobody.
"""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pipelines.contracts import TransientError
from pipelines.stores.durable import flush, local

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable
    from pyarrow.fs import FileSystem

LOG = "_delta_log"
COMMIT = re.compile(r"(\d{20})\.")
Mask = Callable[["pa.Table"], "pa.ChunkedArray"]
"""Which rows are meant."""


def files(uri: str) -> "FileSystem":
    """The file system whose root is a table's or a lake's folder, local or at an address."""
    from pyarrow.fs import LocalFileSystem, PyFileSystem, SubTreeFileSystem

    folder = local(uri)
    if folder is not None:
        return SubTreeFileSystem(str(folder), LocalFileSystem())
    from deltalake.fs import DeltaStorageHandler

    return PyFileSystem(DeltaStorageHandler(uri))


def tables(lake: str, depth: int = 4) -> list[str]:
    """Every Delta table below a folder, as layer/name, whoever made it."""
    from pyarrow.fs import FileSelector, FileType

    system, found, here = files(lake), list[str](), [""]
    for _ in range(depth):
        below = []
        for place in here:
            inside = system.get_file_info(FileSelector(place, allow_not_found=True))
            names = [each.base_name for each in inside if each.type is FileType.Directory]
            if LOG in names:
                found.append(place.strip("/"))
            else:
                below += [f"{place}/{name}".strip("/") for name in names]
        here = below
    return sorted(found)


def stored(uri: str) -> Iterator[str]:
    """Every data file below a table's folder, also those that no version names."""
    from pyarrow.fs import FileSelector, FileType

    for each in files(uri).get_file_info(FileSelector("", recursive=True, allow_not_found=True)):
        if each.type is FileType.File and each.path.endswith(".parquet") and LOG not in each.path:
            yield each.path


def logged(uri: str) -> Iterator[str]:
    """The text of each file of a table's log, one by one; a checkpoint's as its values are printed."""
    import pyarrow.parquet as pq
    from pyarrow.fs import FileSelector, FileType

    system = files(uri)
    for each in system.get_file_info(FileSelector(LOG, recursive=True, allow_not_found=True)):
        if each.type is FileType.File:
            with system.open_input_file(each.path) as file:
                plain = not each.path.endswith(".parquet")
                yield (
                    file.read().decode("utf-8", "replace") if plain else str(pq.read_table(file).to_pylist())
                )


def without(table: "DeltaTable", predicate: str) -> None:
    """As `keeping`, without the rows of a predicate in SQL.

    Not delta-rs's own DELETE: it writes texts as Arrow's string_view, which Arrow's filters cannot compare.
    """
    import duckdb

    def mask(rows: "pa.Table") -> "pa.ChunkedArray":
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            connection.register("part", rows)
            query = f"select coalesce(({predicate}), false) as hit from part"
            return connection.execute(query).to_arrow_table()["hit"]

    keeping(table, mask)


def keeping(table: "DeltaTable", unwanted: Mask) -> None:
    """A version without the rows of a mask; the whole table is written anew, as a stream."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from deltalake import write_deltalake

    from pipelines.stores.tables import rows_of, writing

    rows = rows_of(table)

    def kept() -> Iterator[pa.RecordBatch]:
        for batch in rows.to_batches(batch_readahead=2, fragment_readahead=1):
            part = pa.Table.from_batches([batch])
            yield from part.filter(pc.invert(unwanted(part))).to_batches()

    reader = pa.RecordBatchReader.from_batches(rows.schema, kept())
    write_deltalake(table, reader, mode="overwrite", writer_properties=writing(rows.schema))
    table.update_incremental()
    flush(table.table_uri)


def purged(table: "DeltaTable") -> int:
    """Leaves the newest version alone, its transactions in it; the first version that can be read from now on.

    Removed are all other data files, and every commit before it: their statistics and predicates name values. Where
    this ends midway, the next call does the rest.
    """
    from deltalake import write_deltalake

    from pipelines.stores.tables import rows_of

    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    table.update_incremental()
    table.create_checkpoint()
    first = int(table.version())
    # delta-rs appends to no table whose log ends in a checkpoint: one commit has to follow it.
    write_deltalake(table, rows_of(table).schema.empty_table(), mode="append")
    table.update_incremental()
    flush(table.table_uri)
    _cut(table.table_uri, first)
    return first + 1


def _cut(uri: str, first: int) -> None:
    """Removes the log's files up to a checkpoint, oldest first, and looks that nothing of them is left."""
    for path, number in _commits(uri):
        if number < first or (number == first and "checkpoint" not in path):
            files(uri).delete_file(path)
    if any(number < first for _, number in _commits(uri)):
        raise TransientError(f"{uri}: the old versions could not be removed; run it again")


def _commits(uri: str) -> list[tuple[str, int]]:
    from pyarrow.fs import FileSelector

    found: list[Any] = files(uri).get_file_info(FileSelector(LOG, recursive=True, allow_not_found=True))
    numbered = ((each.path, COMMIT.match(each.base_name)) for each in found)
    return sorted((path, int(match[1])) for path, match in numbered if match)
