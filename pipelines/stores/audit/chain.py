"""The keyed chain of the audit log, and the anchor of its head: what can be checked with the key and nothing else."""

import hashlib
import hmac
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.contracts import EvergreenError
from pipelines.stores.durable import fsync
from pipelines.stores.shared.files import Files

SAID = ("number", "at", "who", "action", "subject", "why", "evidence", "once")
"""What a link speaks for, in this order."""
TEXTS = tuple(name for name in SAID if name not in ("number", "once"))
START = "0" * 64
MOST = 100
"""So many findings are told; a replaced key would make one of each entry."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with the record, and where; `number` is None if it concerns no single entry."""

    number: int | None
    what: str

    def __str__(self) -> str:
        return self.what if self.number is None else f"entry {self.number} {self.what}"


@dataclass(frozen=True)
class Head:
    """The last entry of a log: its number and link. A log without entries has the number 0."""

    number: int = 0
    chained: str = START

    def __str__(self) -> str:
        return f"{self.number}:{self.chained}"

    @classmethod
    def of(cls, text: str) -> "Head":
        """The head in a text such as a witness keeps; EvergreenError if it is none."""
        number, _, chained = text.partition(":")
        if not number.isdigit() or len(chained) != len(START):
            raise EvergreenError(f"{text!r} is no head of an audit log; `evergreen audit verify` prints one")
        return cls(int(number), chained)


@dataclass
class Chain:
    """Links entries with a secret. Whoever lacks it can make no link that fits."""

    secret: bytes = field(repr=False)

    def link(self, row: Mapping[str, Any], before: str) -> str:
        """The link of an entry: keyed over all it says and the link before it."""
        said = json.dumps([before, *(row[name] for name in SAID)])
        return hmac.new(self.secret, said.encode(), hashlib.sha256).hexdigest()

    def seal(self, head: Head) -> str:
        """What only the log itself can say of its head."""
        said = f"head {head.number} {head.chained}".encode()
        return hmac.new(self.secret, said, hashlib.sha256).hexdigest()


@dataclass
class Walk:
    """A walk along the entries of a log, from the first; `head` is how far it has come."""

    chain: Chain
    expected: Collection[Head] = ()
    head: Head = field(default_factory=Head)
    right: int = 0
    wrong: int = 0

    def __post_init__(self) -> None:
        self._seen: dict[int, set[str]] = {}
        for head in self.expected:
            self._seen.setdefault(head.number, set()).add(head.chained)

    def along(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
        """Every entry that is not as it was written, or not where it was; at most MOST findings, then how many more."""
        for row in rows:
            found = list(self._step(row))
            self.right, self.wrong = self.right + (not found), self.wrong + bool(found)
            if self.wrong <= MOST:
                yield from found
        if self.wrong > MOST:
            yield Finding(None, f"{self.wrong - MOST:,} more entries are wrong")
        if self._seen.get(0, set()) - {START}:
            yield Finding(None, "a head that was written down for the empty log is none of this log")
        if self.wrong > 1 and not self.right:
            yield Finding(None, "not one entry fits the key: it is another log, or the key was replaced")

    def _step(self, row: Mapping[str, Any]) -> Iterator[Finding]:
        number, chained = row["number"], row["chained"]
        if number != self.head.number + 1:
            between = f"follows entry {self.head.number}: what was between them is gone"
            yield Finding(
                number, between if number > self.head.number else "is not where the numbers allow one"
            )
        if not _texts(row) or not hmac.compare_digest(
            self.chain.link(row, self.head.chained).encode(), str(chained).encode()
        ):
            yield Finding(number, "was changed, or does not follow the entry before it")
        elif self._seen.get(number, set()) - {chained}:
            yield Finding(number, "is not the entry that was there when its head was written down")
        self.head = Head(number, str(chained))


def _texts(row: Mapping[str, Any]) -> bool:
    """Whether the columns hold text, as they were written; a database like SQLite would take anything."""
    once = row["once"]
    return all(isinstance(row[name], str) for name in TEXTS) and (once is None or isinstance(once, str))


class Anchor:
    """The head of the chain, kept in a file outside the table, so that the newest entries cannot be cut off unseen."""

    def __init__(self, path: Path, files: Files) -> None:
        self.path, self._files = path, files

    def exists(self) -> bool:
        """Whether it was ever written, here or on another machine."""
        return self._files.there(self.path)

    def read(self, chain: Chain) -> Head | None:
        """The anchored head; None if there is no anchor. EvergreenError if it is not byte for byte what was written."""
        try:
            text = self._files.fetch(self.path).read_bytes()
        except FileNotFoundError:
            return None
        try:
            said = json.loads(text)
            head = Head(int(said["number"]), str(said["chained"]))
        except (ValueError, KeyError, TypeError):
            head = Head()
        if not hmac.compare_digest(_written(chain, head), text):
            raise EvergreenError(f"{self.path} was changed: it is not what this log wrote")
        return head

    def write(self, chain: Chain, head: Head) -> None:
        """Durable, and whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            file.write(_written(chain, head))
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)
        fsync(self.path.parent)
        self._files.keep(self.path)


def _written(chain: Chain, head: Head) -> bytes:
    said = {"number": head.number, "chained": head.chained, "seal": chain.seal(head)}
    return json.dumps(said).encode()
