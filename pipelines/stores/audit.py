"""The audit log: every decision, append-only, each entry chained to the one before by a key.

Who holds the database but not the key can neither change, insert, remove nor reorder an entry unseen. The newest
entries cannot be cut off unseen either: the head of the chain is written to a file outside the table as well.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines.contracts import EvergreenError, as_json
from pipelines.settings import Settings
from pipelines.stores.databases import create, engine
from pipelines.stores.keys import Keys
from pipelines.stores.locks import exclusive

METADATA = sa.MetaData()
AUDIT = sa.Table(
    "audit",
    METADATA,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("action", sa.String(40), nullable=False),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.Column("once", sa.String(200), unique=True),
    sa.Column("chained", sa.String(64), nullable=False),
    sa.Index("audit_of_subject", "subject", "number"),
)  # fmt: skip
START = "0" * 64
PAGE = 1000


@dataclass(frozen=True)
class Entry:
    """One decision: who took it, on what, why, and the evidence (plain JSON). `once` names what is said only once."""

    number: int
    at: datetime
    who: str
    action: str
    subject: str
    why: str
    evidence: dict[str, Any]
    once: str | None
    chained: str


@dataclass(frozen=True)
class Finding:
    """What is wrong with the log, and where; `number` is None if it concerns the log as a whole."""

    number: int | None
    what: str


class Audit:
    """The log of one deployment."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self._settings, self._keys = settings, keys
        self._engine = engine(settings.database)
        create(self._engine, METADATA)

    @property
    def anchor(self) -> Path:
        """Where the head of the chain is kept, outside the table."""
        return self._settings.home / "audit" / "head.json"

    def append(
        self,
        at: datetime,
        who: str,
        action: str,
        subject: str,
        why: str = "",
        evidence: Mapping[str, Any] | None = None,
        once: str | None = None,
    ) -> bool:
        """Durable once this returns. Whether the entry is new: one with the same `once` is there already if not."""
        said = {
            "at": at.astimezone(UTC).isoformat(),
            "who": who,
            "action": action,
            "subject": subject,
            "why": why,
            "evidence": json.dumps(as_json(dict(evidence or {})), sort_keys=True),
            "once": once,
        }
        with exclusive("audit", self._settings):
            with self._engine.begin() as connection:
                if once is not None and _has(connection, once):
                    return False
                number, before = _head(connection)
                row = {"number": number + 1, **said}
                chained = self._chained(row, before)
                connection.execute(sa.insert(AUDIT).values(**row, chained=chained))
            self._anchored(number + 1, chained)
        return True

    def entries(
        self, subject: str | None = None, action: str | None = None, limit: int | None = None
    ) -> list[Entry]:
        """Entries in order, of one subject or action if it is named; with `limit` the newest of them."""
        query = sa.select(AUDIT).order_by(AUDIT.c.number.desc()).limit(limit)
        if subject is not None:
            query = query.where(AUDIT.c.subject == subject)
        if action is not None:
            query = query.where(AUDIT.c.action == action)
        with self._engine.connect() as connection:
            return [_entry(row) for row in connection.execute(query)][::-1]

    def verify(self) -> list[Finding]:
        """Everything that is not as it was written; nothing if the log is whole."""
        with exclusive("audit", self._settings):
            found: list[Finding] = []
            number, chained, anchored = 0, START, None
            head = self._read_anchor(found)
            for row in self._rows():
                found += self._wrong(row, number, chained)
                number, chained = row["number"], row["chained"]
                if head is not None and number == head["number"]:
                    anchored = chained
            return found + _cut(head, number, anchored)

    def _rows(self) -> Iterator[dict[str, Any]]:
        with self._engine.connect() as connection:
            query = sa.select(AUDIT).order_by(AUDIT.c.number).execution_options(yield_per=PAGE)
            for row in connection.execute(query):
                yield dict(row._mapping)

    def _wrong(self, row: dict[str, Any], number: int, chained: str) -> list[Finding]:
        found = []
        if row["number"] != number + 1:
            found.append(Finding(row["number"], f"follows entry {number}: what was between them is gone"))
        if not hmac.compare_digest(self._chained(row, chained), row["chained"]):
            found.append(Finding(row["number"], "was changed, or does not follow the entry before it"))
        return found

    def _chained(self, row: Mapping[str, Any], before: str) -> str:
        """The link of an entry: keyed over all it says and the link before it."""
        said = [before, *(row[c.name] for c in AUDIT.columns if c.name != "chained")]
        return hmac.new(self._keys.audit, json.dumps(said).encode(), hashlib.sha256).hexdigest()

    def _seal(self, number: int, chained: str) -> str:
        return hmac.new(self._keys.audit, f"head {number} {chained}".encode(), hashlib.sha256).hexdigest()

    def _anchored(self, number: int, chained: str) -> None:
        self.anchor.parent.mkdir(parents=True, exist_ok=True)
        part = self.anchor.with_suffix(f".{os.getpid()}.part")
        with part.open("w") as file:
            json.dump({"number": number, "chained": chained, "seal": self._seal(number, chained)}, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.anchor)

    def _read_anchor(self, found: list[Finding]) -> dict[str, Any] | None:
        """The anchored head; a missing or changed one is a finding, unless nothing was ever written."""
        with self._engine.connect() as connection:
            empty = connection.execute(sa.select(AUDIT.c.number).limit(1)).first() is None
        if not self.anchor.exists():
            if not empty:
                found.append(Finding(None, f"{self.anchor} is gone: the head of the chain cannot be checked"))
            return None
        try:
            head = dict(json.loads(self.anchor.read_text()))
            if hmac.compare_digest(self._seal(head["number"], head["chained"]), head["seal"]):
                return head
        except (ValueError, KeyError, TypeError):
            pass
        found.append(Finding(None, f"{self.anchor} was changed: it is not what this log wrote"))
        return None


def _cut(head: Mapping[str, Any] | None, number: int, anchored: str | None) -> list[Finding]:
    if head is None:
        return []
    if number < head["number"]:
        return [Finding(None, f"entries {number + 1} to {head['number']} are gone from the end")]
    if anchored != head["chained"]:
        return [Finding(head["number"], "is not the entry that was anchored")]
    return []


def _has(connection: sa.Connection, once: str) -> bool:
    return connection.execute(sa.select(AUDIT.c.number).where(AUDIT.c.once == once)).first() is not None


def _head(connection: sa.Connection) -> tuple[int, str]:
    query = sa.select(AUDIT.c.number, AUDIT.c.chained).order_by(AUDIT.c.number.desc()).limit(1)
    row = connection.execute(query).first()
    return (0, START) if row is None else (row.number, row.chained)


def _entry(row: sa.Row[Any]) -> Entry:
    plain = dict(row._mapping)
    try:
        return Entry(
            **plain | {"at": datetime.fromisoformat(plain["at"]), "evidence": json.loads(plain["evidence"])}
        )
    except ValueError as error:
        raise EvergreenError(
            f"audit entry {row.number} was changed ({error}); `evergreen audit verify`"
        ) from error
