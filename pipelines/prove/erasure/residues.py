"""What is left of persons, by every byte: independent of what erases, and of any list of places.

Every file under home is read as bytes, and once more as what it holds: Parquet's cells, SQLite's rows, gzip's and zip's
contents. Ids have one form, C and five digits, so one pattern finds them all and a set tells whose they are.
"""

import gzip
import hashlib
import re
import sqlite3
import zipfile
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

from pipelines.prove.forks import CONTEXT

T = TypeVar("T")
ID = re.compile(rb"C\d{5}")
ANSWER = re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}")


def apart(look: Callable[..., dict[str, T]], home: Path, *of: Collection[str]) -> dict[str, T]:
    """What a look finds from a process of its own: reading a database that is open here would drop its locks."""
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as other:
        return other.submit(look, home, *of).result()


def residues(home: Path, gone: Collection[str]) -> dict[str, int]:
    """How many of these ids each file under home still holds; none if all are gone. Raises if it found no id at all."""
    wanted, seen, found = {each.encode() for each in gone}, 0, dict[str, int]()
    for path in sorted(home.rglob("*")):
        if path.is_file() and not path.is_symlink():
            ids = {each for text in _contents(path) for each in ID.findall(text)}
            seen += len(ids - wanted)
            if ids & wanted:
                found[str(path.relative_to(home))] = len(ids & wanted)
    if not seen:
        raise AssertionError("nobody's id was found, so nothing was looked at")
    return found


def others(home: Path, gone: Collection[str], answers: Collection[str]) -> dict[str, str]:
    """A digest of all rows that are not of these persons: of each Delta table, each table of the log of answers, the
    online store, the training sets, and the lines of the files that are kept as they landed. What was told of one of
    these `answers` names nobody, and is theirs."""
    wanted = {each.encode() for each in (*gone, *answers)}
    found = {}
    for name, rows in _rows(home):
        kept = sorted(row for row in rows if wanted.isdisjoint([*ID.findall(row), *ANSWER.findall(row)]))
        found[name] = f"{len(kept)} rows {hashlib.sha256(b''.join(kept)).hexdigest()}"
    return found


def _contents(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield data
    with suppress(OSError, EOFError):
        yield gzip.decompress(data)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    if path.suffix == ".parquet":
        yield from _cells(path)
    if data.startswith(b"SQLite format 3\0"):
        yield from (row for _, rows in _sqlite(path) for row in rows)


def _cells(path: Path) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with suppress(pa.ArrowInvalid):
        source = pq.ParquetFile(path)
        for number in range(source.num_row_groups):
            for row in source.read_row_group(number).to_pylist():
                yield repr(row).encode()


def _sqlite(path: Path) -> Iterator[tuple[str, list[bytes]]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        names = [
            name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")
        ]
        for name in names:
            rows = connection.execute(f'select * from "{name}"').fetchall()
            yield name, [repr(row).encode() for row in rows]


def _rows(home: Path) -> Iterator[tuple[str, list[bytes]]]:
    from deltalake import DeltaTable

    for log in sorted((home / "lake").rglob("_delta_log")):
        name = str(log.parent.relative_to(home))
        if not name.startswith("lake/drift/"):  # a day's sketch is of all its rows together
            yield (
                name,
                [repr(_plain(r)).encode() for r in DeltaTable(log.parent).to_pyarrow_table().to_pylist()],
            )
    for base in ("evergreen.db", "feast/online.db"):
        if (home / base).exists():
            yield from ((f"{base} {t}", rows) for t, rows in _sqlite(home / base) if not t.startswith(APART))
    for path in sorted(home.glob("training_sets/*/*.parquet")):
        yield str(path.relative_to(home)), list(_cells(path))
    for path in sorted([*home.glob("archive/*/*.csv"), *home.glob("refused/*/*.csv")]):
        yield str(path.relative_to(home)), path.read_bytes().splitlines(keepends=True)


APART = ("audit", "costs", "steps", "history", "sqlite_", "batches", "attempts", "archive_", "feature_health")
"""Tables that say that something was done, or hold texts in which a person's name was struck out."""


def _plain(row: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(row.items())
