"""Silver as SQL sees it: one relation per dataset, of what was known at a moment."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from pipelines.catalog import Column, DatasetSpec
from pipelines.features.engines import DuckDB, Engine, Spark
from pipelines.features.engines import utc as utc
from pipelines.stores import Stores
from pipelines.stores.spark.staged import Window
from pipelines.stores.tables import silver_schema

KINDS = {"string": "varchar", "integer": "bigint", "float": "double", "timestamp": "timestamp"}


class Silver:
    """A session with a relation per dataset: the rows known in (since, as_of], as `at` a moment.

    Times are naive UTC, so that the SQL means the same on every engine. A row that corrects an earlier one
    replaces it from the moment the correction was known, not before; not `corrected`, each row stays what it was
    first known to be. `version` is the Delta version of silver that is read, by default the newest.
    """

    def __init__(
        self,
        engine: Engine,
        stores: Stores,
        datasets: Iterable[DatasetSpec],
        as_of: datetime,
        since: datetime | None = None,
        version: int | None = None,
        corrected: bool = True,
    ) -> None:
        self._engine, self._datasets = engine, tuple(datasets)
        self._corrected = corrected
        for spec in self._datasets:
            self._load(spec, stores, as_of, since, version)
        self.at(as_of)

    def at(self, moment: datetime, since: datetime | None = None) -> "Silver":
        """Shows each dataset as it was known at the moment; with `since`, only what became known after that."""
        after = f" and known_from > timestamp '{utc(since)}'" if since else ""
        for spec in self._datasets:
            columns = ", ".join(f'"{name}"' for name in spec.columns)
            self._engine.view(
                spec.name,
                f"select {columns} from versions_{spec.name} where known_from <= timestamp '{utc(moment)}'"
                f" and (known_until is null or known_until > timestamp '{utc(moment)}'){after}",
            )
        return self

    def corrections(self, after: datetime, until: datetime) -> list[datetime]:
        """The moments in (after, until] at which a row that was known came to be another."""
        found: set[datetime] = set()
        for spec in self._datasets:
            rows = self._engine.query(
                f"select distinct known_until from versions_{spec.name}"
                " where known_until > $after and known_until <= $until and known_until > known_from",
                {"after": utc(after), "until": utc(until)},
            )
            found.update(moment.replace(tzinfo=UTC) for moment in rows["known_until"].to_pylist())
        return sorted(found)

    def query(self, sql: str, parameters: Mapping[str, datetime]) -> pa.Table:
        """The answer to a SQL file; `$name` in it is the parameter of that name."""
        return self._engine.query(sql, _given(sql, parameters))

    def write(self, sql: str, parameters: Mapping[str, datetime], window: Window, into: str) -> None:
        """The answer's rows of a window as Parquet files in a folder, written by those who compute it."""
        self._spark.write(sql, _given(sql, parameters), window, into)

    def columns(self, sql: str, parameters: Mapping[str, datetime]) -> pa.Schema:
        """The columns and types that the answer will have."""
        return self._spark.columns(sql, _given(sql, parameters))

    @property
    def _spark(self) -> Spark:
        if not isinstance(self._engine, Spark):
            raise TypeError("only Spark has executors that write")
        return self._engine

    def _load(
        self,
        spec: DatasetSpec,
        stores: Stores,
        as_of: datetime,
        since: datetime | None,
        version: int | None,
    ) -> None:
        table = stores.tables.table("silver", spec.name, version)
        landed = silver_schema(spec).empty_table() if table is None else table
        have = [field.name for field in (landed.schema if table is None else table.schema().fields)]
        order = [batch.digest for batch in stores.ledger.batches(spec.name)]
        arrived = pa.table(
            {"digest": pa.array(order, pa.string()), "n": pa.array(range(len(order)), pa.int64())}
        )
        self._engine.register(f"landed_{spec.name}", landed)
        self._engine.register(f"arrived_{spec.name}", arrived)
        versions = _versions(spec, self._engine, as_of, since, have)
        self._engine.keep(
            f"versions_{spec.name}", versions if self._corrected else _first_versions(spec, versions)
        )


def connect(
    stores: Stores,
    datasets: Iterable[DatasetSpec],
    as_of: datetime,
    since: datetime | None = None,
    version: int | None = None,
) -> duckdb.DuckDBPyConnection:
    """A DuckDB session in which each dataset is a relation of what was known of it in (since, as_of].

    `version` is the Delta version of silver that is read, by default the newest.
    """
    engine = DuckDB(stores.settings)
    Silver(engine, stores, datasets, as_of, since, version)
    return engine.connection


def _given(sql: str, parameters: Mapping[str, datetime]) -> dict[str, datetime]:
    return {name: utc(value) for name, value in parameters.items() if f"${name}" in sql}


def _versions(
    spec: DatasetSpec, engine: Engine, as_of: datetime, since: datetime | None, have: list[str]
) -> str:
    """SQL of all versions of all rows, each with since and until when it was what one knew.

    Of rows known at one moment that differ, the one that arrived last counts.
    """
    columns = ", ".join(f'{_column(name, column, have)} as "{name}"' for name, column in spec.columns.items())
    known = f'"{spec.available_at}"'
    after = f"and {known} > {engine.moment(since)}" if since else ""
    keys = ", ".join(f'"{key}"' for key in spec.key)
    return f"""
        select {columns}, cast({known} as timestamp) as known_from, cast(lead({known}) over (
            partition by {keys} order by {known}, n nulls first, _batch desc
        ) as timestamp) as known_until
        from landed_{spec.name} left join arrived_{spec.name} on digest = _batch
        where {known} <= {engine.moment(as_of)} {after}
    """


def _first_versions(spec: DatasetSpec, versions: str) -> str:
    """Of all versions the first of each row, as if nobody had ever corrected it."""
    names = ", ".join(f'"{name}"' for name in spec.columns)
    keys = ", ".join(f'"{key}"' for key in spec.key)
    return f"""
        select {names}, known_from, cast(null as timestamp) as known_until from (
            select *, row_number() over (partition by {keys} order by known_from) as place
            from ({versions}) as versions where known_until is null or known_until > known_from
        ) as placed where place = 1
    """


def _column(name: str, column: Column, have: list[str]) -> str:
    """A column as naive UTC where it is a time, and null until silver has it."""
    kind = KINDS[column.type]
    if name not in have:
        return f"cast(null as {kind})"
    return f'cast("{name}" as {kind})'
