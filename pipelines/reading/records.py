"""The records of a hostile CSV file: its bytes cut where rows end, in bounded memory."""

import errno
import gzip
import hashlib
import io
import os
import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.catalog import DatasetSpec
from pipelines.contracts import EvergreenError, TransientError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

CHUNK = 2 << 20
LONGEST_RECORD = 1 << 20
MOST_RECORDS = 100_000

FIELD = rb'(?:"(?:[^"]++|"")*+"[^,\n]*+|(?!")[^,\n]*+)'
RECORD = re.compile(FIELD + rb"(?:," + FIELD + rb")*+\n")
FOREIGN = {
    b"\xff\xfe": "UTF-16, not UTF-8",
    b"\xfe\xff": "UTF-16, not UTF-8",
    b"PK\x03\x04": "a zip archive, not CSV",
    b"PK\x05\x06": "an empty zip archive, not CSV",
    b"PK\x07\x08": "a zip archive, not CSV",
    b"PAR1": "Parquet, not CSV",
    b"\x1f\x8b": "gzip, but its name does not end in .gz",
}


class Unsettled(TransientError):
    """One file cannot be taken in now, by its own doing or another run's; the others can."""


class Refused(EvergreenError):
    """The whole file cannot be trusted; the message is the one reason."""


@dataclass(frozen=True)
class Block:
    """Whole records; record i is data[starts[i]:ends[i]] and begins on line lines[i]."""

    data: bytes
    starts: "np.ndarray[Any, Any]"
    ends: "np.ndarray[Any, Any]"
    lines: "np.ndarray[Any, Any]"

    def raw(self, index: Any) -> bytes:
        return self.data[self.starts[index] : self.ends[index]]


class Bad(NamedTuple):
    """A refused row: its line (the header's is 1), the rule it broke, why, and its bytes."""

    line: int
    rule: str
    reason: str
    raw: bytes


@dataclass(frozen=True)
class Parsed:
    """A stretch of a file: typed rows, refused rows, and the line of a last row that has no line end."""

    table: "pa.Table"
    bad: list[Bad]
    unfinished: int | None = None

    @property
    def rows(self) -> int:
        return int(self.table.num_rows) + len(self.bad)


def digest_of(path: Path) -> str:
    """SHA-256 of a regular file's bytes, in hex; TransientError if the file is gone or cannot be read now."""
    with open_regular(path) as file:
        reader = Hashed(file)
        while reader.read(CHUNK):
            pass
    return reader.sha.hexdigest()


class Hashed(io.RawIOBase):
    """A file whose bytes are hashed as they are read; a disk that fails is not the file's fault."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self.file, self.sha = file, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            chunk = bytes(self.file.read(size))
        except OSError as error:
            raise TransientError(
                f"the file could not be read: {error.strerror}; it will be tried again"
            ) from error
        self.sha.update(chunk)
        return chunk

    def digest(self) -> str:
        """The digest of the whole file, whatever of it was needed."""
        while self.read(CHUNK):
            pass
        return self.sha.hexdigest()


def open_regular(path: Path) -> Any:
    """The file, opened only if it is a regular one; links are not followed."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise Unsettled(f"{path.name} vanished after it was listed; it may come again") from error
    except OSError as error:
        if error.errno in (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE):
            raise TransientError(f"{path.name} could not be opened: {error.strerror}") from error
        raise Refused(f"the file cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Refused("not a regular file")
    return os.fdopen(handle, "rb", buffering=0)


def _chunks(raw: Hashed, name: str, spec: DatasetSpec) -> Iterator[bytes]:
    total = 0
    file = gzip.GzipFile(fileobj=raw) if name.lower().endswith(".gz") else raw
    while chunk := _next(file):
        total += len(chunk)
        if total > spec.max_bytes:
            raise Refused(f"larger than {spec.name}'s limit of {spec.max_bytes} bytes")
        yield chunk


def _next(file: Any) -> bytes:
    try:
        return bytes(file.read(CHUNK))
    except EOFError as error:
        raise Refused("the gzip stream is cut off") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise Refused(f"not a sound gzip file: {error}") from error


def blocks(raw: Hashed, name: str, spec: DatasetSpec) -> Iterator[Block]:
    """The file's records in order; the first block is the header alone. Checks encoding and quotes."""
    rest, line, head = b"", 1, True
    for chunk in _chunks(raw, name, spec):
        buffer = rest + (_start(chunk) if line == 1 and not rest else chunk)
        ends = _ends(buffer)
        cut = int(ends[-1]) if len(ends) else 0
        rest = buffer[cut:]
        if len(rest) > LONGEST_RECORD:
            line += buffer[:cut].count(b"\n")
            raise Refused(f"an unclosed quote, or a record above {LONGEST_RECORD} bytes, at line {line}")
        if cut:
            yield from _split(buffer[:cut], ends, line, head)
            line, head = line + buffer[:cut].count(b"\n"), False
    if rest and RECORD.fullmatch(rest + b"\n") is None:
        raise Refused(f"an unclosed quote at line {line}")
    if rest:
        import numpy as np

        yield from _split(rest, np.array([len(rest)]), line, head)


def _start(chunk: bytes) -> bytes:
    """The first bytes without a byte-order mark; Refused if they are another format's."""
    for magic, what in FOREIGN.items():
        if chunk.startswith(magic):
            raise Refused(f"the file is {what}")
    return chunk.removeprefix(b"\xef\xbb\xbf")


def _ends(buffer: bytes) -> "np.ndarray[Any, Any]":
    """Where the complete records end; a quoted newline ends none."""
    import numpy as np

    if b'"' not in buffer:
        return np.flatnonzero(np.frombuffer(buffer, np.uint8) == 10) + 1
    ends, position = [], 0
    while match := RECORD.match(buffer, position):
        position = match.end()
        ends.append(position)
    return np.array(ends, dtype=np.int64)


def _split(data: bytes, ends: "np.ndarray[Any, Any]", line: int, head: bool) -> Iterator[Block]:
    import numpy as np

    newlines = np.flatnonzero(np.frombuffer(data, np.uint8) == 10)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"not UTF-8 at line {line + int(np.searchsorted(newlines, error.start))}") from error
    starts = np.concatenate(([0], ends[:-1]))
    # Where no quote holds a newline, records and lines are the same.
    lines = line + (np.arange(len(ends)) if b'"' not in data else np.searchsorted(newlines, starts))
    if head:
        yield Block(data, starts[:1], ends[:1], lines[:1])
    for first in range(head, len(ends), MOST_RECORDS):
        part = slice(first, first + MOST_RECORDS)
        yield Block(data, starts[part], ends[part], lines[part])
