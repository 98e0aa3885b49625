"""How feature views lie in SQLite: a table for each view and version, and a catalog of these tables.

Names that SQLite would take for one another (`a` and `A`, a feature called event_timestamp) get columns of
their own; the catalog `_feature_views` says which is which.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from sqlite3 import Connection, OperationalError
from typing import Any

from feast.infra.online_stores.helpers import compute_table_id, compute_versioned_name
from feast.repo_config import RepoConfig

from pipelines.contracts import EvergreenError
from pipelines.stores.online.reading import CREATED, EVENT, Column, Reading, quoted
from pipelines.stores.online.values import KEY_TYPES, kind_of

CATALOG = """
create table if not exists _feature_views (
    table_name text primary key collate nocase, project text not null, feature_view text not null,
    versioned_name text not null, columns text not null, as_of integer, source_version integer, at integer
)"""
DUMMY_KEY = "__dummy_id"
"""The key that Feast gives views without entities; its one value is the empty text."""
EARLIEST = -(2**63)
"""An unknown created time is older than any other."""


@dataclass(frozen=True)
class Layout:
    """One table: its keys in the order of their names, then its features."""

    table: str
    keys: tuple[Column, ...]
    features: tuple[Column, ...]

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """The features by name."""
        return {feature.name: feature for feature in self.features}

    @cached_property
    def key_names(self) -> list[str]:
        return [key.name for key in self.keys]

    @cached_property
    def create(self) -> str:
        # A key column without a type keeps what it is given: text never becomes a number, nor a number text.
        keys = _list(key.column for key in self.keys)
        columns = [f"{quoted(key.column)} not null" for key in self.keys]
        columns += [f"{quoted(f.column)} {kind_of(f.value_type).sqlite}" for f in self.features]
        columns += [f"{EVENT} integer not null", f"{CREATED} integer"]
        return f"create table {quoted(self.table)} ({', '.join(columns)}, primary key ({keys}))"

    @cached_property
    def upsert(self) -> str:
        """Takes keys, features, event and created time; a row that is older than what is there changes nothing."""
        values = [*(quoted(f.column) for f in self.features), EVENT, CREATED]
        names = [*(quoted(key.column) for key in self.keys), *values]
        earliest, table = f"({EARLIEST})", quoted(self.table)
        return (
            f"insert into {table} ({', '.join(names)}) values ({', '.join('?' * len(names))})"
            f" on conflict ({_list(key.column for key in self.keys)}) do update set"
            f" {', '.join(f'{name} = excluded.{name}' for name in values)}"
            f" where (excluded.{EVENT}, coalesce(excluded.{CREATED}, {earliest}))"
            f" >= ({table}.{EVENT}, coalesce({table}.{CREATED}, {earliest}))"
        )

    @cached_property
    def _readings(self) -> dict[tuple[str, ...] | None, Reading]:
        return {}

    def reading(self, names: Sequence[str] | None) -> Reading:
        """How to read these features, those of them that there are; by default all."""
        asked = None if names is None else tuple(names)
        found = self._readings.get(asked)
        if found is None:
            features = [
                self.by_name[n] for n in (self.by_name if asked is None else asked) if n in self.by_name
            ]
            found = self._readings[asked] = Reading(self.table, self.keys, features)
        return found


@dataclass(frozen=True)
class Place:
    """Where a view's values belong: the table, and whose it is."""

    table: str
    project: str
    view: str
    versioned: str


def place(config: RepoConfig, view: Any) -> Place:
    """The table of a view, of its version if the registry keeps versions apart online."""
    versions = config.registry.enable_online_feature_view_versioning
    table = compute_table_id(config.project, view, versions)
    return Place(table, config.project, view.name, compute_versioned_name(view, versions))


def wanted(spot: Place, view: Any, keys: Iterable[tuple[str, str]] | None = None) -> Layout:
    """The layout a view asks for; EvergreenError if a key has a type that Feast cannot look up.

    `keys` are join keys with their types, by default those of the view's schema.
    """
    if keys is None:
        keys = [(c.name, c.dtype.to_value_type().name) for c in view.entity_columns] or [
            (DUMMY_KEY, "STRING")
        ]
    named = sorted(keys)
    for name, value_type in named:
        if value_type not in KEY_TYPES:
            raise EvergreenError(
                f"feature view {view.name}: join key {name} is a {value_type}, and keys online must be one of"
                f" {', '.join(sorted(KEY_TYPES))}; change its type or set online=False"
            )
    features = [(f.name, f.dtype.to_value_type().name) for f in view.features]
    found = _columns([*named, *features], [EVENT, CREATED])
    return Layout(spot.table, tuple(found[: len(named)]), tuple(found[len(named) :]))


def _columns(pairs: Iterable[tuple[str, str]], taken: Iterable[str]) -> list[Column]:
    """A column for each name, none that SQLite takes for another."""
    used, found = set(taken), []
    for name, value_type in pairs:
        column, number = name, 1
        while column.lower() in used:
            number += 1
            column = f"{name}_{number}"
        used.add(column.lower())
        found.append(Column(name, column, value_type))
    return found


def existing(connection: Connection, table: str) -> Layout | None:
    """A table as it is; None if there is none."""
    try:
        row = connection.execute(
            "select columns from _feature_views where table_name = ?", (table,)
        ).fetchone()
    except OperationalError as error:
        if "no such table" in str(error):
            return None
        raise
    return row and _layout(table, row[0])


def _layout(table: str, text: str) -> Layout:
    columns = json.loads(text)
    keys, features = (tuple(Column(*c) for c in columns[part]) for part in ("keys", "features"))
    return Layout(table, keys, features)


def _text(layout: Layout) -> str:
    """The catalog's words for the columns."""
    parts = {"keys": layout.keys, "features": layout.features}
    return json.dumps({part: [[c.name, c.column, c.value_type] for c in cs] for part, cs in parts.items()})


def settle(connection: Connection, spot: Place, asked: Layout, remake: bool) -> Layout:
    """Bring a table to the layout that is asked for, keeping its values; within the caller's transaction.

    Where keys or types differ, the table is made anew if `remake`, else EvergreenError. Columns of features
    that are gone are removed if `remake`.
    """
    connection.execute(CATALOG)
    have = existing(connection, spot.table)
    if have is None:
        return _create(connection, spot, asked)
    _own(connection, spot)
    if differences := _differences(have, asked):
        if not remake:
            raise EvergreenError(
                f"online table {spot.table} {differences}; run `feast apply` to make it anew"
            )
        drop(connection, spot.table)
        return _create(connection, spot, asked)
    return _alter(connection, have, asked, remake)


def _own(connection: Connection, spot: Place) -> None:
    """EvergreenError if the table is another view's, whose name and project read the same."""
    query = "select project, feature_view, versioned_name from _feature_views where table_name = ?"
    found = connection.execute(query, (spot.table,)).fetchone()
    if found != (spot.project, spot.view, spot.versioned):
        raise EvergreenError(
            f"feature views {spot.versioned} of {spot.project} and {found[2]} of {found[0]} would share the online"
            f" table {spot.table}; rename one, or give each project an online store of its own"
        )


def _create(connection: Connection, spot: Place, asked: Layout) -> Layout:
    if connection.execute("select 1 from sqlite_master where name = ?", (spot.table,)).fetchone():
        raise EvergreenError(
            f"the online store's file has a table {spot.table} of another layout, such as that of Feast's own store;"
            " set another path, or remove the file and materialize anew"
        )
    connection.execute(asked.create)
    query = "insert into _feature_views (table_name, project, feature_view, versioned_name, columns)"
    row = (spot.table, spot.project, spot.view, spot.versioned, _text(asked))
    connection.execute(f"{query} values (?, ?, ?, ?, ?)", row)
    return asked


def _differences(have: Layout, asked: Layout) -> str:
    """How keys or types differ; empty if they do not."""
    keys = [[(c.name, c.value_type) for c in layout.keys] for layout in (have, asked)]
    if keys[0] != keys[1]:
        return f"has the keys {_pairs(keys[0])}, not {_pairs(keys[1])}"
    for feature in asked.features:
        old = have.by_name.get(feature.name)
        if old and old.value_type != feature.value_type:
            return f"has {feature.name} as {old.value_type}, not {feature.value_type}"
    return ""


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({value_type})" for name, value_type in pairs)


def _alter(connection: Connection, have: Layout, asked: Layout, remove: bool) -> Layout:
    """Adds the columns of new features and, if asked to, removes those of features that are gone."""
    gone = [f for f in have.features if remove and f.name not in asked.by_name]
    kept = [f for f in have.features if f not in gone]
    taken = [c.column.lower() for c in (*have.keys, *have.features)]
    new = _columns(
        [(f.name, f.value_type) for f in asked.features if f.name not in have.by_name],
        [EVENT, CREATED, *taken],
    )
    table = quoted(have.table)
    for feature in new:
        kind = kind_of(feature.value_type).sqlite
        connection.execute(f"alter table {table} add column {quoted(feature.column)} {kind}")
    for feature in gone:
        connection.execute(f"alter table {table} drop column {quoted(feature.column)}")
    found = replace(have, features=(*kept, *new))
    if new or gone:
        query = "update _feature_views set columns = ? where table_name = ?"
        connection.execute(query, (_text(found), have.table))
    return found


def drop(connection: Connection, table: str) -> None:
    """Removes a table with its values."""
    connection.execute(f"drop table if exists {quoted(table)}")
    connection.execute("delete from _feature_views where table_name = ?", (table,))


def tables_of(connection: Connection, project: str, view: str) -> list[str]:
    """The tables of all versions of a view."""
    query = "select table_name from _feature_views where project = ? and feature_view = ?"
    return [table for (table,) in connection.execute(query, (project, view))]


def _list(names: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in names)
