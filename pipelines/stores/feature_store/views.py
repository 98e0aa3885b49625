"""The versions of feature views: how each was computed, kept as long as a model may need it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from pipelines.catalog import datasets
from pipelines.contracts import EvergreenError
from pipelines.stores.databases import Utc, create, engine

METADATA = sa.MetaData()
VERSIONS = sa.Table(
    "feature_view_versions",
    METADATA,
    sa.Column("view", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("sql", sa.Text, nullable=False),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
)
LOOK_BACK = re.compile(r"^-- look_back: (\d+) (minutes?|hours?|days?|weeks?)$", re.MULTILINE)
READ = re.compile(r"\b(?:from|join)\s+(\w+)")
ATTEMPTS = 10


@dataclass(frozen=True)
class ViewVersion:
    """One way a view is or was computed: its SQL and its Feast definition (JSON), numbered from 1."""

    view: str
    number: int
    digest: str
    sql: str
    definition: str
    created_at: datetime

    def __str__(self) -> str:
        return f"{self.view}@v{self.number}"

    @property
    def table(self) -> str:
        """The name of its table in the lake's layer `features`."""
        return f"{self.view}/v{self.number}"

    @property
    def consumer(self) -> str:
        """The name under which its progress is kept."""
        return f"feature:{self}"

    @property
    def sources(self) -> set[str]:
        """The datasets that its SQL reads."""
        return set(READ.findall(self.sql)) & set(datasets())

    @property
    def look_back(self) -> timedelta:
        """How far before a window its SQL reads."""
        return look_back(self.view, self.sql)


def look_back(view: str, sql: str) -> timedelta:
    """How far before a window a view's SQL reads, as the file declares it."""
    match = LOOK_BACK.search(sql)
    if match is None:
        raise EvergreenError(f"{view}.sql declares no look-back; add a line such as `-- look_back: 24 hours`")
    return timedelta(**{match[2].rstrip("s") + "s": int(match[1])})


class Views:
    """The versions of all views of one deployment; what was registered stays."""

    def __init__(self, url: str) -> None:
        self._engine = engine(url)
        create(self._engine, METADATA)

    def versions(self, view: str | None = None) -> list[ViewVersion]:
        """All versions, of one view or of all, the oldest first."""
        query = sa.select(VERSIONS).order_by(VERSIONS.c.view, VERSIONS.c.number)
        if view is not None:
            query = query.where(VERSIONS.c.view == view)
        with self._engine.connect() as connection:
            return [ViewVersion(**row._mapping) for row in connection.execute(query)]

    def version(self, view: str, number: int) -> ViewVersion:
        for found in self.versions(view):
            if found.number == number:
                return found
        known = ", ".join(str(found) for found in self.versions(view)) or "none"
        raise EvergreenError(f"feature view {view} has no version {number}; there are: {known}")

    def register(self, view: str, digest: str, sql: str, definition: str) -> ViewVersion:
        """The newest version if it has this digest, else a new one with the next number."""
        for _ in range(ATTEMPTS):
            newest = next(iter(self.versions(view)[::-1]), None)
            if newest is not None and newest.digest == digest:
                return newest
            number = newest.number + 1 if newest else 1
            made = ViewVersion(view, number, digest, sql, definition, datetime.now(UTC))
            try:
                with self._engine.begin() as connection:
                    connection.execute(sa.insert(VERSIONS).values(vars(made)))
                return made
            except sa.exc.IntegrityError:
                continue  # another process registered a version first; look again
        raise EvergreenError(f"feature view {view}: others keep changing it; stop them and run again")


class Known(Views):
    """The versions of views as they are: what a checkout defines beyond them is told, and never registered."""

    def register(self, view: str, digest: str, sql: str, definition: str) -> ViewVersion:
        """The newest version if it has this digest, else what would be the next; nothing is written."""
        newest = next(iter(self.versions(view)[::-1]), None)
        if newest is not None and newest.digest == digest:
            return newest
        number = newest.number + 1 if newest else 1
        return ViewVersion(view, number, digest, sql, definition, datetime.now(UTC))
