"""The prediction log: what was answered, by which model, to which question, on which features; and what became true."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipelines.contracts import as_json
from pipelines.stores.databases import Opened, Utc

METADATA = sa.MetaData()
PREDICTIONS = sa.Table(
    "predictions",
    METADATA,
    sa.Column("prediction_id", sa.String(36), primary_key=True),
    sa.Column("model", sa.String(100), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("entities", sa.JSON, nullable=False),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("features", sa.JSON, nullable=False),
    sa.Column("known", sa.JSON),
    sa.Column("answer", sa.Float(53), nullable=False),
    sa.Column("threshold", sa.Float(53)),
    sa.Column("degraded", sa.Boolean, nullable=False),
    sa.Column("asked_at", Utc, nullable=False),
    sa.Column("event_time", Utc),
    sa.Index("predictions_of_model", "model", "asked_at"),
)
BY_CLASS = sa.Table(
    "predictions_by_class",
    METADATA,
    sa.Column("prediction_id", sa.String(36), sa.ForeignKey("predictions.prediction_id"), primary_key=True),
    sa.Column("prediction", sa.JSON, nullable=False),
    sa.Column("probabilities", sa.JSON, nullable=False),
)
"""What an answer of a multiclass says beside its number; a table of its own, so that older logs stay as they are."""
TRUTHS = sa.Table(
    "truths",
    METADATA,
    sa.Column("truth_id", sa.String(36), primary_key=True),
    sa.Column("prediction_id", sa.String(36), sa.ForeignKey("predictions.prediction_id"), nullable=False),
    sa.Column("truth", sa.JSON, nullable=False),
    sa.Column("known_at", Utc, nullable=False),
    sa.Column("received_at", Utc, nullable=False),
    sa.Index("truths_of_prediction", "prediction_id"),
)
"""Told of an answer by its id. A correction is another row; nothing is ever overwritten."""
OF_CLASSES = ("prediction", "probabilities")
ANSWERED = ("prediction_id", "version", "entities", "request", "answer", "degraded", "asked_at", "event_time")
"""What measuring an answer takes, beside its probabilities by class."""
HAPPENED = sa.func.coalesce(PREDICTIONS.c.event_time, PREDICTIONS.c.asked_at, type_=Utc)
"""When the event is that an answer is about; of one that names none, when it was asked."""
PATIENCE_MS = 5_000

LOGGED = sa.select(PREDICTIONS, *(BY_CLASS.c[name] for name in OF_CLASSES)).outerjoin_from(
    PREDICTIONS, BY_CLASS
)
MEASURED = sa.select(*(PREDICTIONS.c[name] for name in ANSWERED), BY_CLASS.c.probabilities).outerjoin_from(
    PREDICTIONS, BY_CLASS
)


@dataclass(frozen=True)
class Prediction:
    """One answer. `asked_at` is the wall clock; `event_time` is the request's, None if it names none.

    `answer` is a probability, which decides at `threshold`, or a regression's value, which has none. A multiclass's is
    that of `prediction`, the likeliest class; `probabilities` has that of every class, by its name.
    `known` says of each view how far it had come online: its version, as_of, and the Delta version of its table.
    """

    prediction_id: str
    model: str
    version: int
    digest: str
    entities: dict[str, Any]
    request: dict[str, Any]
    features: dict[str, Any]
    answer: float
    threshold: float | None
    degraded: bool
    asked_at: datetime
    event_time: datetime | None
    known: dict[str, Any] | None = None
    prediction: str | int | None = None
    probabilities: dict[str, float] | None = None


NAMES = tuple(each.name for each in fields(Prediction))


@dataclass(frozen=True)
class Truth:
    """What became of one answer: 0 or 1, a class, or a regression's value. `known_at` is when it was known to whoever
    told it, `received_at` the wall clock."""

    truth_id: str
    prediction_id: str
    truth: str | float
    known_at: datetime
    received_at: datetime


class Predictions:
    """The log, in SQLite or PostgreSQL; nothing is opened before it is first used.

    SQLite runs as WAL with synchronous=FULL: with NORMAL a power cut can take back the last commits,
    and an answer that has left must not vanish from the log.
    """

    def __init__(self, url: str) -> None:
        self._engine = Opened(url, METADATA)
        if self._engine.made.dialect.name == "sqlite":
            sa.event.listen(self._engine.made, "connect", _impatient)

    def record(self, *predictions: Prediction) -> None:
        """Durable once this returns, in one commit; a second record of one id changes nothing and fails."""
        rows = [{n: _plain(n, getattr(each, n)) for n in NAMES} for each in predictions]
        by_class = [
            {name: row.pop(name) for name in OF_CLASSES} | {"prediction_id": row["prediction_id"]}
            for row in rows
        ]
        classified = [row for row in by_class if row["probabilities"] is not None]
        if not rows:
            return
        with self._engine().begin() as connection:
            connection.execute(sa.insert(PREDICTIONS), rows)
            if classified:
                connection.execute(sa.insert(BY_CLASS), classified)

    def record_missing(self, *predictions: Prediction) -> None:
        """As `record`, of those whose ids are not in the log."""
        ids = [each.prediction_id for each in predictions]
        known: set[str] = set()
        with self._engine().connect() as connection:
            for start in range(0, len(ids), 500):
                query = sa.select(PREDICTIONS.c.prediction_id)
                some = query.where(PREDICTIONS.c.prediction_id.in_(ids[start : start + 500]))
                known |= {row[0] for row in connection.execute(some)}
        self.record(*(each for each in predictions if each.prediction_id not in known))

    def get(self, prediction_id: str) -> Prediction | None:
        found = self._read(LOGGED.where(PREDICTIONS.c.prediction_id == prediction_id))
        return found[0] if found else None

    def between(
        self, model: str, since: datetime, until: datetime, features: bool = False
    ) -> list[Mapping[str, Any]]:
        """What the model answered about events in (since, until], oldest first: ANSWERED, and `features` if asked."""
        asked = MEASURED.add_columns(PREDICTIONS.c.features) if features else MEASURED
        query = asked.where(PREDICTIONS.c.model == model, since < HAPPENED, until >= HAPPENED).order_by(
            HAPPENED, PREDICTIONS.c.prediction_id
        )
        with self._engine().connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def newest(self, model: str, until: datetime) -> datetime | None:
        """The last event, up to a moment, that the model answered about; None if there is none."""
        query = sa.select(sa.func.max(HAPPENED, type_=Utc)).where(
            PREDICTIONS.c.model == model, until >= HAPPENED
        )
        with self._engine().connect() as connection:
            found: datetime | None = connection.execute(query).scalar_one()
        return found

    def tell(self, truth: Truth) -> None:
        """Keep what became of an answer; durable once this returns."""
        with self._engine().begin() as connection:
            connection.execute(sa.insert(TRUTHS), asdict(truth))

    def truths(self, model: str, events: tuple[datetime, datetime] | None = None) -> list[Truth]:
        """All that was told of the model's answers, by when it was known and then by when it came; of those about
        events from one moment to another if `events` names them."""
        query = (
            sa.select(TRUTHS)
            .join_from(TRUTHS, PREDICTIONS)
            .where(PREDICTIONS.c.model == model)
            .order_by(TRUTHS.c.known_at, TRUTHS.c.received_at, TRUTHS.c.truth_id)
        )
        if events is not None:
            query = query.where(events[0] <= HAPPENED, events[1] >= HAPPENED)
        with self._engine().connect() as connection:
            return [Truth(**row._mapping) for row in connection.execute(query)]

    def count(self, model: str) -> int:
        """How many answers of the model are logged."""
        query = sa.select(sa.func.count()).where(PREDICTIONS.c.model == model)
        with self._engine().connect() as connection:
            return int(connection.execute(query).scalar_one())

    def traffic(self, since: datetime | None = None) -> dict[str, tuple[int, datetime]]:
        """Of each model in the log how many answers were asked for from a moment on, and when the last one was."""
        counted = (
            sa.func.count()
            if since is None
            else sa.func.sum(sa.case((PREDICTIONS.c.asked_at >= since, 1), else_=0))
        )
        last = sa.func.max(PREDICTIONS.c.asked_at, type_=Utc)
        query = sa.select(PREDICTIONS.c.model, counted, last).group_by(PREDICTIONS.c.model)
        with self._engine().connect() as connection:
            return {model: (int(number), at) for model, number, at in connection.execute(query)}

    def degraded(self, model: str, since: datetime) -> tuple[int, int]:
        """How many of the model's answers were asked for from a moment on, and how many of them are degraded."""
        lost = sa.func.coalesce(sa.func.sum(sa.case((PREDICTIONS.c.degraded, 1), else_=0)), 0)
        query = sa.select(sa.func.count(), lost).where(
            PREDICTIONS.c.model == model, PREDICTIONS.c.asked_at >= since
        )
        with self._engine().connect() as connection:
            answers, degraded = connection.execute(query).one()
        return int(answers), int(degraded)

    def recent(self, model: str, n: int) -> list[Prediction]:
        """The model's last n answers, newest first."""
        query = LOGGED.where(PREDICTIONS.c.model == model)
        newest = (PREDICTIONS.c.asked_at.desc(), PREDICTIONS.c.prediction_id)
        return self._read(query.order_by(*newest).limit(n))

    def _read(self, query: sa.Select[Any]) -> list[Prediction]:
        with self._engine().connect() as connection:
            return [Prediction(**row._mapping) for row in connection.execute(query)]


def _impatient(connection: Any, _record: Any) -> None:
    """A caller waits; give up on a lock long before the ledger's writers would."""
    connection.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")


def _plain(name: str, value: Any) -> Any:
    return as_json(value) if name in {"entities", "request", "features", "known"} else value
