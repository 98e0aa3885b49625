"""Entity rows: a frame, a SQL query, or every moment at which a value became known."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from feast.errors import FeastEntityDFMissingColumnsError
from feast.infra.offline_stores.offline_store import RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df

from pipelines.contracts import EvergreenError
from pipelines.stores.offline import instants
from pipelines.stores.offline.engine import connection, listed, quoted
from pipelines.stores.offline.history import History
from pipelines.stores.offline.sources import Source, lake_table

TIME = "event_timestamp"
SYSTEM = {"information_schema", "pg_catalog"}


@dataclass(frozen=True)
class Questions:
    """Entity rows, fetched once, when they are first needed; `time` is their time column."""

    schema: pa.Schema
    time: str
    fetch: Callable[[], pa.Table]

    @cached_property
    def rows(self) -> pa.Table:
        return self.fetch()

    @cached_property
    def moments(self) -> instants.Instants:
        return instants.instants(self.rows[self.time], self.time)

    def require(self, keys: Iterable[str]) -> None:
        """Feast's own error if a column is missing."""
        expected = {self.time, *keys}
        missing = expected - set(self.schema.names)
        if missing:
            raise FeastEntityDFMissingColumnsError(expected, missing)

    def metadata(self, references: list[str]) -> RetrievalMetadata:
        """What was asked, with the first and the last moment (None without rows)."""
        bounds = self.moments.bounds()
        per = instants.PER_SECOND[self.moments.unit] // 10**6
        first, last = (
            (instants.EPOCH + timedelta(microseconds=b // per) for b in bounds) if bounds else (None, None)
        )
        keys = [name for name in self.schema.names if name != self.time]
        return RetrievalMetadata(references, keys, first, last)


def from_frame(frame: pd.DataFrame) -> Questions:
    """The rows of a frame, with what Arrow needs to give its types back."""
    try:
        rows = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError) as error:
        rows = _mixed_times(frame, error)
    return Questions(rows.schema, _time_column(rows.schema), lambda: rows)


def _mixed_times(frame: pd.DataFrame, error: Exception) -> pa.Table:
    """A second try with the time column read as UTC: Arrow wants times of one kind."""
    try:
        times = pd.to_datetime(frame[TIME], utc=True, format="mixed")
        return pa.Table.from_pandas(frame.assign(**{TIME: times}), preserve_index=False)
    except (KeyError, ValueError, TypeError, pa.ArrowException):
        raise EvergreenError(
            f"entity rows cannot be read, give each column a name and a type of its own: {error}"
        ) from error


def from_sql(settings: Any, query: str) -> Questions:
    """The rows of a query over the lake's Delta tables: `silver.flights` is the table at silver/flights."""
    tables = dict(_tables(settings, query))
    schema = _run(settings, f"select * from ({query.rstrip().rstrip(';')}\n) limit 0", tables).schema
    return Questions(schema, _time_column(schema), lambda: _run(settings, query, tables))


def _run(settings: Any, query: str, tables: dict[tuple[str, ...], Source]) -> pa.Table:
    with connection(settings) as duck:
        for number, (name, source) in enumerate(tables.items()):
            duck.register(f"lake_{number}", source.dataset())
            _named(duck, name, f"lake_{number}")
        try:
            return duck.execute(query).to_arrow_table()
        except duckdb.Error as error:
            raise EvergreenError(f"entity rows' SQL does not run: {error}") from error


def _named(duck: duckdb.DuckDBPyConnection, name: tuple[str, ...], rows: str) -> None:
    """Makes rows known under a name of one to three parts."""
    if len(name) == 3:
        duck.execute(f"attach if not exists ':memory:' as {quoted(name[0])}")
    if len(name) > 1:
        duck.execute(f"create schema if not exists {'.'.join(map(quoted, name[:-1]))}")
    view = "temp view" if len(name) == 1 else "view"
    duck.execute(f"create {view} {'.'.join(map(quoted, name))} as select * from {rows}")


def _tables(settings: Any, query: str) -> Iterator[tuple[tuple[str, ...], Source]]:
    """The lake's tables that a query names; names it makes itself and files are not the lake's."""
    named, made = set[tuple[str, ...]](), set[str]()
    _collect(_parsed(query), named, made)
    for name in sorted(named):
        ours = len(name) == 1 and (name[0].lower() in made or "." in name[0])
        if ours or name[0].lower() in SYSTEM:
            continue
        source = lake_table(settings, "/".join(name))
        if not source.exists():
            raise EvergreenError(
                f"entity rows' SQL reads {'.'.join(name)}, but there is no Delta table at {source.uri};"
                " land its files, run `evergreen features compute`, or mend the name"
            )
        yield name, source


def _parsed(query: str) -> Any:
    with duckdb.connect() as duck:
        (text,) = duck.execute("select json_serialize_sql(?)", [query]).fetchone() or ("{}",)
    tree = json.loads(text)
    if tree.get("error"):
        raise EvergreenError(f"entity rows as SQL must be one select statement: {tree.get('error_message')}")
    if len(tree["statements"]) != 1:
        raise EvergreenError("entity rows as SQL must be one select statement, not several")
    return tree


def _collect(node: Any, named: set[tuple[str, ...]], made: set[str]) -> None:
    """Every table a statement names, and the names that it makes itself (WITH)."""
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            parts = (node["catalog_name"], node["schema_name"], node["table_name"])
            named.add(tuple(part for part in parts if part))
        made.update(entry["key"].lower() for entry in (node.get("cte_map") or {}).get("map", []))
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            _collect(child, named, made)


def _time_column(schema: pa.Schema) -> str:
    """event_timestamp, else the only column of times, as Feast infers it."""
    types = schema.empty_table().to_pandas().dtypes
    with redirect_stdout(sys.stderr):  # Feast prints, and stdout may be somebody's JSON
        return str(infer_event_timestamp_from_entity_df(dict(types)))


def from_dates(
    settings: Any, start: datetime, end: datetime, histories: list[tuple[list[str], Callable[[], History]]]
) -> Questions:
    """Each key with each moment from `start` to `end`, both included, at which a row of it could first be seen.

    `histories` are pairs of the keys' names as the answer has them, and their rows. All must have the same keys.
    """
    keyed = [(names, opened) for names, opened in histories if names]
    kinds = {tuple(sorted(names)) for names, _ in keyed}
    if len(kinds) != 1:
        have = "; ".join(", ".join(kind) for kind in sorted(kinds)) or "none"
        raise EvergreenError(
            f"without entity rows all views must have the same keys (found: {have}); give entity rows"
        )
    (names,) = kinds
    found = [(theirs, opened()) for theirs, opened in keyed]
    fields = [pa.field(TIME, pa.timestamp("ns", "UTC")), *(_key(found[0], name) for name in names)]
    return Questions(pa.schema(fields), TIME, lambda: _moments(settings, start, end, found, list(names)))


def _key(found: tuple[list[str], History], name: str) -> pa.Field:
    names, history = found
    return history.rows.schema.field(history.keys[names.index(name)]).with_name(name)


def _moments(
    settings: Any, start: datetime, end: datetime, found: list[tuple[list[str], History]], names: list[str]
) -> pa.Table:
    unit = "ns" if any(history.unit == "ns" for _, history in found) else "us"
    per = instants.PER_SECOND[unit] // 10**6
    first, last = instants.of(start) * per, instants.of(end) * per
    parts = []
    with connection(settings) as duck:
        for number, (have, history) in enumerate(found):
            scale = 1 if history.unit == unit else 1000
            duck.register(f"scanned_{number}", history.known(last // scale, instants.LEAST).narrow())
            keys = "".join(f", k{have.index(name)} as {quoted(name)}" for name in names)
            parts.append(f"select greatest(e, c) * {scale} as moment{keys} from scanned_{number}")
        present = " and ".join(f"{quoted(name)} is not null" for name in names)
        rows = duck.execute(
            f"select * from ({' union '.join(parts)}) where moment between ? and ? and {present}"
            f" order by {listed(names)}, moment",
            [first, last],
        ).to_arrow_table()
    times = instants.as_time(rows["moment"].combine_chunks(), unit)
    return rows.set_column(0, TIME, times)
