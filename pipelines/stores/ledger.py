"""The arrival ledger: which file came, under which names, and where its rows went."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from pipelines.contracts import Batch, BatchState, IngestResult


class Utc(sa.types.TypeDecorator[datetime]):
    """Times go in and come out timezone-aware in UTC, also on SQLite, which forgets the zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


METADATA = sa.MetaData()
# The dataset is part of the key: a file refused under a wrong name may come again under its right one.
BATCHES = sa.Table(
    "batches",
    METADATA,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("dataset", sa.String(100), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False, default=0),
    sa.Column("state", sa.String(10), nullable=False, default=BatchState.SEEN.value),
    sa.Column("reason", sa.Text),
    sa.Column("parsed", sa.BigInteger, nullable=False, default=0),
    sa.Column("silver", sa.BigInteger, nullable=False, default=0),
    sa.Column("quarantined", sa.BigInteger, nullable=False, default=0),
    sa.Column("superseded", sa.BigInteger, nullable=False, default=0),
    sa.Column("first_known", Utc),
    sa.Column("last_known", Utc),
    sa.Column("report", sa.Text),
    sa.Column("seen_at", Utc, nullable=False),
    sa.Column("ended_at", Utc),
)
NAMES = sa.Table(
    "names",
    METADATA,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("dataset", sa.String(100), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("seen_at", Utc, nullable=False),
)
BATCH = [BATCHES.c[name] for name in ("digest", "dataset", "name", "size", "state", "reason")]
RESULT = [BATCHES.c[name] for name in IngestResult.__dataclass_fields__]


def engine(url: str) -> sa.Engine:
    """A pooled engine; SQLite waits for locks and lets readers read while one writes."""
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_pre_ping=True)
    made = sa.create_engine(url, connect_args={"timeout": 60})
    file = made.url.database
    if file and file != ":memory:":
        from pathlib import Path

        Path(file).parent.mkdir(parents=True, exist_ok=True)

    @sa.event.listens_for(made, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA busy_timeout=60000")
        connection.execute("PRAGMA synchronous=FULL")

    return made


def create(made: sa.Engine, metadata: sa.MetaData) -> None:
    """Creates what is missing, also when several processes start at once."""
    for attempt in range(10):
        try:
            with made.begin() as connection:
                if made.dialect.name == "sqlite":
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                metadata.create_all(connection)
            return
        except DBAPIError:
            if attempt == 9:
                raise


class Ledger:
    """The truth about arrivals, in SQLite or PostgreSQL."""

    def __init__(self, url: str) -> None:
        self._engine = engine(url)
        create(self._engine, METADATA)

    def see(self, batch: Batch) -> Batch:
        """Notes a file; the batch as already known if its bytes came before, under whatever name."""
        now = datetime.now(UTC)
        row = asdict(batch) | {"state": batch.state.value, "seen_at": now}
        name = {"digest": batch.digest, "dataset": batch.dataset, "name": batch.name, "seen_at": now}
        # Writes come first: SQLite refuses at once to turn a reader that saw old data into a writer.
        with self._engine.begin() as connection:
            connection.execute(self._insert(BATCHES).values(row).on_conflict_do_nothing())
            connection.execute(self._insert(NAMES).values(name).on_conflict_do_nothing())
            found = connection.execute(sa.select(*BATCH).where(_is(batch.digest, batch.dataset))).one()
        return Batch(**{**found._mapping, "state": BatchState(found.state)})

    def record(self, result: IngestResult) -> None:
        """Ends a batch once: an ended batch keeps its first ending."""
        row = asdict(result) | {"state": result.state.value}
        now = datetime.now(UTC)
        if result.state is not BatchState.SEEN:
            row["ended_at"] = now
        update = sa.update(BATCHES).where(
            _is(result.digest, result.dataset), BATCHES.c.state == BatchState.SEEN.value
        )
        with self._engine.begin() as connection:
            connection.execute(self._insert(BATCHES).values(_seen(result, now)).on_conflict_do_nothing())
            connection.execute(update.values({k: v for k, v in row.items() if k != "name"}))

    def batches(self, dataset: str | None = None, state: BatchState | None = None) -> list[IngestResult]:
        """What became of the files, in order of arrival."""
        query = sa.select(*RESULT).order_by(BATCHES.c.seen_at, BATCHES.c.name)
        if dataset is not None:
            query = query.where(BATCHES.c.dataset == dataset)
        if state is not None:
            query = query.where(BATCHES.c.state == state.value)
        return [_result(row) for row in self._rows(query)]

    def result(self, digest: str, dataset: str) -> IngestResult | None:
        """What became of one file; None if it never came."""
        found = self._rows(sa.select(*RESULT).where(_is(digest, dataset)))
        return _result(found[0]) if found else None

    def pending(self, dataset: str) -> list[Batch]:
        """Files that were seen but have not ended, by name."""
        query = sa.select(*BATCH).where(
            BATCHES.c.dataset == dataset, BATCHES.c.state == BatchState.SEEN.value
        )
        rows = self._rows(query.order_by(BATCHES.c.name))
        return [Batch(**{**row._mapping, "state": BatchState(row.state)}) for row in rows]

    def names(self, digest: str, dataset: str) -> list[str]:
        """Every name these bytes came under, in order of arrival."""
        query = sa.select(NAMES.c.name).where(NAMES.c.digest == digest, NAMES.c.dataset == dataset)
        return [row.name for row in self._rows(query.order_by(NAMES.c.seen_at, NAMES.c.name))]

    def watermark(self, dataset: str) -> datetime | None:
        """The newest available_at among committed batches; None if none has rows."""
        query = sa.select(sa.func.max(BATCHES.c.last_known, type_=Utc)).where(
            BATCHES.c.dataset == dataset, BATCHES.c.state == BatchState.COMMITTED.value
        )
        with self._engine.connect() as connection:
            newest: datetime | None = connection.execute(query).scalar_one()
        return newest

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()

    def _insert(self, table: sa.Table) -> Any:
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        return dialect.insert(table)


def _is(digest: str, dataset: str) -> sa.ColumnElement[bool]:
    return sa.and_(BATCHES.c.digest == digest, BATCHES.c.dataset == dataset)


def _seen(result: IngestResult, now: datetime) -> dict[str, Any]:
    return {
        "digest": result.digest,
        "dataset": result.dataset,
        "name": result.name,
        "size": 0,
        "state": BatchState.SEEN.value,
        "seen_at": now,
    }


def _result(row: sa.Row[Any]) -> IngestResult:
    return IngestResult(**{**row._mapping, "state": BatchState(row.state)})
