"""Silver as SQL sees it: one relation per dataset, of what was known at a moment."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from pipelines.catalog import Column, DatasetSpec
from pipelines.stores import Stores

KINDS = {"string": "varchar", "integer": "bigint", "float": "double", "timestamp": "timestamp"}


def utc(moment: datetime) -> datetime:
    """The naive UTC time that SQL files compare with."""
    return moment.astimezone(UTC).replace(tzinfo=None)


class Silver:
    """A DuckDB session with a relation per dataset: the rows known in (since, as_of], as `at` a moment.

    Times are naive UTC, so that the SQL means the same on every engine. A row that corrects an earlier one
    replaces it from the moment the correction was known, not before.
    """

    def __init__(
        self,
        stores: Stores,
        datasets: Iterable[DatasetSpec],
        as_of: datetime,
        since: datetime | None = None,
        version: int | None = None,
    ) -> None:
        spill = str(stores.settings.home / "tmp" / "duckdb")
        self.connection = duckdb.connect(config={"threads": stores.settings.threads, "temp_directory": spill})
        self.connection.execute("set TimeZone = 'UTC'")
        self._datasets = tuple(datasets)
        for spec in self._datasets:
            self._load(spec, stores, as_of, since, version)
        self.at(as_of)

    def at(self, moment: datetime) -> "Silver":
        """Shows each dataset as it was known at the moment."""
        for spec in self._datasets:
            columns = ", ".join(f'"{name}"' for name in spec.columns)
            self.connection.execute(f"""
                create or replace temp view {spec.name} as select {columns} from versions_{spec.name}
                where __known <= timestamp '{utc(moment)}'
                  and (__corrected is null or __corrected > timestamp '{utc(moment)}')
            """)
        return self

    def corrections(self, after: datetime, until: datetime) -> list[datetime]:
        """The moments in (after, until] at which a row that was known came to be another."""
        found: set[datetime] = set()
        for spec in self._datasets:
            rows = self.connection.execute(
                f"select distinct __corrected from versions_{spec.name}"
                " where __corrected > ? and __corrected <= ? and __corrected > __known",
                [utc(after), utc(until)],
            ).fetchall()
            found.update(moment.replace(tzinfo=UTC) for (moment,) in rows)
        return sorted(found)

    def query(self, sql: str, parameters: Mapping[str, datetime]) -> pa.Table:
        """The answer to a SQL file; `$name` in it is the parameter of that name."""
        given = {name: utc(value) for name, value in parameters.items() if f"${name}" in sql}
        return self.connection.execute(sql, given).to_arrow_table()

    def _load(
        self,
        spec: DatasetSpec,
        stores: Stores,
        as_of: datetime,
        since: datetime | None,
        version: int | None,
    ) -> None:
        landed = stores.tables.silver(spec, version)
        order = [batch.digest for batch in stores.ledger.batches(spec.name)]
        arrived = pa.table({"digest": pa.array(order, pa.string()), "n": range(len(order))})
        self.connection.register("landed", landed)
        self.connection.register("arrived", arrived)
        self.connection.execute(_versions(spec, as_of, since, landed.schema.names))
        self.connection.unregister("landed")
        self.connection.unregister("arrived")


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
    return Silver(stores, datasets, as_of, since, version).connection


def _versions(spec: DatasetSpec, as_of: datetime, since: datetime | None, have: list[str]) -> str:
    """SQL of all versions of all rows, each with when it was known and when another took its place.

    Of rows known at one moment that differ, the one that arrived last counts.
    """
    columns = ", ".join(f'{_column(name, column, have)} as "{name}"' for name, column in spec.columns.items())
    known = f'"{spec.available_at}"'
    after = f"and {known} > timestamptz '{since.isoformat()}'" if since else ""
    keys = ", ".join(f'"{key}"' for key in spec.key)
    return f"""
        create temp table versions_{spec.name} as
        select {columns}, cast({known} as timestamp) as __known, cast(lead({known}) over (
            partition by {keys} order by {known}, n nulls first, _batch desc
        ) as timestamp) as __corrected
        from landed left join arrived on digest = _batch
        where {known} <= timestamptz '{as_of.isoformat()}' {after}
    """


def _column(name: str, column: Column, have: list[str]) -> str:
    """A column as naive UTC where it is a time, and null until silver has it."""
    kind = KINDS[column.type]
    if name not in have:
        return f"cast(null as {kind})"
    return f'cast("{name}" as {kind})'
