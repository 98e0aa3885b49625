"""What champion and challenger said to the same questions of a rollout, and how long they took; nobody was told it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from threading import Lock
from typing import Any

import sqlalchemy as sa

from pipelines.stores.databases import Utc, create, engine

METADATA = sa.MetaData()
COMPARISONS = sa.Table(
    "comparisons",
    METADATA,
    sa.Column("prediction_id", sa.String(36), primary_key=True),
    sa.Column("rollout", sa.String(100), nullable=False),
    sa.Column("asked_at", Utc, nullable=False),
    sa.Column("champion", sa.JSON(none_as_null=True)),
    sa.Column("challenger", sa.JSON(none_as_null=True)),
    sa.Column("batch", sa.String(36), nullable=False),
    sa.Column("times", sa.Float(53)),
    sa.Index("comparisons_of_rollout", "rollout", "asked_at"),
)


@dataclass(frozen=True)
class Comparison:
    """One question. `prediction_id` is that of the answer which left; an answer here is None where the model failed.

    `batch` names the questions that were asked at once; for all of them the challenger took so many `times` as long as
    the champion, None where one of the two failed on one of them.
    """

    prediction_id: str
    rollout: str
    asked_at: datetime
    champion: float | list[float] | None
    challenger: float | list[float] | None
    batch: str
    times: float | None


class Comparisons:
    """The comparisons of one deployment, beside its prediction log."""

    def __init__(self, url: str) -> None:
        self._made, self._created, self._lock = engine(url), False, Lock()

    def record(self, compared: Iterable[Comparison]) -> None:
        """Durable once this returns, all or none."""
        rows: list[dict[str, Any]] = [asdict(each) for each in compared]
        if rows:
            with self._engine().begin() as connection:
                connection.execute(sa.insert(COMPARISONS), rows)

    def of(self, rollout: str) -> list[Comparison]:
        """All of a rollout, in the order in which they were asked."""
        query = sa.select(COMPARISONS).where(COMPARISONS.c.rollout == rollout)
        with self._engine().connect() as connection:
            found = connection.execute(query.order_by(COMPARISONS.c.asked_at, COMPARISONS.c.prediction_id))
            return [Comparison(**row._mapping) for row in found]

    def count(self, rollout: str, since: datetime) -> int:
        """How many questions were compared since a moment."""
        query = sa.select(sa.func.count()).where(
            COMPARISONS.c.rollout == rollout, COMPARISONS.c.asked_at >= since
        )
        with self._engine().connect() as connection:
            return int(connection.execute(query).scalar_one())

    def _engine(self) -> sa.Engine:
        with self._lock:
            if not self._created:
                create(self._made, METADATA)
                self._created = True
        return self._made
