"""What champion and challenger did with the same questions of a rollout; nobody was told it.

Batches say how often they failed, differed and how long they took; pairs are a few answers of each batch, for the
truth that will come. So a rollout of weeks stays small enough to be looked at twice a minute.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipelines.stores.answers.predictions import MEASURED, PREDICTIONS
from pipelines.stores.answers.predictions import METADATA as LOG
from pipelines.stores.databases import Opened, Utc

METADATA = sa.MetaData()
BATCHES = sa.Table(
    "rollout_batches",
    METADATA,
    sa.Column("batch", sa.String(36), primary_key=True),
    sa.Column("rollout", sa.String(100), nullable=False),
    sa.Column("asked_at", Utc, nullable=False),
    sa.Column("questions", sa.Integer, nullable=False),
    sa.Column("alone", sa.Integer, nullable=False),
    sa.Column("other", sa.Integer, nullable=False),
    sa.Column("answered", sa.Integer, nullable=False),
    sa.Column("differ", sa.Integer, nullable=False),
    sa.Column("times", sa.Float(53)),
    sa.Index("batches_of_rollout", "rollout", "asked_at"),
)
PAIRS = sa.Table(
    "rollout_pairs",
    METADATA,
    sa.Column("prediction_id", sa.String(36), primary_key=True),
    sa.Column("rollout", sa.String(100), nullable=False),
    sa.Column("champion", sa.JSON, nullable=False),
    sa.Column("challenger", sa.JSON, nullable=False),
    sa.Index("pairs_of_rollout", "rollout"),
)


@dataclass(frozen=True)
class Batch:
    """Questions that both were asked at once. On `alone` of them the challenger alone failed, on `other` the champion;
    of those that both `answered`, on `differ` the answers were further apart than the spec allows. `times` is how many
    times as long the challenger took, None where one of the two failed on a question."""

    batch: str
    rollout: str
    asked_at: datetime
    questions: int
    alone: int
    other: int
    answered: int
    differ: int
    times: float | None


@dataclass(frozen=True)
class Pair:
    """What both answered to the question whose answer left as `prediction_id`."""

    prediction_id: str
    rollout: str
    champion: float | list[float]
    challenger: float | list[float]


class Comparisons:
    """The comparisons of one deployment, beside its prediction log."""

    def __init__(self, url: str) -> None:
        self._engine = Opened(url, LOG, METADATA)

    def record(self, batch: Batch, pairs: Iterable[Pair]) -> None:
        """Durable once this returns, all or none."""
        rows = [asdict(each) for each in pairs]
        with self._engine().begin() as connection:
            connection.execute(sa.insert(BATCHES), asdict(batch))
            if rows:
                connection.execute(sa.insert(PAIRS), rows)

    def batches(self, rollout: str) -> list[Batch]:
        """All of a rollout, in the order in which they were asked."""
        query = sa.select(BATCHES).where(BATCHES.c.rollout == rollout)
        with self._engine().connect() as connection:
            found = connection.execute(query.order_by(BATCHES.c.asked_at, BATCHES.c.batch))
            return [Batch(**row._mapping) for row in found]

    def pairs(self, rollout: str) -> dict[str, Pair]:
        """Every pair of a rollout, by the id of the answer that left."""
        with self._engine().connect() as connection:
            found = connection.execute(sa.select(PAIRS).where(PAIRS.c.rollout == rollout))
            return {row.prediction_id: Pair(**row._mapping) for row in found}

    def logged(self, rollout: str) -> list[Mapping[str, Any]]:
        """What the prediction log has of the pairs' questions, as its `between` gives it."""
        query = MEASURED.join(PAIRS, PAIRS.c.prediction_id == PREDICTIONS.c.prediction_id)
        with self._engine().connect() as connection:
            found = connection.execute(query.where(PAIRS.c.rollout == rollout))
            return [dict(row._mapping) for row in found]

    def count(self, rollout: str, since: datetime) -> int:
        """How many questions were compared since a moment."""
        query = sa.select(sa.func.coalesce(sa.func.sum(BATCHES.c.questions), 0)).where(
            BATCHES.c.rollout == rollout, BATCHES.c.asked_at >= since
        )
        with self._engine().connect() as connection:
            return int(connection.execute(query).scalar_one())
