"""Locks that end with their holder: a process that dies, however it dies, holds none."""

import fcntl
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import sqlalchemy as sa

from pipelines.contracts import TransientError
from pipelines.settings import Settings
from pipelines.stores.databases import engine

ERASURE = "erasure"
"""Whoever writes rows of people holds it with others; an erasure holds it alone."""
POLL_SECONDS = 0.2
_WORKING: ContextVar[tuple[str, ...]] = ContextVar("homes in which this is at work", default=())


@contextmanager
def exclusive(name: str, settings: Settings) -> Iterator[None]:
    """One holder of a name at a time in the whole deployment; others wait.

    PostgreSQL's advisory lock where that is the database, so across machines; else a lock on a file beside SQLite's.
    """
    if settings.database.startswith("sqlite"):
        with _of_file(_beside(settings) / name, fcntl.LOCK_EX):
            yield
    else:
        with _of_database(name, settings.database, "pg_advisory_xact_lock"):
            yield


@contextmanager
def at_work(settings: Settings) -> Iterator[None]:
    """Any number at once, but none while `erasing`: an erasure that runs is waited for. It may stand inside itself."""
    place = str(settings.home)
    if place in _WORKING.get():
        yield
        return
    held = _WORKING.set((*_WORKING.get(), place))
    try:
        if settings.database.startswith("sqlite"):
            with _of_file(_beside(settings) / ERASURE, fcntl.LOCK_SH):
                yield
        else:
            with _of_database(ERASURE, settings.database, "pg_advisory_xact_lock_shared"):
                yield
    finally:
        _WORKING.reset(held)


@contextmanager
def erasing(settings: Settings, patience: float) -> Iterator[None]:
    """Nobody is `at_work` within; TransientError if somebody still is after so many seconds."""
    deadline = time.monotonic() + patience
    while True:
        # Tried, never queued for: who waits in PostgreSQL's queue holds up all that would share the lock after it.
        with _tried(settings) as held:
            if held:
                yield
                return
        if time.monotonic() > deadline:
            raise TransientError(
                "something is being ingested, computed or trained, which an erasure must not cross; nothing was"
                " removed, run it again when that has ended"
            )
        time.sleep(POLL_SECONDS)


@contextmanager
def _tried(settings: Settings) -> Iterator[bool]:
    """Whether the erasure's lock is held within."""
    if settings.database.startswith("sqlite"):
        try:
            lock = _of_file(_beside(settings) / ERASURE, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.__enter__()
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            lock.__exit__(None, None, None)
    else:
        with _of_database(ERASURE, settings.database, "pg_try_advisory_xact_lock") as found:
            yield bool(found)


def _beside(settings: Settings) -> Path:
    """The folder of locks beside the SQLite database, which all who share that database share as well."""
    return Path(sa.make_url(settings.database).database or settings.home).parent / "locks"


@contextmanager
def _of_file(path: Path, how: int) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, how)
        yield


@contextmanager
def _of_database(name: str, url: str, how: str) -> Iterator[object]:
    """What a function of PostgreSQL's answered about the name's lock, which lasts until the end."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    made = engine(url)
    try:
        with made.connect() as connection, connection.begin():
            yield connection.execute(sa.text(f"select {how}(:number)"), {"number": number}).scalar()
    finally:
        made.dispose()
