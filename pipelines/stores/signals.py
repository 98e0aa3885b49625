"""What asks for a training, what held one back, and which trainings were planned, began and ended."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipelines.contracts import Cause, Signal
from pipelines.stores.databases import Utc, create, engine, insert

METADATA = sa.MetaData()
SIGNALS = sa.Table(
    "signals",
    METADATA,
    sa.Column("model", sa.String(100), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("as_of", Utc, primary_key=True),
    sa.Column("cause", sa.String(20), primary_key=True),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("recorded_at", Utc, nullable=False),
)
TRAININGS = sa.Table(
    "trainings",
    METADATA,
    sa.Column("model", sa.String(100), primary_key=True),
    sa.Column("key", sa.String(40), primary_key=True),
    sa.Column("planned_at", Utc, nullable=False),
    sa.Column("as_of", Utc, nullable=False),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Column("record", sa.JSON, nullable=False),
    sa.Column("began_at", Utc),
    sa.Column("ended_at", Utc),
    sa.Column("version", sa.Integer),
)
# `after` is the training that was the last when the waiting began; one line per policy and training.
WAITS = sa.Table(
    "waits",
    METADATA,
    sa.Column("model", sa.String(100), primary_key=True),
    sa.Column("after", sa.String(40), primary_key=True),
    sa.Column("policy", sa.String(20), primary_key=True),
    sa.Column("since", Utc, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)


@dataclass(frozen=True)
class Training:
    """A planned training run: `code` is the digest of the model's folder then, `record` what it is made of.

    It began when fitting did, and ended when a version was registered and its batches marked.
    """

    model: str
    key: str
    planned_at: datetime
    as_of: datetime
    code: str
    record: dict[str, Any]
    began_at: datetime | None = None
    ended_at: datetime | None = None
    version: int | None = None


class Signals:
    """Signals, trainings and waits; saying a thing twice changes nothing."""

    def __init__(self, url: str) -> None:
        self._engine = engine(url)
        create(self._engine, METADATA)

    def record(self, signal: Signal) -> bool:
        """Whether the signal is new: one per champion version, moment and cause."""
        return self._once(SIGNALS, {f.name: getattr(signal, f.name) for f in fields(signal)})

    def pending(self, model: str) -> list[Signal]:
        """Signals that no training answers yet: none that was planned after them has ended."""
        answered = sa.select(sa.func.max(TRAININGS.c.planned_at, type_=Utc)).where(
            TRAININGS.c.model == model, TRAININGS.c.ended_at.is_not(None)
        )
        with self._engine.connect() as connection:
            until: datetime | None = connection.execute(answered).scalar_one()
        query = sa.select(SIGNALS).where(SIGNALS.c.model == model).order_by(SIGNALS.c.recorded_at)
        if until is not None:
            query = query.where(SIGNALS.c.recorded_at > until)
        return [Signal(**{**row._mapping, "cause": Cause(row.cause)}) for row in self._rows(query)]

    def plan(self, training: Training) -> None:
        self._once(TRAININGS, {f.name: getattr(training, f.name) for f in fields(training)})

    def begin(self, model: str, key: str, at: datetime) -> None:
        """Fitting begins; a retry does not move the moment."""
        self._set(model, key, TRAININGS.c.began_at, began_at=at)

    def end(self, model: str, key: str, version: int, at: datetime) -> None:
        """The training made, or found again, this version; the first ending stays."""
        self._set(model, key, TRAININGS.c.ended_at, version=version, ended_at=at)

    def training(self, model: str, key: str) -> Training | None:
        found = self._trainings(TRAININGS.c.model == model, TRAININGS.c.key == key)
        return found[0] if found else None

    def last(self, model: str) -> Training | None:
        """The training that began last."""
        found = self._trainings(TRAININGS.c.model == model, TRAININGS.c.began_at.is_not(None), limit=1)
        return found[0] if found else None

    def of_version(self, model: str, version: int) -> list[Training]:
        """The trainings that made or found a version, the newest first."""
        return self._trainings(TRAININGS.c.model == model, TRAININGS.c.version == version)

    def ended(self, model: str) -> list[Training]:
        """The trainings that ended with a version, the newest first."""
        return self._trainings(TRAININGS.c.model == model, TRAININGS.c.version.is_not(None))

    def unfinished(self, model: str) -> list[Training]:
        """Trainings that began and are newer than all that ended: they run, or they were cut off."""
        ended = sa.select(sa.func.max(TRAININGS.c.planned_at, type_=Utc)).where(
            TRAININGS.c.model == model, TRAININGS.c.ended_at.is_not(None)
        )
        newer = sa.or_(ended.scalar_subquery().is_(None), TRAININGS.c.planned_at > ended.scalar_subquery())
        return self._trainings(TRAININGS.c.model == model, TRAININGS.c.began_at.is_not(None), newer)

    def wait(self, model: str, after: str, policy: str, since: datetime, detail: str) -> None:
        """Note what a policy holds back; the moment it was first held back stays."""
        row = {"model": model, "after": after, "policy": policy, "since": since, "detail": detail}
        self._once(WAITS, row)

    def waits(self, model: str, after: str) -> list[str]:
        """What was held back since a training, in order."""
        query = sa.select(WAITS).where(WAITS.c.model == model, WAITS.c.after == after)
        rows = self._rows(query.order_by(WAITS.c.since, WAITS.c.policy))
        return [f"from {row.since:%Y-%m-%d %H:%M} UTC by {row.policy}: {row.detail}" for row in rows]

    def _set(self, model: str, key: str, unset: sa.Column[Any], **values: Any) -> None:
        its = sa.and_(TRAININGS.c.model == model, TRAININGS.c.key == key, unset.is_(None))
        with self._engine.begin() as connection:
            connection.execute(sa.update(TRAININGS).where(its).values(**values))

    def _trainings(self, *conditions: sa.ColumnElement[bool], limit: int | None = None) -> list[Training]:
        query = sa.select(TRAININGS).where(*conditions).order_by(TRAININGS.c.planned_at.desc()).limit(limit)
        return [Training(**row._mapping) for row in self._rows(query)]

    def _once(self, table: sa.Table, row: dict[str, Any]) -> bool:
        """Whether the row is new."""
        statement = insert(self._engine, table).values(row).on_conflict_do_nothing()
        with self._engine.begin() as connection:
            return bool(connection.execute(statement).rowcount)

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()
