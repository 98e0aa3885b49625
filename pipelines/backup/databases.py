"""Databases held still for an instant, copied as they were then, and made again: SQLite by its backup API, PostgreSQL
by pg_dump from an exported snapshot."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from pipelines.backup.parts import sqlite_file
from pipelines.contracts import EvergreenError, TransientError
from pipelines.stores.databases import engine

PATIENCE = 5.0
"""Seconds to wait for those who write; then they are let through, and the instant is another one."""
PAGES = 4096
"""So many pages are copied at a time."""


class Busy(TransientError):
    """Somebody else writes; the instant has to be another one."""


class Held(Protocol):
    """A database as it was at one instant, while others go on."""

    def rows(self, query: str) -> list[tuple[Any, ...]]: ...

    def copy(self, to: Path) -> None:
        """Into a file, from which `make` makes it again."""


class Database(Protocol):
    """One of a deployment's databases; `kind` says by what it is made again."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    def still(self) -> Any:
        """A context in which nobody commits; Busy if somebody writes for too long."""

    def held(self) -> Any:
        """A context that gives the database as it is when it is entered."""


def database(name: str, url: str) -> "Database":
    file = sqlite_file(url)
    return Postgres(name, url) if file is None else Sqlite(name, file)


@dataclass(frozen=True)
class Sqlite:
    """A SQLite file."""

    name: str
    file: Path
    kind: str = "sqlite"

    @contextmanager
    def still(self) -> Iterator[None]:
        with closing(self._opened()) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise Busy(f"{self.file}: {error}") from error
            yield
            connection.execute("ROLLBACK")

    @contextmanager
    def held(self) -> "Iterator[_SqliteHeld]":
        with closing(self._opened()) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            yield _SqliteHeld(connection)

    def _opened(self) -> sqlite3.Connection:
        address = f"{self.file.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None)


@dataclass(frozen=True)
class _SqliteHeld:
    connection: sqlite3.Connection

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()

    def copy(self, to: Path) -> None:
        with closing(sqlite3.connect(to)) as target:
            self.connection.backup(target, pages=PAGES)
            (said,) = target.execute("PRAGMA quick_check(1)").fetchone()
            target.execute("PRAGMA journal_mode=DELETE")
        if said != "ok":
            raise EvergreenError(
                f"a database of this deployment is damaged: {said}; nothing sound can be copied of it"
            )


@dataclass(frozen=True)
class Postgres:
    """A database of a PostgreSQL server; its tables are those of the schema that its URL leads to."""

    name: str
    url: str
    kind: str = "postgresql"

    @contextmanager
    def still(self) -> Iterator[None]:
        with self._connected() as connection, connection.begin() as all_:
            connection.execute(sa.text(f"SET LOCAL lock_timeout = {int(PATIENCE * 1000)}"))
            quoted = connection.dialect.identifier_preparer.quote
            tables = ", ".join(quoted(name) for name in sa.inspect(connection).get_table_names())
            try:
                if tables:
                    connection.execute(sa.text(f"LOCK TABLE {tables} IN SHARE MODE"))
            except OperationalError as error:
                raise Busy(f"{self.name}: others write; try again") from error
            yield
            all_.rollback()

    @contextmanager
    def held(self) -> "Iterator[_PostgresHeld]":
        with self._connected() as plain:
            connection = plain.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                snapshot = connection.execute(sa.text("SELECT pg_export_snapshot()")).scalar_one()
                yield _PostgresHeld(connection, str(snapshot), self.url)

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        made = engine(self.url)
        try:
            with made.connect() as connection:
                yield connection
        finally:
            made.dispose()


@dataclass(frozen=True)
class _PostgresHeld:
    connection: sa.Connection
    snapshot: str
    url: str

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.connection.execute(sa.text(query))]

    def copy(self, to: Path) -> None:
        how = [
            "--format=custom",
            "--no-owner",
            "--no-privileges",
            f"--snapshot={self.snapshot}",
            f"--file={to}",
        ]
        _client("pg_dump", self.url, how)


def make(name: str, kind: str, url: str, source: Path) -> None:
    """Makes a database again from a copy, whole or not at all. EvergreenError if the setting names another kind."""
    file = sqlite_file(url)
    if (kind == "sqlite") != (file is not None):
        raise EvergreenError(
            f"the backup holds {name} of {kind}, and this deployment is set to another kind of database;"
            f" set EVERGREEN_{SETTINGS.get(name, 'DATABASE_URL')} to one of {kind}"
        )
    if file is not None:
        _placed(source, file)
    elif _tables(url):
        raise EvergreenError(f"the database of {name} is not empty; name an empty one, or drop its tables")
    else:
        _client(
            "pg_restore",
            url,
            ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", str(source)],
        )


SETTINGS = {"ledger": "DATABASE_URL", "tracking": "TRACKING_URI"}


def is_empty(url: str) -> bool:
    """Whether a database holds nothing yet; a SQLite file must not be there."""
    file = sqlite_file(url)
    return not file.exists() if file is not None else not _tables(url)


def _placed(source: Path, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    for beside in ("", "-wal", "-shm", "-journal"):
        file.with_name(file.name + beside).unlink(missing_ok=True)
    source.replace(file)


def _tables(url: str) -> list[str]:
    made = engine(url)
    try:
        with made.connect() as connection:
            return sa.inspect(connection).get_table_names()
    finally:
        made.dispose()


def _client(program: str, url: str, how: list[str]) -> None:
    """Runs one of PostgreSQL's own programs; the password goes by its environment, never by its arguments."""
    if shutil.which(program) is None:
        raise EvergreenError(
            f"{program} is not installed here; install PostgreSQL's client programs of the server's release or a later"
            " one (Debian: postgresql-client)"
        )
    made = sa.make_url(url)
    where = {"PGHOST": made.host, "PGPORT": made.port, "PGUSER": made.username, "PGDATABASE": made.database}
    secret = {"PGPASSWORD": made.password} if made.password else {}
    told = {name: str(value) for name, value in (where | secret).items() if value is not None}
    target = ["--dbname", str(made.database)] if program == "pg_restore" else []
    done = subprocess.run(
        [program, *target, *how], env=os.environ | told, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[0]
        raise EvergreenError(f"{program} failed: {said}")
