"""SQLite files that many threads and processes read while one writes: a connection for each thread."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipelines.stores.online.tables import Layout, existing

_INHERITED: list[Any] = []
"""Sessions from before a fork: SQLite forbids closing them here."""


class Session:
    """A thread's connection to one file, with the layouts of its tables."""

    def __init__(self, path: str, timeout: float) -> None:
        uri = f"file:{quote(path)}?mode=rw"
        self.connection = sqlite3.connect(
            uri, timeout, isolation_level=None, check_same_thread=False, cached_statements=256, uri=True
        )
        self.connection.execute("pragma synchronous = full")
        self.connection.execute("pragma cache_size = -65536")
        self.connection.execute("pragma journal_size_limit = 67108864")
        self.reading = False
        self._schema = -1
        self._layouts: dict[str, Layout | None] = {}

    def __del__(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()

    def begin(self) -> None:
        """Starts a snapshot; layouts that others changed since are forgotten."""
        self.connection.execute("begin")
        (schema,) = self.connection.execute("pragma schema_version").fetchone()
        if schema != self._schema:
            self._schema = schema
            self._layouts.clear()

    def layout(self, table: str) -> Layout | None:
        """A table as the snapshot has it; None if there is none."""
        if table not in self._layouts:
            self._layouts[table] = existing(self.connection, table)
        return self._layouts[table]


class Sessions(threading.local):
    """This thread's sessions; a file that was replaced is opened anew, one that is missing holds nothing."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[tuple[int, ...], Session]] = {}

    def existing(self, path: str, timeout: float) -> Session | None:
        """The session of a file; None if there is no file. Within a snapshot it stays the same."""
        held = self._open.get(path)
        if held is not None and held[1].reading and held[0][0] == os.getpid():
            return held[1]
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return None
        mark = (os.getpid(), found.st_dev, found.st_ino)
        have = held
        if have is None or have[0] != mark:
            if have is not None and have[0][0] != mark[0]:
                _INHERITED.append(have)
            self._open[path] = have = (mark, Session(path, timeout))
        return have[1]

    def made(self, path: str, timeout: float) -> Session:
        """The session of a file, which is created if it is missing."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        while True:
            session = self.existing(path, timeout)
            if session is not None:
                return session
            Path(path).touch()

    def remove(self, path: str) -> None:
        """Removes a file; whoever has it open sees what it held until the next question."""
        self._open.pop(path, None)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)


@contextmanager
def snapshot(session: Session | None) -> Iterator[Session | None]:
    """A moment of the file, the same for all that is read within, also within nested ones."""
    if session is None or session.reading:
        yield session
        return
    session.begin()
    session.reading = True
    try:
        yield session
    finally:
        session.reading = False
        session.connection.execute("commit")


@contextmanager
def transaction(session: Session) -> Iterator[sqlite3.Connection]:
    """All that is written within becomes visible at once, and is on disk then; or none of it."""
    connection = session.connection
    if connection.execute("pragma journal_mode").fetchone() != ("wal",):
        connection.execute("pragma journal_mode = wal")
    connection.execute("begin immediate")
    try:
        yield connection
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")
