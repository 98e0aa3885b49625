"""Locks that end with their holder: a process that dies, however it dies, holds none."""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from pipelines.settings import Settings
from pipelines.stores.databases import engine


@contextmanager
def exclusive(name: str, settings: Settings) -> Iterator[None]:
    """One holder of a name at a time in the whole deployment; others wait.

    PostgreSQL's advisory lock where that is the database, so across machines; else a lock on a file beside SQLite's.
    """
    if settings.database.startswith("sqlite"):
        with _of_file(Path(sa.make_url(settings.database).database or settings.home).parent / "locks" / name):
            yield
    else:
        with _of_database(name, settings.database):
            yield


@contextmanager
def _of_file(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _of_database(name: str, url: str) -> Iterator[None]:
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    made = engine(url)
    try:
        with made.connect() as connection, connection.begin():
            connection.execute(sa.text("select pg_advisory_xact_lock(:number)"), {"number": number})
            yield
    finally:
        made.dispose()
