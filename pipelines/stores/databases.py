"""SQL databases as our stores use them: SQLite by default, PostgreSQL by setting."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError

from pipelines.contracts import EvergreenError


class Utc(sa.types.TypeDecorator[datetime]):
    """Times go in and come out timezone-aware in UTC, also on SQLite, which forgets the zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


BESIDE = ("-wal", "-shm", "-journal")
"""Files of SQLite's that lie beside a database while it is in use."""
UNREACHABLE = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""Of libpq: after 10 s nobody waits for a PostgreSQL that accepts and never answers, and after one minute (in ms)
for one whose machine is gone; by default both are waited for as long as the kernel does, which may be hours."""


def engine(url: str, unreachable: Mapping[str, Any] = UNREACHABLE) -> sa.Engine:
    """A pooled engine; SQLite waits for locks and lets readers read while one writes, PostgreSQL is given up in time.

    What the URL says itself of time-outs counts. EvergreenError, which does not repeat it, if it is none.
    """
    if not url.startswith("sqlite"):
        own = _understood(url)
        said = {name: each for name, each in unreachable.items() if name not in own.query}
        patience = said if own.get_backend_name() == "postgresql" else {}
        return sa.create_engine(url, pool_pre_ping=True, connect_args=patience)
    made = sa.create_engine(url, connect_args={"timeout": 60})
    file = made.url.database
    if file and file != ":memory:":
        Path(file).parent.mkdir(parents=True, exist_ok=True)

    @sa.event.listens_for(made, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA busy_timeout=60000")
        connection.execute("PRAGMA synchronous=FULL")

    return made


def _understood(url: str) -> sa.URL:
    """The URL with its parts told apart, of a database that there is a driver for."""
    try:
        own = sa.make_url(url)
        own.get_dialect()
    except (ArgumentError, ImportError, ValueError):  # what they say of it may be a password
        raise EvergreenError(
            "the URL of a database cannot be used; EVERGREEN_DATABASE_URL and EVERGREEN_TRACKING_URI look like"
            " postgresql+psycopg2://USER:PASSWORD@HOST:5432/NAME, a / of a password as %2F; its value is not shown"
        ) from None
    return own


class Opened:
    """A database whose tables are made when it is first asked for; `made` is its engine before that."""

    def __init__(self, url: str, *tables: sa.MetaData) -> None:
        self.made, self._tables = engine(url), tables
        self._there, self._lock = False, Lock()

    def __call__(self) -> sa.Engine:
        with self._lock:
            if not self._there:
                for metadata in self._tables:
                    create(self.made, metadata)
                self._there = True
        return self.made


def create(made: sa.Engine, metadata: sa.MetaData) -> None:
    """Creates what is missing, also when several processes start at once."""
    for attempt in range(10):
        try:
            with made.begin() as connection:
                if made.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                metadata.create_all(connection)
                _fits(connection, metadata)
            return
        except DBAPIError:
            if attempt == 9:
                raise


def _fits(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Gives a table that an earlier Evergreen made the columns that came since; rows of before have what is usual.

    EvergreenError where nobody can say what they would have, and nothing is changed.
    """
    inspector = sa.inspect(connection)
    lacking = {}
    for table in metadata.sorted_tables:
        there = {column["name"] for column in inspector.get_columns(table.name)}
        lacking[table] = [column for column in table.columns if column.name not in there]
        told = [column.name for column in lacking[table] if _usual(column, connection.dialect) is None]
        if told:
            raise EvergreenError(
                f"table {table.name} of {connection.engine.url!r} lacks {', '.join(sorted(told))}: an Evergreen made it"
                " from which this one cannot take over; nothing was changed. Go back to the commit that made it, and"
                " upgrade by way of a commit between, see docs/how-to/upgrade.md"
            )
    for table, columns in lacking.items():
        for column in columns:
            _add(connection, table, column)


def _usual(column: sa.Column[Any], dialect: sa.Dialect) -> str | None:
    """The value that rows of before a column have in it, as SQL; None if there is no such value."""
    if column.primary_key or column.unique or column.foreign_keys:
        return None
    if column.nullable:
        return "NULL"
    value = (
        getattr(column.default, "arg", None)
        if column.default is not None and column.default.is_scalar
        else None
    )
    return None if value is None else str(sa.literal(value, column.type).compile(
        dialect=dialect, compile_kwargs={"literal_binds": True}
    ))  # fmt: skip


def _add(connection: sa.Connection, table: sa.Table, column: sa.Column[Any]) -> None:
    quote = connection.dialect.identifier_preparer.quote
    kind = column.type.compile(connection.dialect)
    usual = _usual(column, connection.dialect)
    must = "" if column.nullable else " NOT NULL"
    connection.exec_driver_sql(
        f"ALTER TABLE {quote(table.name)} ADD COLUMN {quote(column.name)} {kind}{must} DEFAULT {usual}"
    )
    for index in table.indexes:
        if column.name in index.columns:
            index.create(connection, checkfirst=True)


def insert(made: sa.Engine, table: sa.Table) -> Any:
    """An INSERT that knows ON CONFLICT, in the database's own words."""
    if made.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def is_sqlite(path: Path) -> bool:
    """Whether a file is SQLite's, or lies beside one while it is in use.

    SQLite itself is asked: whoever else opens and closes a file drops the locks of all connections that his process has
    to it, and two processes then write it at once.
    """
    if path.name.endswith(BESIDE):
        ends = (end for end in BESIDE if path.name.endswith(end))
        return any(is_sqlite(path.with_name(path.name.removesuffix(end))) for end in ends)
    if not path.is_file() or path.stat().st_size == 0:
        return False
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            connection.execute("pragma schema_version")
    except sqlite3.OperationalError:
        return True  # it cannot be read now, by SQLite's own words; another file is told of by a plain DatabaseError
    except sqlite3.DatabaseError:
        return False
    return True
