"""The audit log: every decision, append-only, each entry chained to the one before by a key.

Who holds the database but not the key can neither change, insert, remove nor reorder an entry unseen. The newest
entries cannot be cut off unseen either: the head of the chain is kept in a file outside the table as well. What neither
can show is a table *and* an anchor put back together to an earlier moment; for that a head written down elsewhere is
needed (`verify` takes any number of them, and versions in MLflow carry some).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pipelines.contracts import EvergreenError, as_json
from pipelines.settings import Settings
from pipelines.stores.audit.chain import SAID, START, Anchor, Chain, Finding, Head, Walk
from pipelines.stores.audit.keys import AUDIT as KEY
from pipelines.stores.audit.keys import Keys
from pipelines.stores.databases import create, engine
from pipelines.stores.locks import exclusive
from pipelines.stores.shared.files import Files

METADATA = sa.MetaData()
AUDIT = sa.Table(
    "audit",
    METADATA,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("action", sa.String(40), nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.Column("once", sa.Text, unique=True),
    sa.Column("chained", sa.String(64), nullable=False),
    sa.Index("audit_of_subject", "subject", "number"),
)  # fmt: skip
PAGE = 1000
SECRET = 32
"""How many bytes the key has."""


@dataclass(frozen=True)
class Said:
    """A decision to be entered. `once` names what is said only once, however often it is tried."""

    at: datetime
    who: str
    action: str
    subject: str
    why: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    once: str | None = None


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


class Audit:
    """The log of one deployment."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self._settings, self._keys = settings, keys
        self._engine = engine(settings.database)
        create(self._engine, METADATA)
        self._anchor = Anchor(settings.home / "audit" / "head.json", Files(settings.home, settings.storage))

    @property
    def anchor(self) -> Path:
        """Where the head of the chain is kept, outside the table."""
        return self._anchor.path

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
        return bool(self.extend([Said(at, who, action, subject, why, evidence or {}, once)]))

    def extend(self, said: Iterable[Said]) -> int:
        """Durable once this returns, all or none of them; how many are new."""
        rows = [_row(each) for each in said]
        with exclusive("audit", self._settings):
            chain = self._chain
            with self._engine.connect() as connection:
                before, new = _head(connection), _new(connection, rows)
                safe = self._safe(connection, chain, before)
            # Apart from the reads: SQLite refuses at once to turn a reader that saw old data into a writer.
            with self._engine.begin() as connection:
                head = _inserted(connection, chain, before, new)
            if safe:
                self._anchor.write(chain, head)
        return len(new)

    def entries(
        self,
        subject: str | None = None,
        action: str | None = None,
        limit: int | None = None,
        since: datetime | None = None,
    ) -> list[Entry]:
        """Entries in order, of one subject or action if it is named; with `limit` the newest of them."""
        query = sa.select(AUDIT).order_by(AUDIT.c.number.desc())
        if subject is not None:
            query = query.where(AUDIT.c.subject == subject)
        if action is not None:
            query = query.where(AUDIT.c.action == action)
        found: list[Entry] = []
        for row in self._read(query if since is not None else query.limit(limit)):
            entry = _entry(row)
            if (since is None or entry.at >= since) and (limit is None or len(found) < limit):
                found.append(entry)
        return found[::-1]

    def now(self) -> datetime:
        """The clock of the log, for decisions whose caller has none."""
        return datetime.now(UTC)

    @property
    def head(self) -> Head:
        """The newest entry, for whoever wants to be a witness of it."""
        with self._engine.connect() as connection:
            return _head(connection)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every entry in order as it is stored, links included: with the key, all that `verify` needs."""
        return self._read(sa.select(AUDIT).order_by(AUDIT.c.number))

    def verify(self, witnesses: Iterable[Head] = ()) -> list[Finding]:
        """Everything that is not as it was written; nothing if the log is whole.

        `witnesses` are heads that were written down elsewhere at other times. Entries come page by page, so a long
        log needs no more memory than a short one, and nobody who appends has to wait.
        """
        found: list[Finding] = []
        try:
            chain, anchored = self._opened(found)
        except EvergreenError as error:
            return [Finding(None, str(error))]
        heads = [*witnesses, *([anchored] if anchored is not None else [])]
        walk = Walk(chain, set(heads))
        try:
            found += walk.along(self.rows())
        except (SQLAlchemyError, EvergreenError) as error:
            said = str(error).splitlines()[0]
            found.append(Finding(None, f"what follows entry {walk.head.number} cannot be read: {said}"))
        return found + _missing(heads, walk.head)

    def resume(self, at: datetime, who: str, why: str, witnesses: Sequence[Head] = ()) -> None:
        """Go on after the log was cut or its anchor lost, as when a backup was restored: says so, and anchors anew.

        EvergreenError if nothing is wrong with the log's end, or if entries were changed: that nothing can mend.
        """
        found = self.verify(witnesses)
        if not found:
            raise EvergreenError("nothing is wrong with the audit log; there is nothing to accept")
        if any(finding for finding in Walk(self._chain).along(self.rows())):
            raise EvergreenError("entries of the audit log were changed; restore the table from a backup")
        evidence = {"found": [str(finding) for finding in found], "heads": [str(head) for head in witnesses]}
        self.append(at, who, "resume", "audit", why, evidence)
        with exclusive("audit", self._settings):
            self._anchor.write(self._chain, self.head)

    @cached_property
    def _chain(self) -> Chain:
        """The chain; EvergreenError if the log has entries and its key is gone: another key would not fit them."""
        path = self._keys.folder / KEY
        if not path.exists() and (self.head.number or self._anchor.exists()):
            raise EvergreenError(
                f"{path} is gone, the key of this audit log: put it back from where the deployment's keys are kept"
            )
        if len(self._keys.audit) != SECRET:
            raise EvergreenError(f"{path} is no key of an audit log; put the right one back")
        return Chain(self._keys.audit)

    def _opened(self, found: list[Finding]) -> tuple[Chain, Head | None]:
        """The chain and the anchored head; a missing or changed one is a finding, unless nothing was ever written."""
        with exclusive("audit", self._settings):
            if not self.head.number and not self._anchor.exists():
                return Chain(b""), None
            chain = self._chain
            try:
                anchored = self._anchor.read(chain)
            except EvergreenError as error:
                found.append(Finding(None, str(error)))
                return chain, None
        if anchored is None:
            found.append(Finding(None, f"{self.anchor} is gone: the head of the chain cannot be checked"))
        return chain, anchored

    def _safe(self, connection: sa.Connection, chain: Chain, before: Head) -> bool:
        """Whether the anchor may move on: it does not if that would cover up that entries or the anchor are gone."""
        try:
            anchored = self._anchor.read(chain)
        except EvergreenError:
            return False
        if anchored is None and before.number == 0:
            self._anchor.write(chain, before)  # from here on, entries without an anchor have lost it
            return True
        return anchored is not None and _chained(connection, anchored.number) == anchored.chained

    def _read(self, query: sa.Select[Any]) -> Iterator[dict[str, Any]]:
        with self._engine.connect() as connection:
            found = connection.execute(query.execution_options(yield_per=PAGE))
            yield from map(dict, found.mappings())


def _missing(heads: Sequence[Head], last: Head) -> list[Finding]:
    """Entries that somebody has seen and that are there no more."""
    newest = max((head.number for head in heads), default=0)
    if newest <= last.number:
        return []
    return [Finding(None, f"entries {last.number + 1} to {newest} are gone from the end")]


def _row(said: Said) -> dict[str, Any]:
    return {
        "at": said.at.astimezone(UTC).isoformat(),
        "who": _plain(said.who),
        "action": said.action,
        "subject": _plain(said.subject),
        "why": _plain(said.why),
        "evidence": json.dumps(as_json(dict(said.evidence)), sort_keys=True),
        "once": said.once if said.once is None else _plain(said.once),
    }


def _plain(text: str) -> str:
    """A text that every database keeps as it is: no NUL, nothing that is not Unicode."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def _new(connection: sa.Connection, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that were not said before, each once."""
    new: dict[str | int, dict[str, Any]] = {}
    for place, row in enumerate(rows):
        once = row["once"]
        if once is None or not _has(connection, once):
            new.setdefault(place if once is None else once, row)
    return list(new.values())


def _inserted(connection: sa.Connection, chain: Chain, head: Head, rows: Iterable[Mapping[str, Any]]) -> Head:
    """Chain rows to the head and insert them; the new head."""
    for plain in rows:
        row = {"number": head.number + 1, **plain}
        head = Head(row["number"], chain.link(row, head.chained))
        connection.execute(sa.insert(AUDIT).values(**row, chained=head.chained))
    return head


def _has(connection: sa.Connection, once: str) -> bool:
    return connection.execute(sa.select(AUDIT.c.number).where(AUDIT.c.once == once)).first() is not None


def _head(connection: sa.Connection) -> Head:
    query = sa.select(AUDIT.c.number, AUDIT.c.chained).order_by(AUDIT.c.number.desc()).limit(1)
    row = connection.execute(query).first()
    return Head() if row is None else Head(row.number, str(row.chained))


def _chained(connection: sa.Connection, number: int) -> str | None:
    query = sa.select(AUDIT.c.chained).where(AUDIT.c.number == number)
    return START if number == 0 else connection.execute(query).scalar_one_or_none()


def _entry(row: Mapping[str, Any]) -> Entry:
    try:
        times = {"at": datetime.fromisoformat(row["at"]), "evidence": json.loads(row["evidence"])}
        return Entry(**{name: row[name] for name in SAID} | times, chained=row["chained"])
    except (ValueError, TypeError) as error:
        raise EvergreenError(
            f"audit entry {row['number']} was changed ({error}); `evergreen audit verify`"
        ) from error
