"""SQL databases, ours and every SQLite file under home: rows of persons go, and other texts forget who they name."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.contracts import TransientError
from pipelines.erasure.apart import holds
from pipelines.erasure.delta import Found
from pipelines.erasure.subjects import SHORT, Sought, said_in

if TYPE_CHECKING:
    import sqlalchemy as sa

KEPT = frozenset({"audit"})
"""A chained log: an entry that changed is a broken chain. It has no row's contents; file names it has."""
OWN = {"predictions": "prediction_id", "archive_rows": "id"}
"""Tables whose rows are about one person each, by what their JSON names or by the id of such a row."""
SECONDS = 60.0
ALWAYS = frozenset(
    {"predictions", "predictions_by_class", "truths", "archive_rows", "rollout_pairs", "batches"}
)


@dataclass(frozen=True)
class Database:
    """One database by its SQLAlchemy URL."""

    name: str
    url: str

    def find(self, sought: Sought) -> Found:
        """Rows that are theirs or name them."""
        return Found(sum(len(keys) for _, keys in self._hits(sought)))

    def kept(self, sought: Sought) -> int:
        """Entries of the audit log that name one of them, which nobody may change."""
        return sum(len(keys) for _, keys in self._hits(sought, KEPT))

    def remove(self, sought: Sought, _now: datetime) -> None:
        """They are gone from the disk once this returns, also what was deleted before and still lay in the file."""
        hits = list(self._hits(sought))
        with self._connected() as made:
            if hits:
                with made.begin() as connection:
                    if made.dialect.name == "sqlite":
                        connection.exec_driver_sql("PRAGMA secure_delete=ON")
                    for table, keys in hits:
                        _cleaned(connection, table, keys, sought)
            if made.dialect.name != "sqlite":
                self._vacuumed(made, {table.name for table, _ in hits})
            elif hits or _lies_in(Path(str(made.url.database)), sought):
                compacted(Path(str(made.url.database)))

    def prediction_ids(self, sought: Sought) -> list[str]:
        """The answers of the log whose question named one of them."""
        return [str(key["prediction_id"]) for table, keys in self._hits(sought) if table.name == "predictions"
                for key in keys]  # fmt: skip

    def said(self, column: str) -> set[str]:
        """The column's values: in a column of its name, and in rows written as JSON."""
        import sqlalchemy as sa

        found = set[str]()
        with self._connected() as made, made.connect() as connection:
            for table in self._tables(sa.MetaData(), made):
                own = [c for c in table.columns if c.name == column or isinstance(c.type, sa.JSON)]
                for row in connection.execute(sa.select(*own)) if own else ():
                    found |= {
                        each
                        for c, value in zip(own, row, strict=True)
                        for each in (
                            [str(value)] if c.name == column else said_in(_plain(value) or "", column)
                        )
                    }
        return found

    def _hits(
        self, sought: Sought, only: frozenset[str] | None = None
    ) -> Iterator[tuple["sa.Table", list[dict[str, Any]]]]:
        """Each table with the keys of its rows that are theirs or name them; children before parents."""
        import sqlalchemy as sa

        with self._connected() as made:
            for table in self._tables(sa.MetaData(), made):
                if (table.name in KEPT) if only is None else (table.name not in only):
                    continue
                keys = list(_named(made, table, sought))
                if keys:
                    yield table, keys

    def _tables(self, metadata: "sa.MetaData", made: "sa.Engine") -> list["sa.Table"]:
        metadata.reflect(made)
        return list(reversed(metadata.sorted_tables))

    def _connected(self) -> Any:
        return _Engine(self.url)

    def _vacuumed(self, made: "sa.Engine", hit: set[str]) -> None:
        """PostgreSQL's files of the tables are written anew; those of the answers always: a run may have ended here."""
        import sqlalchemy as sa

        there = {table.name for table in self._tables(sa.MetaData(), made)}
        with made.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            quoted = made.dialect.identifier_preparer.quote
            for name in sorted((hit | ALWAYS) & there):
                connection.exec_driver_sql(f"VACUUM FULL {quoted(name)}")


class _Engine:
    """An engine that leaves with its block."""

    def __init__(self, url: str) -> None:
        from pipelines.stores.databases import engine

        self._made = engine(url)

    def __enter__(self) -> "sa.Engine":
        return self._made

    def __exit__(self, *_: object) -> None:
        self._made.dispose()


def compacted(path: Path) -> None:
    """A SQLite file written anew without what was deleted from it, and its journal emptied.

    TransientError if somebody keeps reading an older state of it.
    """
    deadline = time.monotonic() + SECONDS
    with closing(sqlite3.connect(path, timeout=SECONDS, isolation_level=None)) as connection:
        connection.execute("pragma secure_delete = on")
        connection.execute("vacuum")
        while connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]:
            if time.monotonic() > deadline:
                raise TransientError(
                    f"{path} is being read all the time; its journal cannot be emptied, run it again"
                )
            time.sleep(0.05)


def _lies_in(path: Path, sought: Sought) -> bool:
    """Whether a SQLite file or its journal has the bytes of one of the values anywhere, in a row or not."""
    values = [value for each in sought.values.values() for value in each if len(value) >= SHORT]
    files = [each for each in (path, path.with_name(f"{path.name}-wal")) if each.exists()]
    return holds(files, values)


def _named(made: "sa.Engine", table: "sa.Table", sought: Sought) -> Iterator[dict[str, Any]]:
    """The keys of a table's rows that are theirs or name them."""
    import sqlalchemy as sa

    keys = list(table.primary_key.columns) or list(table.columns)
    texts = [column for column in table.columns if _is_text(column)]
    own = [column for column in table.columns if column.name in sought.cells]
    if not texts and not own:
        return
    names = list(dict.fromkeys([*keys, *texts, *own]))
    with made.connect() as connection:
        for row in connection.execute(sa.select(*names).execution_options(yield_per=1000)):
            said = row._mapping
            if any(str(said[c]) in sought.cells[c.name] for c in own) or any(
                _says(said[c], sought) for c in texts
            ):
                yield {c.name: said[c] for c in keys}


def _is_text(column: "sa.Column[Any]") -> bool:
    import sqlalchemy as sa

    return isinstance(column.type, sa.String | sa.JSON | sa.LargeBinary)


def _says(value: Any, sought: Sought) -> bool:
    text = _plain(value)
    return text is not None and sought.in_record(text, ())


def _plain(value: Any) -> str | None:
    if isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def _cleaned(
    connection: "sa.Connection", table: "sa.Table", keys: list[dict[str, Any]], sought: Sought
) -> None:
    """Deletes rows that are theirs; in others who is named becomes ERASED."""
    import sqlalchemy as sa

    theirs = table.name in OWN or any(column.name in sought.cells for column in table.columns)
    for key in keys:
        pairs = ((table.c[name], value) for name, value in key.items())
        where = sa.and_(*(column.is_(None) if value is None else column == value for column, value in pairs))
        if theirs:
            connection.execute(sa.delete(table).where(where))
            continue
        row = connection.execute(sa.select(table).where(where)).first()
        if row is not None:
            told = {c.name: _told(row._mapping[c], sought) for c in table.columns if _is_text(c)}
            connection.execute(sa.update(table).where(where).values(told))


def _told(value: Any, sought: Sought) -> Any:
    if isinstance(value, dict | list):
        return json.loads(sought.told_without(json.dumps(value)))
    if isinstance(value, bytes):
        return sought.told_without(value.decode("latin-1")).encode("latin-1", "replace")
    return sought.told_without(value) if isinstance(value, str) else value
