"""The folder of a backup: files by the digest of their bytes, each once, and the manifests that name them."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from pipelines.contracts import EvergreenError
from pipelines.stores.durable import fsync

BLOCK = 1 << 20
OBJECTS, MANIFESTS, PARTS = "objects", "manifests", "unfinished"
BOOK = "erasures.jsonl"
"""Beside all backups: whom the deployment has erased, by keyed digest, as of the newest of them."""


@dataclass(frozen=True)
class Vault:
    """One folder, which only its owner can read; several backups in it share the files that are the same."""

    folder: Path

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One writer at a time; what a writer before left unfinished is gone."""
        for each in (self.folder, *(self.folder / name for name in (OBJECTS, MANIFESTS, PARTS))):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise EvergreenError(
                    f"another backup is being written to {self.folder}; wait for it"
                ) from None
            for left in (self.folder / PARTS).iterdir():
                left.unlink()
            yield

    def part(self) -> Path:
        """The name of a new file that is to be `keep`t."""
        return self.folder / PARTS / uuid4().hex

    def put(self, source: Path) -> tuple[str, int]:
        """Keeps a copy of a file; the digest of its bytes, and how many they are."""
        known, length = digest_of(source), source.stat().st_size
        if self.has(known, length):
            return known, length
        part = self.part()
        with source.open("rb") as file, _own(part) as to:
            shutil.copyfileobj(file, to, BLOCK)
        return self.keep(part)

    def keep(self, part: Path) -> tuple[str, int]:
        """Keeps a finished part as it is."""
        part.chmod(0o600)
        fsync(part)
        digest, size = digest_of(part), part.stat().st_size
        return self._placed(part, digest, size), size

    def _placed(self, part: Path, digest: str, size: int) -> str:
        if self.has(digest, size):
            part.unlink()
            return digest
        place = self.place(digest)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        part.replace(place)
        fsync(place.parent)
        return digest

    def place(self, digest: str) -> Path:
        return self.folder / OBJECTS / digest[:2] / digest

    def has(self, digest: str, size: int) -> bool:
        """Whether a file of this digest and length is kept; its bytes are not read."""
        try:
            return self.place(digest).stat().st_size == size
        except FileNotFoundError:
            return False

    def sound(self, name: str, digest: str, size: int) -> None:
        """EvergreenError unless the file is there and has the bytes it had."""
        place = self.place(digest)
        if not place.is_file():
            raise EvergreenError(
                f"the backup is incomplete: {name} is missing ({place}); restore another backup"
            )
        if place.stat().st_size != size or digest_of(place) != digest:
            raise EvergreenError(
                f"the backup is damaged: {name} is not what it was ({place}); restore another backup"
            )

    def fetch(self, name: str, digest: str, to: Path, mode: int) -> None:
        """A copy of a kept file, durable and whole, or EvergreenError and nothing."""
        to.parent.mkdir(parents=True, exist_ok=True)
        part, sha = to.with_name(f".{uuid4().hex}.part"), hashlib.sha256()
        try:
            with self.place(digest).open("rb") as file, _own(part) as target:
                while block := file.read(BLOCK):
                    sha.update(block)
                    target.write(block)
                target.flush()
                os.fchmod(target.fileno(), mode)
                os.fsync(target.fileno())
            if sha.hexdigest() != digest:
                raise EvergreenError(f"the backup is damaged: {name} changed while it was read")
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)
        fsync(to.parent)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _own(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
