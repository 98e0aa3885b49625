"""Keys by which the callers of the prediction API are known; what is kept of a key is its digest."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipelines.contracts import EvergreenError
from pipelines.stores.databases import Utc, create, engine

METADATA = sa.MetaData()
KEYS = sa.Table(
    "api_keys",
    METADATA,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(100), nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("per_second", sa.Float(53)),
    sa.Column("made_at", Utc, nullable=False),
    sa.Column("ends_at", Utc),
)
SCOPES = {
    "predict": "ask for predictions",
    "explain": "ask what each input contributed to an answer, also to one that was given to others",
    "feedback": "tell what became of an answer",
    "read": "see models, versions and metrics",
}
"""What a key may be good for."""
PREFIX = "evergreen_"
"""By which scanners of leaked secrets know a key."""
NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


@dataclass(frozen=True)
class ApiKey:
    """A caller's key; `ends_at` is null for one that lasts until it is ended. `per_second` bounds its requests."""

    digest: str
    name: str
    scopes: tuple[str, ...]
    per_second: float | None
    made_at: datetime
    ends_at: datetime | None

    def lasts(self, now: datetime) -> bool:
        return self.ends_at is None or now < self.ends_at


def digest_of(token: str) -> str:
    """What is kept of a key. It is random and long, so nobody finds it by trying."""
    return hashlib.sha256(token.encode()).hexdigest()


class ApiKeys:
    """The keys of a deployment, in its database."""

    def __init__(self, url: str) -> None:
        self._engine = engine(url)
        create(self._engine, METADATA)

    def make(
        self,
        name: str,
        scopes: Sequence[str],
        now: datetime,
        ends_at: datetime | None = None,
        per_second: float | None = None,
    ) -> str:
        """A new key of a caller, beside those it has; the only time that it is told."""
        foreign = sorted({*scopes} - {*SCOPES})
        if not NAME.fullmatch(name):
            raise EvergreenError(
                f"{name!r} is no name for a key: small letters, digits, - and _, such as billing-app"
            )
        if foreign or not scopes:
            raise EvergreenError(
                f"a key is good for some of {', '.join(SCOPES)}; not for {foreign or 'nothing'}"
            )
        token = PREFIX + secrets.token_urlsafe(32)
        row = {
            "digest": digest_of(token), "name": name, "scopes": sorted({*scopes}), "per_second": per_second,
            "made_at": now, "ends_at": ends_at,
        }  # fmt: skip
        with self._engine.begin() as connection:
            connection.execute(sa.insert(KEYS), row)
        return token

    def end(self, name: str, at: datetime, made_before: datetime | None = None) -> int:
        """Let a caller's keys end, or those made before a moment; how many. One that ends sooner stays so."""
        lasting = sa.or_(KEYS.c.ends_at.is_(None), KEYS.c.ends_at > at)
        query = sa.update(KEYS).where(KEYS.c.name == name, lasting)
        if made_before is not None:
            query = query.where(KEYS.c.made_at < made_before)
        with self._engine.begin() as connection:
            return int(connection.execute(query.values(ends_at=at)).rowcount)

    def all(self) -> list[ApiKey]:
        """Every key that there ever was, by name and age."""
        query = sa.select(KEYS).order_by(KEYS.c.name, KEYS.c.made_at)
        with self._engine.connect() as connection:
            return [_key(row._mapping) for row in connection.execute(query)]


def _key(row: Any) -> ApiKey:
    return ApiKey(**{**row, "scopes": tuple(row["scopes"])})
