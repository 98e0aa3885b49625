"""Which alerts are open, since when, and when people were told: so that the same thing is told once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from pipelines.stores.databases import Opened, Utc, insert

RETRY = timedelta(minutes=10)
"""So long after somebody was to tell an alert it is told by another, unless it is known to have reached people."""
METADATA = sa.MetaData()
ALERTS = sa.Table(
    "alerts",
    METADATA,
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("opened_at", Utc, nullable=False),
    sa.Column("last_seen", Utc, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("told_rank", sa.Integer),
    sa.Column("told_at", Utc),
    sa.Column("resolved_at", Utc),
    sa.Column("said", sa.JSON, nullable=False),
)


class Telling(StrEnum):
    """Why people are told of an alert now."""

    OPENED = "opened"
    RISEN = "risen"
    REMINDED = "reminded"
    OVER = "over"


@dataclass(frozen=True)
class Kept:
    """One alert as it is kept: `said` is what it says, `rank` how severe it is, `told_rank` how severe it was told."""

    key: str
    opened_at: datetime
    last_seen: datetime
    count: int
    rank: int
    told_rank: int | None
    told_at: datetime | None
    resolved_at: datetime | None
    said: dict[str, Any]


class Alerts:
    """The last time of each alert. Of two who see the same thing at once, one is told to tell.

    `reminder` is how long after a telling what still lasts is told again. `told_rank` is null while it is not known
    whether anybody was reached: whoever was to tell it may have died.
    """

    def __init__(self, url: str, reminder: timedelta) -> None:
        self._opened, self._reminder = Opened(url, METADATA), reminder

    def seen(
        self, key: str, rank: int, said: Mapping[str, Any], now: datetime, lasts: bool = True
    ) -> Telling | None:
        """Note that something is so; why it is to be told now, or None. What does not last is over as it is told."""
        fresh = {
            "opened_at": now, "last_seen": now, "count": 1, "rank": rank, **self._claim(now),
            "resolved_at": None if lasts else now, "said": dict(said),
        }  # fmt: skip
        made = self._opened()
        with made.begin() as connection:
            new = insert(made, ALERTS).values(key=key, **fresh).on_conflict_do_nothing()
            if connection.execute(new).rowcount:
                return Telling.OPENED
            if lasts and _set(connection, _its(key, ALERTS.c.resolved_at.is_not(None)), **fresh):
                return Telling.OPENED
            why = self._again(connection, key, rank, now, lasts)
            if lasts:
                _seen_again(connection, key, rank, said, now)
            return why

    def _again(
        self, connection: sa.Connection, key: str, rank: int, now: datetime, lasts: bool
    ) -> Telling | None:
        """Of one that is known already: each reason to tell it is claimed by one write."""
        c, told = ALERTS.c, self._claim(now)
        reasons = {
            Telling.OPENED: sa.and_(c.told_rank.is_(None), self._long_ago(now)),
            Telling.RISEN: c.told_rank < rank,
            Telling.REMINDED: self._long_ago(now),
        }
        tried = reasons if lasts else [Telling.OPENED]
        return next((why for why in tried if _set(connection, _its(key, reasons[why]), **told)), None)

    def _claim(self, now: datetime) -> dict[str, Any]:
        """It is this one's to tell, and again due after RETRY."""
        return {"told_at": now - self._reminder + RETRY, "told_rank": None}

    def _long_ago(self, now: datetime) -> sa.ColumnElement[bool]:
        return ALERTS.c.told_at <= now - self._reminder

    def due(self, now: datetime, most: int) -> list[tuple[Telling, Kept]]:
        """Open alerts that nobody need see again to be told again, and what reached nobody; each to one asker."""
        c = ALERTS.c
        lost = sa.and_(c.told_rank.is_(None), c.resolved_at == c.opened_at)
        when = sa.and_(self._long_ago(now), sa.or_(c.resolved_at.is_(None), lost))
        found = []
        with self._opened().begin() as connection:
            asked = sa.select(ALERTS).where(when).order_by(c.rank.desc(), c.opened_at).limit(most)
            for kept in [_kept(row) for row in connection.execute(asked)]:
                if _set(connection, _its(kept.key, when), **self._claim(now)):
                    found.append((Telling.OPENED if kept.told_rank is None else Telling.REMINDED, kept))
        return found

    def told(self, key: str, rank: int, now: datetime) -> None:
        """What was to be told has reached people. Until that is said, it is due again after RETRY."""
        with self._opened().begin() as connection:
            _set(connection, _its(key, ALERTS.c.told_rank.is_(None)), told_at=now, told_rank=rank)

    def over(self, key: str, now: datetime) -> Kept | None:
        """Note that something is over; what it was, to the one who is to tell that. None if it was not open."""
        with self._opened().begin() as connection:
            if not _set(connection, _its(key, ALERTS.c.resolved_at.is_(None)), resolved_at=now):
                return None
            return _kept(connection.execute(sa.select(ALERTS).where(ALERTS.c.key == key)).one())

    def is_open(self, key: str) -> bool:
        """One look by the primary key; where nobody ever told anything there is no table, and nothing is open."""
        its = sa.select(ALERTS.c.key).where(_its(key, ALERTS.c.resolved_at.is_(None)))
        with self._opened.made.connect() as connection:
            try:
                return connection.execute(its).first() is not None
            except DBAPIError:
                return False

    def kept(self, key: str) -> Kept | None:
        """The last time of one alert."""
        with self._opened().connect() as connection:
            row = connection.execute(sa.select(ALERTS).where(ALERTS.c.key == key)).first()
        return None if row is None else _kept(row)

    def listed(self, every: bool = False) -> list[Kept]:
        """The open alerts, or the last time of every one, the most severe and the oldest first."""
        query = sa.select(ALERTS).order_by(ALERTS.c.rank.desc(), ALERTS.c.opened_at, ALERTS.c.key)
        query = query if every else query.where(ALERTS.c.resolved_at.is_(None))
        with self._opened().connect() as connection:
            return [_kept(row) for row in connection.execute(query)]


def _seen_again(
    connection: sa.Connection, key: str, rank: int, said: Mapping[str, Any], now: datetime
) -> None:
    later = sa.case((ALERTS.c.last_seen < now, now), else_=ALERTS.c.last_seen)
    seen = {"last_seen": later, "count": ALERTS.c["count"] + 1, "rank": rank, "said": dict(said)}
    _set(connection, ALERTS.c.key == key, **seen)


def _its(key: str, *conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.and_(ALERTS.c.key == key, *conditions)


def _set(connection: sa.Connection, where: sa.ColumnElement[bool], **values: Any) -> bool:
    return bool(connection.execute(sa.update(ALERTS).where(where).values(**values)).rowcount)


def _kept(row: sa.Row[Any]) -> Kept:
    return Kept(**row._mapping)
