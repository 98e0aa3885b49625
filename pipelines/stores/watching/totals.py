"""How much of everything the records hold, each in one statement, for whoever asks often."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipelines.contracts import BatchState
from pipelines.stores.answers.predictions import METADATA as ANSWERS
from pipelines.stores.answers.predictions import PREDICTIONS
from pipelines.stores.audit.log import AUDIT
from pipelines.stores.audit.log import METADATA as DECISIONS
from pipelines.stores.databases import Opened, Utc
from pipelines.stores.ledger_tables import BATCHES, UNOPENED
from pipelines.stores.ledger_tables import METADATA as ARRIVALS
from pipelines.stores.progress import METADATA as REACHES
from pipelines.stores.progress import REACHED
from pipelines.stores.signals import METADATA as ASKED
from pipelines.stores.signals import SIGNALS, TRAININGS

TAKEN = (BatchState.COMMITTED.value, BatchState.ARCHIVED.value)
PLACES = ("silver", "quarantined", "superseded")


@dataclass(frozen=True)
class Landed:
    """What became of a dataset's files: how many are in each state, and how many rows went to each place.

    `newest` is when the newest row in silver was known, `arrived` when the last file that was taken in came.
    """

    files: Mapping[str, int]
    rows: Mapping[str, int]
    newest: datetime | None
    arrived: datetime | None


@dataclass(frozen=True)
class Trained:
    """A model's trainings: how many were planned, began and ended, when the last began and ended, and how many are
    open, which run or were cut off."""

    planned: int
    began: int
    ended: int
    last_began: datetime | None
    last_ended: datetime | None
    open: int


class Totals:
    """Counts and newest moments, in SQLite or PostgreSQL; nothing is opened before it is first used."""

    def __init__(self, url: str) -> None:
        self._engine = Opened(url, ARRIVALS, REACHES, ASKED, DECISIONS, ANSWERS)

    def landed(self) -> dict[str, Landed]:
        """What became of the files of each dataset of which any came."""
        sums = [sa.func.sum(BATCHES.c[name]).label(name) for name in PLACES]
        moments = [sa.func.max(BATCHES.c[n], type_=Utc).label(n) for n in ("last_known", "seen_at")]
        columns = (BATCHES.c.dataset, BATCHES.c.state)
        query = sa.select(*columns, sa.func.count().label("files"), *sums, *moments).group_by(*columns)
        found: dict[str, list[sa.Row[Any]]] = {}
        for row in self._rows(query):
            found.setdefault(row.dataset, []).append(row)
        return {dataset: _landed(rows) for dataset, rows in found.items()}

    def unopened(self) -> dict[str, int]:
        """How many directory entries of each dataset were never opened."""
        query = sa.select(UNOPENED.c.dataset, sa.func.count().label("files")).group_by(UNOPENED.c.dataset)
        return {row.dataset: row.files for row in self._rows(query)}

    def reached(self) -> dict[str, datetime]:
        """How far each consumer came, by its name."""
        return {row.consumer: datetime.fromisoformat(row.as_of) for row in self._rows(sa.select(REACHED))}

    def trained(self) -> dict[str, Trained]:
        """The trainings of each model of which any was planned."""
        began, ended = TRAININGS.c.began_at, TRAININGS.c.ended_at
        planned = sa.func.max(sa.case((ended.is_not(None), TRAININGS.c.planned_at)), type_=Utc)
        query = sa.select(
            TRAININGS.c.model,
            sa.func.count().label("planned"),
            sa.func.count(began).label("began"),
            sa.func.count(ended).label("ended"),
            sa.func.max(began, type_=Utc).label("last_began"),
            sa.func.max(ended, type_=Utc).label("last_ended"),
            planned.label("answered"),
        ).group_by(TRAININGS.c.model)
        return {row.model: self._trained(row) for row in self._rows(query)}

    def signals(self) -> dict[tuple[str, str], int]:
        """How many signals no training answers yet, by model and cause."""
        ended = TRAININGS.alias()
        answered = sa.select(sa.func.max(ended.c.planned_at)).where(
            ended.c.model == SIGNALS.c.model, ended.c.ended_at.is_not(None)
        )
        until = answered.scalar_subquery()
        still = sa.or_(until.is_(None), SIGNALS.c.recorded_at > until)
        columns = (SIGNALS.c.model, SIGNALS.c.cause)
        query = sa.select(*columns, sa.func.count().label("open")).where(still).group_by(*columns)
        return {(row.model, row.cause): row.open for row in self._rows(query)}

    def answered(self, models: Sequence[str]) -> dict[str, datetime]:
        """When each of the models answered last; an index knows it, however long the log is."""
        found = {}
        for model in models:
            query = sa.select(PREDICTIONS.c.asked_at).where(PREDICTIONS.c.model == model)
            for row in self._rows(query.order_by(PREDICTIONS.c.asked_at.desc()).limit(1)):
                found[model] = row.asked_at
        return found

    def decisions(self, actions: Sequence[str], after: int) -> Iterator[sa.Row[Any]]:
        """The audit log's entries of these kinds behind a number, in order: number, at, action, subject, evidence."""
        columns = [AUDIT.c[name] for name in ("number", "at", "action", "subject", "evidence")]
        which = (AUDIT.c.number > after, AUDIT.c.action.in_(actions))
        yield from self._rows(sa.select(*columns).where(*which).order_by(AUDIT.c.number))

    def _trained(self, row: sa.Row[Any]) -> Trained:
        plain = dict(row._mapping)
        model, until = plain.pop("model"), plain.pop("answered")
        query = sa.select(sa.func.count()).where(
            TRAININGS.c.model == model, TRAININGS.c.began_at.is_not(None)
        )
        if until is not None:
            query = query.where(TRAININGS.c.planned_at > until)
        return Trained(**plain, open=self._rows(query)[0][0])

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._engine().connect() as connection:
            return connection.execute(query).all()


def _landed(rows: Sequence[sa.Row[Any]]) -> Landed:
    taken = [row for row in rows if row.state in TAKEN]
    return Landed(
        files={row.state: row.files for row in rows},
        rows={name: sum(int(getattr(row, name) or 0) for row in rows) for name in PLACES},
        newest=max((row.last_known for row in taken if row.last_known), default=None),
        arrived=max((row.seen_at for row in taken), default=None),
    )
