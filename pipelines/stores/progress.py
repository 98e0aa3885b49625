"""How far a consumer (a feature view, a model) has come, and which batches it has taken into account."""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Column, MetaData, String, Table, delete, insert, select
from sqlalchemy.exc import IntegrityError

from pipelines.stores.databases import create, engine

METADATA = MetaData()
CONSUMED = Table(
    "consumed_batches",
    METADATA,
    Column("consumer", String(200), primary_key=True),
    Column("digest", String(80), primary_key=True),
)
REACHED = Table(
    "progress",
    METADATA,
    Column("consumer", String(200), primary_key=True),
    Column("as_of", String(40), nullable=False),
)


class Progress:
    """What each consumer consumed and how far it came; saying it twice changes nothing."""

    def __init__(self, url: str) -> None:
        self._engine = engine(url)
        create(self._engine, METADATA)

    def consumed(self, consumer: str) -> set[str]:
        query = select(CONSUMED.c.digest).where(CONSUMED.c.consumer == consumer)
        with self._engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def reached(self, consumer: str) -> datetime | None:
        query = select(REACHED.c.as_of).where(REACHED.c.consumer == consumer)
        with self._engine.connect() as connection:
            text = connection.execute(query).scalar()
        return datetime.fromisoformat(text) if text else None

    def mark(self, consumer: str, digests: Iterable[str], as_of: datetime) -> None:
        """Record consumed batches; the moment only moves forward."""
        before = self.reached(consumer)
        moment = max(as_of, before or as_of).astimezone(UTC)
        new = sorted(set(digests) - self.consumed(consumer))
        try:
            with self._engine.begin() as connection:
                connection.execute(delete(REACHED).where(REACHED.c.consumer == consumer))
                connection.execute(insert(REACHED).values(consumer=consumer, as_of=moment.isoformat()))
                if new:
                    rows = [{"consumer": consumer, "digest": digest} for digest in new]
                    connection.execute(insert(CONSUMED), rows)
        except IntegrityError:
            return  # another run of the same task said the same first

    def forget(self, consumer: str) -> None:
        """What a consumer consumed and reached is as if it had never run."""
        with self._engine.begin() as connection:
            connection.execute(delete(REACHED).where(REACHED.c.consumer == consumer))
            connection.execute(delete(CONSUMED).where(CONSUMED.c.consumer == consumer))
