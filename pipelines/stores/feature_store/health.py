"""How feature views were when they were computed: freshness, nulls, distributions, cost, and what was checked."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from pipelines.stores.databases import Opened, Utc, insert

METADATA = sa.MetaData()
HEALTH = sa.Table(
    "feature_health",
    METADATA,
    sa.Column("view", sa.String(200), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("as_of", Utc, primary_key=True),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("moments", sa.BigInteger, nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("newest", Utc),
    sa.Column("seconds", sa.Float(53), nullable=False),
    sa.Column("history", sa.Integer, nullable=False),
    sa.Column("refused", sa.Boolean, nullable=False),
    sa.Column("nulls", sa.JSON, nullable=False),
    sa.Column("distributions", sa.JSON, nullable=False),
    sa.Column("checks", sa.JSON, nullable=False),
    sa.Column("recorded_at", Utc, nullable=False),
)
KEY = ("view", "version", "as_of")
CRITICAL, WARNING, INFO = "critical", "warning", "info"
UNWRITTEN = {"refused"}
"""Columns that are no field of a ViewHealth."""


class Check(NamedTuple):
    """One rule held against the rows of a run; `feature` is empty for a rule about all of them."""

    rule: str
    feature: str
    severity: str
    passed: bool
    observed: str


@dataclass(frozen=True)
class Distribution:
    """How one column's values lie. Quantiles, mean and std are of the finite numbers, None for anything else.

    `top` holds the most frequent values of a text with their counts.
    """

    distinct: int | None = None
    min: float | None = None
    p01: float | None = None
    p25: float | None = None
    median: float | None = None
    p75: float | None = None
    p99: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    top: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class ViewHealth:
    """One computation of a feature view's version, up to `as_of`.

    `rows` were computed in `seconds`, at so many different `moments`; the table then held `total` rows in `size`
    bytes, its newest event_timestamp being `newest`. `nulls` (a share, 0 to 1) and `distributions` are by column
    of the computed rows. `history` says how many earlier runs the checks looked back on; `recorded_at` is when it was
    recorded, by the wall clock: None until then.
    """

    view: str
    version: int
    as_of: datetime
    rows: int
    seconds: float
    moments: int = 0
    total: int = 0
    size: int = 0
    newest: datetime | None = None
    nulls: Mapping[str, float] = field(default_factory=dict)
    distributions: Mapping[str, Distribution] = field(default_factory=dict)
    history: int = 0
    checks: tuple[Check, ...] = ()
    recorded_at: datetime | None = field(default=None, compare=False)

    @property
    def freshness(self) -> timedelta | None:
        """How old the newest value was at `as_of`; None if there is none."""
        return None if self.newest is None else self.as_of - self.newest

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed, whatever their severity."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def refused(self) -> bool:
        """Whether a critical check failed, so that the rows must not be published."""
        return any(check.severity == CRITICAL for check in self.failed)

    def __str__(self) -> str:
        return f"{self.view}@v{self.version}"


@dataclass(frozen=True)
class Past:
    """What later runs of a view are held against: an earlier run that was not refused."""

    as_of: datetime
    rows: int
    moments: int
    nulls: Mapping[str, float]


class Health:
    """The record of every computation, in SQLite or PostgreSQL; nothing is opened before it is first used."""

    def __init__(self, url: str) -> None:
        self._engine = Opened(url, METADATA)

    def record(self, health: ViewHealth) -> None:
        """Keep it, in place of an earlier record of the same view, version and moment."""
        row = asdict(health) | {"refused": health.refused, "recorded_at": datetime.now(UTC)}
        statement = insert(self._engine(), HEALTH).values(row)
        changed = {name: statement.excluded[name] for name in row if name not in KEY}
        with self._engine().begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=KEY, set_=changed))

    def latest(self) -> list[ViewHealth]:
        """The last moment's record of each view and version, by name."""
        newest = sa.select(HEALTH.c.view, HEALTH.c.version, sa.func.max(HEALTH.c.as_of).label("as_of"))
        last = newest.group_by(HEALTH.c.view, HEALTH.c.version).subquery()
        same = sa.and_(*(HEALTH.c[name] == last.c[name] for name in KEY))
        return self._read(sa.select(HEALTH).join(last, same).order_by(HEALTH.c.view, HEALTH.c.version))

    def recorded(self, view: str) -> datetime | None:
        """When the newest of a view's records was written, by the wall clock; None if there is none."""
        newest = sa.select(HEALTH.c.recorded_at).where(HEALTH.c.view == view)
        found = self._rows(newest.order_by(HEALTH.c.recorded_at.desc()).limit(1))
        return found[0].recorded_at if found else None

    def history(
        self, view: str, n: int, version: int | None = None, filled: bool = False
    ) -> list[ViewHealth]:
        """A view's last n records, of one version or of all, the newest first; `filled`: only runs with rows."""
        query = sa.select(HEALTH).where(HEALTH.c.view == view)
        if filled:
            query = query.where(HEALTH.c.rows > 0)
        if version is not None:
            query = query.where(HEALTH.c.version == version)
        return self._read(query.order_by(HEALTH.c.as_of.desc(), HEALTH.c.version.desc()).limit(n))

    def before(self, view: str, version: int, as_of: datetime) -> ViewHealth | None:
        """The last record up to a moment that was not refused; None if there is none."""
        query = self._accepted(sa.select(HEALTH), view, version, HEALTH.c.as_of <= as_of, 1)
        found = self._read(query)
        return found[0] if found else None

    def past(self, view: str, version: int, as_of: datetime, n: int) -> list[Past]:
        """The last n runs of earlier moments that gave rows and were not refused, the newest first."""
        columns = (HEALTH.c.as_of, HEALTH.c.rows, HEALTH.c.moments, HEALTH.c.nulls)
        filled = sa.and_(HEALTH.c.as_of < as_of, HEALTH.c.rows > 0)
        query = self._accepted(sa.select(*columns), view, version, filled, n)
        return [Past(**row._mapping) for row in self._rows(query)]

    def _accepted(
        self, query: sa.Select[Any], view: str, version: int, which: sa.ColumnElement[bool], n: int
    ) -> sa.Select[Any]:
        its = (HEALTH.c.view == view, HEALTH.c.version == version, which)
        return query.where(*its, ~HEALTH.c.refused).order_by(HEALTH.c.as_of.desc()).limit(n)

    def _read(self, query: sa.Select[Any]) -> list[ViewHealth]:
        return [_health(dict(row._mapping)) for row in self._rows(query)]

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._engine().connect() as connection:
            return connection.execute(query).all()


def _health(row: dict[str, Any]) -> ViewHealth:
    values = {name: value for name, value in row.items() if name not in UNWRITTEN}
    values["distributions"] = {name: _distribution(each) for name, each in row["distributions"].items()}
    values["checks"] = tuple(Check(*check) for check in row["checks"])
    return ViewHealth(**values)


def _distribution(plain: dict[str, Any]) -> Distribution:
    return Distribution(**plain | {"top": tuple((text, count) for text, count in plain["top"])})
