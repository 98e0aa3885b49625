"""Which answers of the prediction log, and which truths told of them, have gone to the lake, and with which batch.

A batch is made before it is written and marked done after, so that whoever was killed between leaves it to the next
one, which writes the same rows under the same name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from pipelines.stores.answers.predictions import BY_CLASS, LOGGED, PREDICTIONS, TRUTHS
from pipelines.stores.answers.predictions import METADATA as LOG
from pipelines.stores.databases import Opened

METADATA = sa.MetaData()
BATCHES = sa.Table(
    "archive_batches",
    METADATA,
    sa.Column("batch", sa.String(36), primary_key=True),
    sa.Column("model", sa.String(100), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("done", sa.Boolean, nullable=False),
)
ROWS = sa.Table(
    "archive_rows",
    METADATA,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("batch", sa.String(36), nullable=False),
    sa.Index("archive_rows_of_batch", "batch"),
)
ANSWERS, TOLD = "predictions", "truths"
"""What is archived: answers, and truths that were told of them. Also the names of their layers in the lake."""


@dataclass(frozen=True)
class Batch:
    """Rows that go together, oldest first, each as the log has it."""

    name: str
    rows: list[Mapping[str, Any]]


class Archive:
    """The book of what was moved, in the log's own database. One mover per model and kind at a time."""

    def __init__(self, url: str) -> None:
        self._engine = Opened(url, LOG, METADATA)

    def next(self, model: str, kind: str, most: int) -> Batch | None:
        """The batch that was begun and not ended; else a new one of at most so many rows; None if all are moved."""
        with self._engine().begin() as connection:
            name = connection.execute(
                sa.select(BATCHES.c.batch).where(
                    BATCHES.c.model == model, BATCHES.c.kind == kind, ~BATCHES.c.done
                )
            ).scalar()
            if name is None and (ids := _new(connection, model, kind, most)):
                name = str(uuid4())
                connection.execute(sa.insert(BATCHES).values(batch=name, model=model, kind=kind, done=False))
                connection.execute(sa.insert(ROWS), [{"id": each, "batch": name} for each in ids])
            return None if name is None else Batch(name, _rows(connection, kind, name))

    def done(self, batch: str) -> None:
        """The batch lies in the lake, durably."""
        with self._engine().begin() as connection:
            connection.execute(sa.update(BATCHES).where(BATCHES.c.batch == batch).values(done=True))

    def forget(self, model: str, before: datetime) -> int:
        """Delete answers of before a moment from the log, with what was told of them, where all that lies in the lake;
        how many. An answer of which a truth is still to be moved stays."""
        moved = (
            sa.select(ROWS.c.id)
            .join_from(ROWS, BATCHES, ROWS.c.batch == BATCHES.c.batch)
            .where(BATCHES.c.done)
        )
        open_ = sa.select(TRUTHS.c.prediction_id).where(TRUTHS.c.truth_id.not_in(moved))
        old = sa.and_(
            PREDICTIONS.c.model == model,
            PREDICTIONS.c.asked_at < before,
            PREDICTIONS.c.prediction_id.in_(moved),
            PREDICTIONS.c.prediction_id.not_in(open_),
        )
        with self._engine().begin() as connection:
            gone = [row[0] for row in connection.execute(sa.select(PREDICTIONS.c.prediction_id).where(old))]
            for start in range(0, len(gone), 500):
                some = gone[start : start + 500]
                told = sa.select(TRUTHS.c.truth_id).where(TRUTHS.c.prediction_id.in_(some))
                connection.execute(sa.delete(ROWS).where(sa.or_(ROWS.c.id.in_(some), ROWS.c.id.in_(told))))
                for table in (TRUTHS, BY_CLASS, PREDICTIONS):
                    connection.execute(sa.delete(table).where(table.c.prediction_id.in_(some)))
        return len(gone)


def _new(connection: sa.Connection, model: str, kind: str, most: int) -> list[str]:
    """Ids of the oldest rows of a model that are in no batch."""
    if kind == ANSWERS:
        query = sa.select(PREDICTIONS.c.prediction_id).order_by(PREDICTIONS.c.asked_at)
        column = PREDICTIONS.c.prediction_id
    else:
        query = sa.select(TRUTHS.c.truth_id).join_from(TRUTHS, PREDICTIONS).order_by(TRUTHS.c.received_at)
        column = TRUTHS.c.truth_id
    unmoved = ~sa.exists().where(ROWS.c.id == column)
    found = connection.execute(query.where(PREDICTIONS.c.model == model, unmoved).limit(most))
    return [row[0] for row in found]


def _rows(connection: sa.Connection, kind: str, batch: str) -> list[Mapping[str, Any]]:
    if kind == ANSWERS:
        query = LOGGED.join(ROWS, ROWS.c.id == PREDICTIONS.c.prediction_id)
        query = query.order_by(PREDICTIONS.c.asked_at, PREDICTIONS.c.prediction_id)
    else:
        query = sa.select(TRUTHS).join(ROWS, ROWS.c.id == TRUTHS.c.truth_id)
        query = query.order_by(TRUTHS.c.received_at, TRUTHS.c.truth_id)
    return [dict(row._mapping) for row in connection.execute(query.where(ROWS.c.batch == batch))]
