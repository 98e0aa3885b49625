"""How far a view has come online, as its own row in the SQLite store says; to be read without Feast."""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Materialized:
    """How far a view has come online.

    `as_of`: the end of the newest window brought online; `source_version`: the Delta version of the source that
    this window was read from, None if it is no Delta table; `at`: when anything was last brought online.
    """

    as_of: datetime
    source_version: int | None
    at: datetime


def noted(connection: sqlite3.Connection, table: str) -> Materialized | None:
    """How far the view has come whose values are in a table; None before its first materialization."""
    query = "select as_of, source_version, at from _feature_views where table_name = ?"
    try:
        found = connection.execute(query, (table,)).fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise
    known = found is not None and found[0] is not None
    return Materialized(moment(found[0]), found[1], moment(found[2])) if known else None


def reached(file: Path, table: str) -> Materialized | None:
    """The same, of a file; None if it is not there."""
    if not file.exists():
        return None
    connection = sqlite3.connect(f"file:{quote(str(file))}?mode=rw", timeout=60, uri=True)
    try:
        return noted(connection, table)
    finally:
        connection.close()


def moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)
