"""What the steps of the loop took: a row for each run that did something, one per day for those that did not."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from pipelines.stores.databases import Utc, engine, insert

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
MODEL, DATASET, VIEWS = "model", "dataset", "views"
"""Whose a step is: a model's, a dataset's, or all feature views'."""
SEVERAL = ""
"""The run of a row that stands for several."""
PATIENCE_MS = 200
IMPATIENT = {
    "connect_timeout": 2,
    "tcp_user_timeout": 2_000,
    "options": f"-c lock_timeout={PATIENCE_MS} -c statement_timeout=1000",
}
"""Of libpq: nobody waits long for a figure to be kept."""
SUMMED = ("runs", "wall", "cpu", "read", "written", "rows", "imported")


@dataclass(frozen=True)
class Figure:
    """What one run of a step took, or `runs` of a day that did not end well or found nothing to do.

    `wall` and `cpu` are seconds, `peak`, `read` and `written` bytes; what this system does not tell is None. `peak_of`
    says whether the peak is the step's or the process's until then. `imported` counts the modules that were loaded
    meanwhile. `parts` are the seconds of each feature view. `run` is Airflow's `dag/run`, or a command and its process.
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


class Costs:
    """The figures, which nobody waits for longer than a moment; nothing is opened before it is first used."""

    def __init__(self, url: str) -> None:
        self._engine = engine(url, IMPATIENT)
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _impatient)

    def add(self, figure: Figure, name: str, keep: timedelta) -> None:
        """Keep a figure under a name, once; what did not end well, or found nothing, is added to its day's row.

        What began longer before it than `keep` is forgotten with it. An error of the database is the caller's.
        """
        row, single = {each: getattr(figure, each) for each in NAMES}, figure.outcome == OK
        row |= {"id": name} if single else {"id": _day_of(figure), "run": SEVERAL}
        old = sa.delete(COSTS).where(COSTS.c.began_at < figure.began_at - keep)
        try:
            self._write(_once(self._engine, row) if single else _added(self._engine, row), old)
        except DBAPIError:
            if self._there():
                raise
            self._create()
            self._write(_once(self._engine, row) if single else _added(self._engine, row), old)

    def between(self, since: datetime | None, until: datetime) -> list[Figure]:
        """What began from one moment to another, the oldest first."""
        query = sa.select(*(COSTS.c[each] for each in NAMES)).where(COSTS.c.began_at <= until)
        query = query if since is None else query.where(COSTS.c.began_at >= since)
        if not self._there():
            return []
        with self._engine.connect() as connection:
            return [Figure(**row._mapping) for row in connection.execute(query.order_by(COSTS.c.began_at))]

    def close(self) -> None:
        """Nothing of the database is held open."""
        self._engine.dispose()

    def _create(self) -> None:
        """Tried once: whoever is in the way made it, or the figure is lost."""
        with self._engine.begin() as connection:
            if self._engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            METADATA.create_all(connection)

    def _write(self, *statements: Any) -> None:
        with self._engine.begin() as connection:
            for statement in statements:
                connection.execute(statement)

    def _there(self) -> bool:
        return bool(sa.inspect(self._engine).has_table(COSTS.name))


def total(figures: Iterable[Figure], name: str) -> float | None:
    """The sum of a column; None where one of them is not known, or there is none."""
    found = [getattr(each, name) for each in figures]
    return None if not found or None in found else sum(found)


def _day_of(figure: Figure) -> str:
    day = f"{figure.began_at:%Y-%m-%d}"
    return "/".join((day, figure.stage, figure.subject, figure.outcome, figure.error or ""))


def _once(made: sa.Engine, row: dict[str, Any]) -> Any:
    return insert(made, COSTS).values(row).on_conflict_do_nothing()


def _added(made: sa.Engine, row: dict[str, Any]) -> Any:
    """The row, or its sums added to what its day has already, with the greater of both peaks."""
    new = insert(made, COSTS).values(row)
    sums = {name: COSTS.c[name] + new.excluded[name] for name in SUMMED}
    peak = sa.case((new.excluded.peak > COSTS.c.peak, new.excluded.peak), else_=COSTS.c.peak)
    return new.on_conflict_do_update(index_elements=[COSTS.c.id], set_={**sums, "peak": peak})


def _impatient(connection: Any, _record: Any) -> None:
    """A figure that a power cut takes is no loss, so nobody waits for the disk either."""
    connection.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
    connection.execute("PRAGMA synchronous=NORMAL")
