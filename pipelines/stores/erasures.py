"""What was erased from this deployment, without whom: keyed digests of persons, and what became of tables and files.

It lies under home as a file of lines, each brought to disk before what it tells of is done. A backup of an older day
lacks the newest of them, so a copy belongs where backups do not reach: with it a restore erases again.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from pipelines.settings import Settings
from pipelines.stores.audit.keys import Keys
from pipelines.stores.durable import fsync

ERASURE, ENDED, FILE, TABLE = "erasure", "ended", "file", "table"
PURPOSE = b"evergreen: subjects of erasures"
"""The audit log's key is not used itself: what is derived from it for one purpose says nothing of another."""


@dataclass(frozen=True)
class Erasure:
    """One order to erase: `subjects` are keyed digests by the column that names persons. `ended` once all was done."""

    number: str
    at: datetime
    subjects: tuple[tuple[str, str], ...]
    models: tuple[tuple[str, int, int | None], ...]
    """Model, version, and how many of their rows it learned from, as it was found before any was removed."""
    ended: datetime | None = None


@dataclass(frozen=True)
class Changed:
    """A file from which rows were erased: the digest of what is left, None if nothing is."""

    at: datetime
    left: str | None


class Erasures:
    """The book of one deployment. Reading it again and again costs a look at the file's size."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.home / "erasures.jsonl"
        self._keys = Keys(settings.keys_path)

    def digest(self, column: str, value: str) -> str:
        """A person's keyed digest; without this deployment's keys nobody can try who it may be."""
        return hmac.new(self._key, f"{column}\0{value}".encode(), hashlib.sha256).hexdigest()

    def begun(
        self,
        number: str,
        at: datetime,
        subjects: Iterable[tuple[str, str]],
        models: Iterable[tuple[str, int, int | None]],
    ) -> None:
        """Notes an order before anything is removed."""
        said = {"subjects": sorted(subjects), "models": [*models]}
        self._write({"kind": ERASURE, "number": number, "at": at.isoformat(), **said})

    def ended(self, number: str, at: datetime) -> None:
        self._write({"kind": ENDED, "number": number, "at": at.isoformat()})

    def cut(self, table: str, version: int, at: datetime) -> None:
        """Notes that versions of a table below this one are about to be unreadable."""
        self._write({"kind": TABLE, "table": table, "version": version, "at": at.isoformat()})

    def changed(self, before: str, left: str | None, at: datetime) -> None:
        """Notes, by its digest, that a file is about to be replaced or to go."""
        self._write({"kind": FILE, "before": before, "left": left, "at": at.isoformat()})

    def orders(self) -> list[Erasure]:
        """Every order, oldest first."""
        ends = {each["number"]: each["at"] for each in self._lines(ENDED)}
        return [
            Erasure(
                each["number"],
                datetime.fromisoformat(each["at"]),
                tuple((column, digest) for column, digest in each["subjects"]),
                tuple((model, version, rows) for model, version, rows in each["models"]),
                datetime.fromisoformat(ends[each["number"]]) if each["number"] in ends else None,
            )
            for each in self._lines(ERASURE)
        ]

    def file(self, digest: str | None) -> Changed | None:
        """What became of a file that had this digest; None if no erasure touched it."""
        found, at = digest, None
        known = {each["before"]: each for each in self._lines(FILE)}
        while found in known and known[found]["left"] != found:
            at, found = datetime.fromisoformat(known[found]["at"]), known.pop(found)["left"]
        return None if at is None else Changed(at, found)

    def unreadable(self, table: str, version: int) -> datetime | None:
        """When a version of a table (layer/name) became unreadable by an erasure; None if none did that."""
        times = [
            each["at"] for each in self._lines(TABLE) if each["table"] == table and version < each["version"]
        ]
        return datetime.fromisoformat(min(times)) if times else None

    def merge(self, path: Path) -> int:
        """Takes over the lines of another copy of this book that are not here; how many."""
        here = {json.dumps(each, sort_keys=True) for each in _read(self.path)}
        new = [each for each in _read(path) if json.dumps(each, sort_keys=True) not in here]
        for each in new:
            self._write(each)
        return len(new)

    @cached_property
    def _key(self) -> bytes:
        return hmac.new(self._keys.audit, PURPOSE, hashlib.sha256).digest()

    def _lines(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in _read(self.path) if each.get("kind") == kind]

    def _write(self, said: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            # A line that a crash cut off is ended first, so that it spoils none but itself.
            torn = file.tell() and not self.path.read_bytes().endswith(b"\n")
            file.write((b"\n" if torn else b"") + json.dumps(said).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fsync(self.path.parent)


def _read(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a book; none if there is none."""
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        found += [said] if isinstance(said, dict) else []
    return found
