"""Delta tables of the lake: rows of persons leave the newest version, and every older one with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from pipelines.erasure.subjects import Sought, said_in
from pipelines.stores.erasures import Erasures
from pipelines.stores.purging import Mask, files, keeping, logged, purged, stored

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable


@dataclass(frozen=True)
class Found:
    """What a place holds of some persons: rows that people see, and things beside them that nobody reads any more."""

    rows: int = 0
    remains: int = 0

    def __bool__(self) -> bool:
        return bool(self.rows or self.remains)


@dataclass(frozen=True)
class Table:
    """One table, `name` as layer/name."""

    name: str
    uri: str
    book: Erasures
    header: tuple[str, ...] = ()
    """The columns of the lines that it keeps as they landed."""

    def find(self, sought: Sought) -> Found:
        """Rows of the newest version; files and lines of the log that only older versions need."""
        mask, live = theirs(sought, self.header), self._live
        counts = {path: self._count(path, mask) for path in stored(self.uri)}
        rows = sum(count for path, count in counts.items() if path in live)
        dead = sum(bool(count) for path, count in counts.items() if path not in live)
        named = (text for text in logged(self.uri) if sought.may_be_in(text.encode("utf-8", "replace")))
        return Found(rows, dead + sum(map(sought.in_text, named)))

    def cells(self, column: str, sought: Sought | None = None) -> set[str]:
        """The texts of a column's values in the newest version, of all rows or of theirs; none without the column."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from pipelines.stores.tables import rows_of

        rows, found = rows_of(self._table), set[str]()
        if column not in rows.schema.names:
            return found
        for batch in rows.to_batches(columns=[column] if sought is None else None):
            part = pa.Table.from_batches([batch])
            part = part if sought is None else part.filter(theirs(sought, self.header)(part))
            found |= set(pc.unique(part[column].cast(pa.string()).combine_chunks()).to_pylist())
        return found - {None}

    def said(self, column: str) -> set[str]:
        """The column's values in rows written as JSON, and in lines kept as they landed."""
        from pipelines.stores.tables import rows_of

        rows = rows_of(self._table)
        names = [each.name for each in rows.schema if _is_text(each.type)]
        texts = (
            _plain(value)
            for batch in rows.to_batches(columns=names)
            for each in batch.columns
            for value in each.to_pylist()
        )
        return {each for text in texts if text for each in said_in(text, column, self.header)}

    def remove(self, sought: Sought, now: datetime) -> None:
        """They are gone from the disk once this returns; a call that ended midway is finished by the next."""
        found = self.find(sought)
        if not found:
            return
        table = self._table
        self.book.cut(self.name, int(table.version()) + 1, now)
        if found.rows:
            keeping(table, theirs(sought, self.header))
        purged(table)
        self.__dict__.pop("_table", None)

    def _count(self, path: str, mask: Mask) -> int:
        import pyarrow.parquet as pq

        with files(self.uri).open_input_file(path) as source:
            found = pq.ParquetFile(source)
            parts = (found.read_row_group(number) for number in range(found.num_row_groups))
            return sum(int(mask(part).combine_chunks().true_count) for part in parts)

    @cached_property
    def _table(self) -> "DeltaTable":
        from deltalake import DeltaTable

        return DeltaTable(self.uri)

    @property
    def _live(self) -> set[str]:
        from urllib.parse import unquote

        import pyarrow as pa

        return {unquote(path) for path in pa.table(self._table.get_add_actions())["path"].to_pylist()}


def theirs(sought: Sought, header: Sequence[str]) -> Mask:
    """Which rows are theirs: by a column of the name, else by JSON, raw lines and words in any of its texts."""

    def mask(rows: "pa.Table") -> "pa.ChunkedArray":
        return sought.mask(rows) if sought.of(rows.column_names) else _told(rows, sought, header)

    return mask


def _told(rows: "pa.Table", sought: Sought, header: Sequence[str]) -> "pa.ChunkedArray":
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pa.chunked_array([pa.repeat(False, rows.num_rows)])
    for column in rows.columns:
        if _is_text(column.type):
            said = pa.array([_says(each, sought, header) for each in column.to_pylist()], pa.bool_())
            found = pc.or_(found, pa.chunked_array([said]))
    return found


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    of = kind.value_type if types.is_list(kind) else kind
    return any(
        test(of)
        for test in (
            types.is_string,
            types.is_large_string,
            types.is_binary,
            types.is_large_binary,
            types.is_string_view,
        )
    )


def _says(value: object, sought: Sought, header: Sequence[str]) -> bool:
    if isinstance(value, list):
        return any(_says(each, sought, header) for each in value)
    text = _plain(value)
    return text is not None and sought.in_record(text, header)


def _plain(value: object) -> str | None:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return text if isinstance(text, str) else None
