"""MLflow's records in its own database, by the tables of one release of it; another release is asked as a client.

What is asked about versions is one statement, so that the answer is of one moment, and so is each write: a reader sees
it whole.
"""

from collections.abc import Callable, Iterable
from functools import cached_property
from itertools import groupby
from math import nan
from pathlib import Path
from time import time
from typing import Any

import sqlalchemy as sa

from pipelines.stores.databases import engine, insert
from pipelines.stores.tracking.records import DELETED, PROMPT, Kept, Run, no_run, no_version

SCHEMA = "dc11669786a5"
"""The revision of MLflow's tables in the release that pyproject.toml names."""
WORKSPACE = "default"
LARGEST = 2**31 - 1
"""No version has a greater number."""
TEXT, NUMBER = sa.Text, sa.BigInteger


def _table(name: str, *texts: str, **others: Any) -> sa.Table:
    columns = [sa.Column(each, TEXT) for each in texts]
    return sa.Table(name, sa.MetaData(), *columns, *(sa.Column(n, kind) for n, kind in others.items()))


MODELS = _table("registered_models", "workspace", "name")
MODEL_TAGS = _table("registered_model_tags", "workspace", "name", "key", "value")
VERSIONS = _table(
    "model_versions", "workspace", "name", "run_id", "source", "current_stage", "description",
    version=sa.Integer, last_updated_time=NUMBER,
)  # fmt: skip
VERSION_TAGS = _table("model_version_tags", "workspace", "name", "key", "value", version=sa.Integer)
ALIASES = _table("registered_model_aliases", "workspace", "name", "alias", version=sa.Integer)
RUNS = _table("runs", "run_uuid", "artifact_uri", start_time=NUMBER)
TAGS, PARAMS = _table("tags", "run_uuid", "key", "value"), _table("params", "run_uuid", "key", "value")
METRICS = _table("latest_metrics", "run_uuid", "key", value=sa.Float(53), is_nan=sa.Boolean)
LOGGED = _table("logged_models", "model_id", "name", "source_run_id", "artifact_location",
                lifecycle_stage=sa.String, creation_timestamp_ms=NUMBER)  # fmt: skip
REVISION = _table("alembic_version", "version_num")
THERE = sa.and_(VERSIONS.c.workspace == WORKSPACE, VERSIONS.c.current_stage != DELETED)


class Database:
    """The records of one database. Before MLflow has made its tables, it holds nothing."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._fits = False

    @cached_property
    def _engine(self) -> sa.Engine:
        return engine(self._url)

    def fits(self) -> bool:
        """Whether it can be read here: its tables are of the release known here, or there are none yet."""
        if not self._fits:
            revision = self._revision()
            self._fits = revision == SCHEMA and not self._shared()
            return self._fits or revision is None
        return True

    def _revision(self) -> str | None:
        """What MLflow says of its tables; None if it has made none."""
        if self._unmade() or not sa.inspect(self._engine).has_table(REVISION.name):
            return None
        return str(self._rows(sa.select(REVISION.c.version_num))[0][0])

    def _unmade(self) -> bool:
        """Whether it is a file that is not there; to look into it would make it."""
        file = sa.make_url(self._url).database if self._url.startswith("sqlite:") else None
        return file is not None and not Path(file).exists()

    def _shared(self) -> bool:
        """Whether it has workspaces, where MLflow alone knows whose turn it is."""
        return bool(self._rows(sa.select(MODELS.c.name).where(MODELS.c.workspace != WORKSPACE).limit(1)))

    def models(self) -> dict[str, dict[str, str]]:
        """The tags of every registered model, by name."""
        its = sa.and_(MODEL_TAGS.c.workspace == MODELS.c.workspace, MODEL_TAGS.c.name == MODELS.c.name)
        query = sa.select(MODELS.c.name, MODEL_TAGS.c.key, MODEL_TAGS.c.value).select_from(
            MODELS.outerjoin(MODEL_TAGS, its)
        )
        rows = self._read(query.where(MODELS.c.workspace == WORKSPACE).order_by(MODELS.c.name))
        found = {name: _pairs(pairs) for name, pairs in groupby(rows, key=lambda row: row.name)}
        return {name: tags for name, tags in found.items() if tags.get(PROMPT) != "true"}

    def versions(self, model: str) -> list[Kept]:
        """Every version of a model, the newest first."""
        return self._kept(VERSIONS.c.name == model)

    def version(self, model: str, number: int) -> Kept | None:
        if not 0 < number <= LARGEST:
            return None
        return next(iter(self._kept(VERSIONS.c.name == model, VERSIONS.c.version == number)), None)

    def aliased(self, model: str, alias: str) -> Kept | None:
        """The version an alias names."""
        its = (ALIASES.c.workspace == WORKSPACE, ALIASES.c.name == model, ALIASES.c.alias == alias)
        number = sa.select(ALIASES.c.version).where(*its).scalar_subquery()
        return next(iter(self._kept(VERSIONS.c.name == model, VERSIONS.c.version == number)), None)

    def every(self, alias: str) -> Callable[[str], Kept | None]:
        """The version an alias names, model by model, as of one moment."""
        its = [ALIASES.c[name] == VERSIONS.c[name] for name in ("workspace", "name", "version")]
        named = sa.select(ALIASES.c.name).where(ALIASES.c.alias == alias, *its).exists()
        return {kept.model: kept for kept in self._kept(named)}.get

    def _kept(self, *which: sa.ColumnElement[bool]) -> list[Kept]:
        its = [VERSION_TAGS.c[name] == VERSIONS.c[name] for name in ("workspace", "name", "version")]
        columns = (*(VERSIONS.c[name] for name in ("name", "version", "run_id", "source")),
                   VERSION_TAGS.c.key, VERSION_TAGS.c.value)  # fmt: skip
        query = sa.select(*columns).select_from(VERSIONS.outerjoin(VERSION_TAGS, sa.and_(*its)))
        rows = self._read(query.where(THERE, *which).order_by(VERSIONS.c.version.desc()))
        found = groupby(rows, key=lambda row: (row.name, row.version, row.run_id or "", row.source))
        return [Kept(*version, _pairs(pairs)) for version, pairs in found]

    def run(self, run_id: str) -> Run:
        found = self._read(sa.select(RUNS).where(RUNS.c.run_uuid == run_id))
        if not found:
            raise no_run(run_id)
        metrics = self._read(sa.select(METRICS).where(METRICS.c.run_uuid == run_id))
        tags, params = (self._read(sa.select(t).where(t.c.run_uuid == run_id)) for t in (TAGS, PARAMS))
        values = {row.key: nan if row.is_nan else row.value for row in metrics}
        return Run(run_id, found[0].start_time, found[0].artifact_uri, _pairs(tags), _pairs(params), values)

    def location(self, model_id: str) -> str | None:
        """Where the files of a logged model (m-...) lie."""
        return self._place(LOGGED.c.model_id == model_id)

    def logged(self, run_id: str, name: str) -> str | None:
        """Where the files of the model lie that a run logged under a name."""
        return self._place(LOGGED.c.source_run_id == run_id, LOGGED.c.name == name)

    def _place(self, *which: sa.ColumnElement[bool]) -> str | None:
        query = sa.select(LOGGED.c.artifact_location).where(LOGGED.c.lifecycle_stage != "deleted", *which)
        found = self._read(query.order_by(LOGGED.c.creation_timestamp_ms.desc()).limit(1))
        return str(found[0][0]) if found else None

    def set_alias(self, model: str, alias: str, version: int) -> None:
        said = {"workspace": WORKSPACE, "name": model, "alias": alias, "version": version}
        self._put(ALIASES, said, ("workspace", "name", "alias"), "version", model, version)

    def drop_alias(self, model: str, alias: str) -> None:
        its = (ALIASES.c.workspace == WORKSPACE, ALIASES.c.name == model, ALIASES.c.alias == alias)
        self._write(sa.delete(ALIASES).where(*its))

    def tag(self, model: str, version: int, key: str, value: str) -> None:
        said = {"workspace": WORKSPACE, "name": model, "version": version, "key": key, "value": value}
        self._put(VERSION_TAGS, said, ("workspace", "key", "name", "version"), "value", model, version)

    def tag_model(self, model: str, key: str, value: str) -> None:
        said = {"workspace": WORKSPACE, "name": model, "key": key, "value": value}
        self._put(MODEL_TAGS, said, ("workspace", "key", "name"), "value", model, None)

    def describe(self, model: str, version: int, text: str) -> None:
        its = (THERE, VERSIONS.c.name == model, VERSIONS.c.version == version)
        now = {"description": text, "last_updated_time": int(time() * 1000)}
        if not self._write(sa.update(VERSIONS).where(*its).values(now)):
            raise no_version(model, version)

    def _put(
        self,
        table: sa.Table,
        said: dict[str, Any],
        key: Iterable[str],
        value: str,
        model: str,
        version: int | None,
    ) -> None:
        """Insert or replace one row, if its version or model is there: one statement, which a reader sees whole."""
        if version is None:
            there = sa.select(MODELS.c.name).where(MODELS.c.workspace == WORKSPACE, MODELS.c.name == model)
        else:
            there = sa.select(VERSIONS.c.name).where(
                THERE, VERSIONS.c.name == model, VERSIONS.c.version == version
            )
        values = there.with_only_columns(*(sa.literal(each) for each in said.values()))
        new = insert(self._engine, table).from_select(list(said), values)
        changed = {value: new.excluded[value]}
        if not self._write(new.on_conflict_do_update(index_elements=list(key), set_=changed)):
            raise no_version(model, version or 1)

    def _write(self, statement: Any) -> int:
        if not self._fits:
            return 0
        with self._engine.begin() as connection:
            return int(connection.execute(statement).rowcount)

    def _read(self, query: sa.Select[Any]) -> list[sa.Row[Any]]:
        return self._rows(query) if self._fits else []

    def _rows(self, query: sa.Select[Any]) -> list[sa.Row[Any]]:
        with self._engine.connect() as connection:
            return list(connection.execute(query))


def _pairs(rows: Iterable[sa.Row[Any]]) -> dict[str, str]:
    """Tags by key; a row without one is of what has none."""
    return {row.key: row.value for row in rows if row.key is not None}
