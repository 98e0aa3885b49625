"""Files on a disk, by their form: records of persons go, and texts forget who they name."""

import csv
import fcntl
import gzip
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.catalog import datasets
from pipelines.erasure.delta import Found, theirs
from pipelines.erasure.subjects import Sought, said_in
from pipelines.places import whole
from pipelines.stores.databases import is_sqlite
from pipelines.stores.erasures import Erasures
from pipelines.stores.tracking.registry import file_digest

SIGNED = frozenset({"background.parquet"})
"""Files that are read by their digest alone: with a row less they are another file, so they go as a whole."""
DERIVED = ("reports/monitor/",)
"""Parquet files that are made anew when they are gone."""
TEXTS = frozenset({".html", ".txt", ".log", ".md", ".yaml", ".yml", ".out", ".err", ""})
RECORDS = frozenset({".csv"})
LINES = frozenset({".jsonl", ".ndjson"})
ROWS = frozenset({".parquet"})
OPEN = frozenset({".log", ".out", ".err"})
"""Files that a process may be writing to: they are changed in place and keep their length."""


@dataclass(frozen=True)
class Files:
    """All files below a folder but those that other places answer for."""

    name: str
    root: Path
    apart: Callable[[Path], bool]
    book: Erasures

    def find(self, sought: Sought) -> Found:
        """Records and texts that are theirs or name them."""
        return Found(sum(count for _, count in self.hits(sought)))

    def remove(self, sought: Sought, now: datetime) -> None:
        """They are gone from the files once this returns; what cannot be changed, such as a model, is left."""
        for path, _ in list(self.hits(sought)):
            if _kind(path) in OPEN:
                _struck(path, sought)
            elif (left := self._left(path, sought)) is not None:
                self._replace(path, left, now)

    def hits(self, sought: Sought) -> Iterator[tuple[Path, int]]:
        """Each file that holds something of theirs, and how much."""
        for path in self._all():
            with suppress(FileNotFoundError):
                count = _count(path, sought)
                if count:
                    yield path, count

    def unchangeable(self, sought: Sought) -> list[Path]:
        """Files that hold something of theirs and cannot be written without it."""
        return [path for path, _ in self.hits(sought) if self._left(path, sought) is None]

    def said(self, column: str) -> set[str]:
        """The column's values in files of rows, whichever form they have."""
        found = set[str]()
        for path in self._all():
            kind = _kind(path)
            if kind in ROWS:
                found |= _cells(path, column)
            elif kind in RECORDS | LINES:
                lines = _unpacked(path).decode("utf-8", "replace").splitlines()
                header = _header(lines[0].encode()) if lines and kind in RECORDS else []
                found |= {each for line in lines for each in said_in(line, column, header)}
        return found

    def _all(self) -> Iterator[Path]:
        if self.root.is_dir():
            for folder, names, files in os.walk(self.root):
                names[:] = sorted(name for name in names if not self.apart(Path(folder, name)))
                paths = (Path(folder, name) for name in sorted(files))
                yield from (p for p in paths if not p.is_symlink() and p.is_file() and not self.apart(p))

    def _left(self, path: Path, sought: Sought) -> bytes | None:
        """A file's bytes without them, empty if it has to go; None if that cannot be told."""
        kind = _kind(path)
        if kind in LINES and _held(path):
            return None
        if kind in ROWS:
            whole_file = path.name in SIGNED or any(part in path.as_posix() for part in DERIVED)
            return b"" if whole_file else _rows_left(path, sought)
        if kind in RECORDS:
            return _packed(path, _records_left(_unpacked(path), sought))
        if kind in LINES:
            return _packed(path, _lines_left(_unpacked(path), sought))
        if kind == ".json":
            return _packed(path, sought.told_without(_unpacked(path).decode("utf-8", "replace")).encode())
        if kind in TEXTS:
            return _packed(path, sought.told_without(_unpacked(path).decode("utf-8", "surrogateescape"))
                           .encode("utf-8", "surrogateescape"))  # fmt: skip
        return None

    def _replace(self, path: Path, left: bytes, now: datetime) -> None:
        """Puts the bytes in the file's place, or removes it, once the book says so."""
        before = file_digest(path)
        if not left:
            self.book.changed(before, None, now)
            path.unlink()
            return
        with whole(path) as part:
            part.write_bytes(left)
            part.chmod(path.stat().st_mode)
            self.book.changed(before, file_digest(part), now)


def _struck(path: Path, sought: Sought) -> None:
    """Stars in place of their names, byte for byte."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    with path.open("r+b") as file:
        for start, end in sought.spans(text):
            head, named = (
                part.encode("utf-8", "surrogateescape") for part in (text[:start], text[start:end])
            )
            file.seek(len(head))
            file.write(b"*" * len(named))
        file.flush()
        os.fsync(file.fileno())


def _held(path: Path) -> bool:
    """Whether a process holds a file: a server whose answers wait on this disk for their database."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _kind(path: Path) -> str:
    """A file's form by its name, without .gz."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix if name.strip(".") else ""


def _unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        with suppress(OSError, EOFError):
            return gzip.decompress(data)
    return data


def _packed(path: Path, data: bytes) -> bytes:
    return gzip.compress(data) if data and path.name.lower().endswith(".gz") else data


def _count(path: Path, sought: Sought) -> int:
    """How many records or texts of a file are theirs or name them."""
    kind = _kind(path)
    if kind in ROWS:
        return _rows(path, sought)
    if is_sqlite(path):
        return 0
    if zipfile.is_zipfile(path):
        return _zipped(path, sought)
    if not sought.may_be_in(_unpacked(path)):
        return 0
    if kind in RECORDS:
        return sum(theirs for _, theirs in _records(_unpacked(path), sought))
    if kind in LINES:
        return sum(
            sought.in_record(line, ()) for line in _unpacked(path).decode("utf-8", "replace").split("\n")
        )
    return sought.named(_unpacked(path).decode("utf-8", "replace"))


def _zipped(path: Path, sought: Sought) -> int:
    with zipfile.ZipFile(path) as archive:
        return sum(
            sought.in_text(archive.read(name).decode("utf-8", "replace")) for name in archive.namelist()
        )


def _rows(path: Path, sought: Sought) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path)
    except (pa.ArrowInvalid, OSError):
        return int(sought.in_text(path.read_bytes().decode("utf-8", "replace")))
    return int(theirs(sought, ())(rows).combine_chunks().true_count)


def _cells(path: Path, column: str) -> set[str]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        source = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError):
        return set()
    if column not in source.schema_arrow.names:
        return set()
    return set(pc.unique(source.read([column])[column].cast(pa.string())).to_pylist()) - {None}


def _rows_left(path: Path, sought: Sought) -> bytes:
    """The other rows, with the file's own schema and metadata; nothing if it cannot be read or none is left."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path)
    except (pa.ArrowInvalid, OSError):
        return b""
    kept = rows.filter(pc.invert(theirs(sought, ())(rows)))
    out = io.BytesIO()
    pq.write_table(kept, out)
    return out.getvalue()


def _records(data: bytes, sought: Sought) -> Iterator[tuple[bytes, bool]]:
    """Each record of a CSV file with its line end, and whether it is theirs; the header is nobody's."""
    from pipelines.reading.records import RECORD

    first = RECORD.match(data)
    header = _header(first[0]) if first else []
    at = first.end() if first else 0
    if first:
        yield first[0], False
    while at < len(data):
        found = RECORD.match(data, at)
        record = found[0] if found else data[at:]
        yield record, sought.in_record(record.decode("utf-8", "replace"), header)
        at += len(record)


def _header(record: bytes) -> list[str]:
    """The columns' names, those that name persons as their datasets call them."""
    called = {
        spec.columns[c].header or c: c for spec in datasets().values() if (c := spec.subject) is not None
    }
    known = {name.lower(): column for name, column in called.items()}
    text = record.decode("utf-8-sig", "replace")
    cells = (cell.strip() for cell in next(csv.reader([text]), []))
    return [known.get(cell.lower(), cell) for cell in cells]


def _records_left(data: bytes, sought: Sought) -> bytes:
    return b"".join(record for record, theirs in _records(data, sought) if not theirs)


def _lines_left(data: bytes, sought: Sought) -> bytes:
    """Lines about others as they are; one that only names them in passing without the name."""
    kept = []
    for line in data.decode("utf-8", "surrogateescape").splitlines(keepends=True):
        with suppress(ValueError):
            if sought.in_fields(json.loads(line)):
                continue
        kept.append(sought.told_without(line))
    return "".join(kept).encode("utf-8", "surrogateescape")
