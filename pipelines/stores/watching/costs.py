"""What the steps of the loop took: a row for each run that did something, one per day for those that did not, and one
per hour of what serving took."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from pipelines.stores.databases import Utc, engine

METADATA = sa.MetaData()
COSTS = sa.Table(
    "costs",
    METADATA,
    sa.Column("id", sa.String(300), primary_key=True),
    sa.Column("stage", sa.String(40), nullable=False),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("subject", sa.String(100), nullable=False),
    sa.Column("outcome", sa.String(20), nullable=False),
    sa.Column("error", sa.String(100)),
    sa.Column("began_at", Utc, nullable=False),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("runs", sa.Integer, nullable=False),
    sa.Column("wall", sa.Float(53), nullable=False),
    sa.Column("cpu", sa.Float(53), nullable=False),
    sa.Column("peak", sa.BigInteger),
    sa.Column("peak_of", sa.String(10)),
    sa.Column("read", sa.BigInteger),
    sa.Column("written", sa.BigInteger),
    sa.Column("rows", sa.BigInteger),
    sa.Column("imported", sa.Integer, nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("parts", sa.JSON, nullable=False),
    sa.Index("costs_by_time", "began_at"),
)
OK, NOTHING, WAITING, FAILED = "ok", "nothing to do", "waiting", "failed"
MODEL, DATASET, VIEWS, SERVING = "model", "dataset", "views", "serving"
"""Whose a step is: a model's, a dataset's, all feature views', or that of all models that are served together."""
SERVE, SERVE_IDLE = "serve", "serve, idle"
"""What answers took, and what the processes that give them took besides."""
SEVERAL = ""
"""The run of a row that stands for several."""
PATIENCE_MS = 200
IMPATIENT = {"connect_timeout": 2, "tcp_user_timeout": 2_000}
"""Of libpq: nobody waits long for a figure to be kept."""
SUMMED = ("runs", "wall", "cpu", "read", "written", "rows", "imported")


@dataclass(frozen=True)
class Figure:
    """What one run of a step took, or `runs` of a day that did not end well or found nothing to do.

    `wall` and `cpu` are seconds, `peak`, `read` and `written` bytes; what this system does not tell is None. `peak_of`
    says whether the peak is the step's or the process's until then. `imported` counts the modules that were loaded
    meanwhile. `parts` are the seconds of each feature view. `run` is Airflow's `dag/run`, or a command and its process.
    Of SERVE, `runs` are requests that were answered, `rows` their answers, `wall` the seconds in which they were made;
    SERVE_IDLE has no runs, and its `parts` name the models that share it.
    """

    stage: str
    kind: str
    subject: str
    outcome: str
    began_at: datetime
    wall: float
    cpu: float
    run: str = SEVERAL
    error: str | None = None
    runs: int = 1
    peak: int | None = None
    peak_of: str | None = None
    read: int | None = None
    written: int | None = None
    rows: int | None = None
    imported: int = 0
    version: int | None = None
    parts: dict[str, float] = field(default_factory=dict)


NAMES = tuple(each.name for each in fields(Figure))
TYPED = [sa.bindparam("began_at", type_=Utc), sa.bindparam("parts", type_=sa.JSON)]
INSERT = (
    f"INSERT INTO costs (id, {', '.join(NAMES)}) VALUES (:id, {', '.join(f':{name}' for name in NAMES)})"
    " ON CONFLICT (id) DO "
)
PEAK = "peak = CASE WHEN excluded.peak > costs.peak THEN excluded.peak ELSE costs.peak END"
ADD = ", ".join([PEAK, *(f"{name} = costs.{name} + excluded.{name}" for name in SUMMED)])
# As text: each task is a process of its own, in which SQLAlchemy would put the same words together for 7 ms.
ONCE = sa.text(f"{INSERT} NOTHING").bindparams(*TYPED)
ADDED = sa.text(f"{INSERT} UPDATE SET {ADD}").bindparams(*TYPED)
"""Adds to the row that is there, with the greater of both peaks."""
FORGOTTEN = sa.text("DELETE FROM costs WHERE began_at < :before").bindparams(
    sa.bindparam("before", type_=Utc)
)


class Costs:
    """The figures, which nobody waits for longer than a moment; nothing is opened before it is first used."""

    def __init__(self, url: str) -> None:
        self._engine = _opened(url)

    def add(self, figure: Figure, name: str, keep: timedelta) -> None:
        """Keep a figure under a name, once; what did not end well, or found nothing, is added to its day's row.

        What began longer before it than `keep` is forgotten with it. An error of the database is the caller's.
        """
        row, single = {each: getattr(figure, each) for each in NAMES}, figure.outcome == OK
        row |= {"id": name} if single else {"id": _day_of(figure), "run": SEVERAL}
        self._keep(ONCE if single else ADDED, [row], figure.began_at - keep)

    def add_up(self, figures: Sequence[Figure], keep: timedelta) -> None:
        """Add each figure to the row of its hour, whichever process began that; all of them, or none. Else as `add`."""
        rows = [
            {each: getattr(figure, each) for each in NAMES} | {"id": _hour_of(figure), "run": SEVERAL}
            for figure in figures
        ]
        if rows:  # in one order, so that of two who add at once none waits for the other
            oldest = min(figure.began_at for figure in figures)
            self._keep(ADDED, sorted(rows, key=lambda row: str(row["id"])), oldest - keep)

    def between(self, since: datetime | None, until: datetime) -> list[Figure]:
        """What began from one moment to another, the oldest first."""
        query = sa.select(*(COSTS.c[each] for each in NAMES)).where(COSTS.c.began_at <= until)
        query = query if since is None else query.where(COSTS.c.began_at >= since)
        if not self._there():
            return []
        with self._engine.connect() as connection:
            return [Figure(**row._mapping) for row in connection.execute(query.order_by(COSTS.c.began_at))]

    def _create(self) -> None:
        """Tried once: whoever is in the way made it, or the figure is lost."""
        with self._engine.begin() as connection:
            if self._engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            METADATA.create_all(connection)

    def _keep(self, statement: sa.TextClause, rows: list[dict[str, Any]], before: datetime) -> None:
        """What began before a moment is forgotten with it; the table is made if it is not there."""
        try:
            self._write(statement, rows, before)
        except DBAPIError:
            if self._there():
                raise
            self._create()
            self._write(statement, rows, before)

    def _write(self, statement: sa.TextClause, rows: list[dict[str, Any]], before: datetime) -> None:
        with self._engine.begin() as connection:
            connection.execute(statement, rows)
            connection.execute(FORGOTTEN, {"before": before})

    def _there(self) -> bool:
        return bool(sa.inspect(self._engine).has_table(COSTS.name))


def total(figures: Iterable[Figure], name: str) -> float | None:
    """The sum of a column; None where one of them is not known, or there is none."""
    found = [getattr(each, name) for each in figures]
    return None if not found or None in found else sum(found)


def _day_of(figure: Figure) -> str:
    day = f"{figure.began_at:%Y-%m-%d}"
    return "/".join((day, figure.stage, figure.subject, figure.outcome, figure.error or ""))


def _hour_of(figure: Figure) -> str:
    hour = f"{figure.began_at:%Y-%m-%dT%H}"
    return "/".join((hour, figure.stage, figure.subject, str(figure.version or "")))


_OPEN: dict[tuple[Any, ...], sa.Engine] = {}


def _opened(url: str) -> sa.Engine:
    """One engine of this process for the database it used last, as that is now: closing SQLite's last connection, and
    opening another, takes the disk ten times as long as a figure. What a parent process had open is left alone."""
    file = sa.make_url(url).database if url.startswith("sqlite") else None
    there = os.stat(file).st_ino if file and os.path.exists(file) else None
    key = (os.getpid(), url, there)
    if key not in _OPEN:
        for other in [each for each in _OPEN if each[0] == key[0]]:
            _OPEN.pop(other).dispose()
        _OPEN[key] = engine(url, IMPATIENT)
        sa.event.listen(_OPEN[key], "connect", _impatient if url.startswith("sqlite") else _impatient_server)
    return _OPEN[key]


def _impatient(connection: Any, _record: Any) -> None:
    """A figure that a power cut takes is no loss, so nobody waits for the disk either."""
    connection.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
    connection.execute("PRAGMA synchronous=NORMAL")


def _impatient_server(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {PATIENCE_MS}; SET statement_timeout = 1000")
    connection.commit()
