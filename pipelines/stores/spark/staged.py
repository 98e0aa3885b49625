"""Parquet files that others wrote into a Delta table's folder, and the one commit that makes them its rows.

Whoever writes them may be many, on many machines, and may die half-way: until the commit no version names them, and
readers do not see them.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction
from pyarrow.fs import (
    FileInfo,
    FileSelector,
    FileSystem,
    FileType,
    LocalFileSystem,
    PyFileSystem,
    SubTreeFileSystem,
)

from pipelines.contracts import TransientError
from pipelines.stores.durable import flush, fsync, local

ATTEMPTS = 10
OTHERS = "others"
LONGEST = 100
"""Longer texts are not told as a file's least and greatest."""
TRUNCATED = timedelta(milliseconds=1)
"""How far below a column's greatest time the log may say that it is."""


@dataclass(frozen=True)
class Window:
    """The rows to be replaced: those of which all `times` are at most `until`, and one is after `after`."""

    times: tuple[str, ...]
    after: datetime
    until: datetime

    def rows(self, slack: timedelta = timedelta()) -> pc.Expression:
        """The rows as Arrow's predicate; with `slack`, more of them."""
        moments = [pc.field(name) for name in self.times]
        after, until = (pa.scalar(t, pa.timestamp("us", "UTC")) for t in (self.after - slack, self.until))
        late, early = moments[0] > after, moments[0] <= until
        for moment in moments[1:]:
            late, early = late | (moment > after), early & (moment <= until)
        return late & early


class Staging:
    """A folder of a table's own folder, for files of one replacement; `uri` is where others write them."""

    def __init__(self, table: DeltaTable) -> None:
        self.table, self.name = table, f"staged-{uuid4().hex}"
        self.uri = self.below(self.name)
        self._system = _system(table)

    def below(self, path: str) -> str:
        """The address of a file or folder of the table."""
        folder = local(self.table.table_uri)
        return str(folder / path) if folder is not None else f"{self.table.table_uri.rstrip('/')}/{path}"

    def rows(self) -> pads.Dataset:
        """What was written, with the table's columns."""
        schema = pa.schema(self.table.schema().to_arrow())
        paths = [file.path for file in self._files()]
        if not paths:
            return pads.dataset(schema.empty_table())
        return pads.dataset(paths, schema=schema, filesystem=self._system, format="parquet")

    def forget(self, part: str = "") -> None:
        """Take away what was written and not committed, or a part of it."""
        folder = f"{self.name}/{part}" if part else self.name
        if self._system.get_file_info(folder).type == FileType.Directory:
            self._system.delete_dir(folder)

    def commit(self, removed: list[RemoveAction]) -> bool:
        """Make the files the table's, in place of others, in one commit; False if another came before it."""
        actions = [_addition(self._system, file) for file in self._files()]
        self._settle()
        # Without retries: a commit in between may hold rows that this one was to replace.
        once = CommitProperties(max_commit_retries=0)
        try:
            self.table.create_write_transaction(
                [*actions, *removed], "append", self.table.schema(), commit_properties=once
            )
        except CommitFailedError:
            return False
        self.table.update_incremental()
        flush(self.table.table_uri)
        return True

    def _files(self) -> list[FileInfo]:
        found = self._system.get_file_info(FileSelector(self.name, allow_not_found=True, recursive=True))
        return sorted((f for f in found if _is_rows(f)), key=lambda file: str(file.path))

    def _settle(self) -> None:
        """On a local disk, bring the files to it, and take away checksums and marks: no vacuum would."""
        folder = local(self.uri)
        paths = [] if folder is None else sorted([folder, *folder.rglob("*")])
        for path in paths:
            if path.is_file() and path.suffix != ".parquet":
                path.unlink()
        for path in paths:
            fsync(path)


def replace(staging: Staging, window: Window, keep: Callable[[list[str], str], None]) -> None:
    """Put the staged rows in place of a window's in their table.

    A file with rows of the window and others is written anew without the former: `keep` is given such files and where
    to write the others.
    """
    for _ in range(ATTEMPTS):
        touched = list(_touched(staging.table, window))
        mixed = [path for path, whole in touched if not whole]
        if mixed:
            keep([staging.below(unquote(path)) for path in mixed], f"{staging.uri}/{OTHERS}")
        now = int(time.time() * 1000)
        if staging.commit([RemoveAction(path, True, now) for path, _ in touched]):
            return
        staging.forget(OTHERS)
        staging.table.update_incremental()
    raise TransientError(f"{staging.table.table_uri}: others kept committing; try again")


def _touched(table: DeltaTable, window: Window) -> Iterator[tuple[str, bool]]:
    """The files with rows of the window, as the log names them, and whether they hold no others."""
    rows = table.to_pyarrow_dataset(filesystem=_system(table))
    for fragment in rows.get_fragments(filter=window.rows(TRUNCATED)):
        inside = fragment.count_rows(filter=window.rows())
        if inside:
            yield fragment.path, inside == fragment.count_rows()


def _system(table: DeltaTable) -> FileSystem:
    """A file system that begins at the table's folder."""
    folder = local(table.table_uri)
    if folder is not None:
        return SubTreeFileSystem(str(folder), LocalFileSystem())
    return PyFileSystem(DeltaStorageHandler.from_table(table._table, table._storage_options))


def _is_rows(file: FileInfo) -> bool:
    """Writers leave checksums, marks and half a try beside their files."""
    hidden = any(part.startswith(("_", ".")) for part in file.path.split("/"))
    return file.type == FileType.File and file.path.endswith(".parquet") and not hidden


def _addition(system: FileSystem, file: FileInfo) -> AddAction:
    with system.open_input_file(file.path) as opened:
        found = pq.read_metadata(opened)
    changed = int(file.mtime.timestamp() * 1000) if file.mtime else 0
    return AddAction(quote(file.path), file.size, {}, changed, True, json.dumps(_statistics(found)))


def _statistics(found: pq.FileMetaData) -> dict[str, Any]:
    """A file's rows, nulls, least and greatest values as Delta's log has them.

    Not of floats: Parquet leaves NaN out of them, and readers would skip files that hold what they look for.
    """
    told: dict[str, Any] = {"numRecords": found.num_rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
    for place in range(found.num_columns):
        parts = [found.row_group(n).column(place) for n in range(found.num_row_groups)]
        name, known = found.schema.column(place).path, [part.statistics for part in parts]
        if not all(each is not None and each.has_null_count for each in known):
            continue
        told["nullCount"][name] = sum(each.null_count for each in known)
        valued = [each for each in known if each.num_values]
        if valued and all(each.has_min_max for each in valued):
            ends = _told(min(each.min for each in valued)), _told(max(each.max for each in valued))
            if None not in ends:
                told["minValues"][name], told["maxValues"][name] = ends
    return told


def _told(value: Any) -> Any:
    """A value as the log's JSON has it; None for what is not told."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if value.tzinfo else "%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return value if len(value) <= LONGEST else None
    return value if isinstance(value, bool | int) else None
