"""Silver as SQL sees it: one view per dataset, of what was known at a moment."""

from collections.abc import Iterable
from datetime import datetime

import duckdb
import pyarrow as pa

from pipelines.catalog import Column, DatasetSpec
from pipelines.stores import Stores

KINDS = {"string": "varchar", "integer": "bigint", "float": "double", "timestamp": "timestamp"}


def utc(moment: datetime) -> datetime:
    """The naive UTC time that SQL files compare with."""
    from datetime import UTC

    return moment.astimezone(UTC).replace(tzinfo=None)


def connect(
    stores: Stores, datasets: Iterable[DatasetSpec], as_of: datetime, since: datetime | None = None
) -> duckdb.DuckDBPyConnection:
    """A DuckDB session with a view per dataset: rows that became known in (since, as_of].

    Times are naive UTC, so that the SQL means the same on every engine. A row that corrects an earlier
    one replaces it.
    """
    connection = duckdb.connect(config={"threads": stores.settings.threads})
    connection.execute("set TimeZone = 'UTC'")
    for spec in datasets:
        landed = stores.tables.silver(spec)
        order = [batch.digest for batch in stores.ledger.batches(spec.name)]
        connection.register(f"landed_{spec.name}", landed)
        connection.register(
            f"arrived_{spec.name}", pa.table({"digest": pa.array(order, pa.string()), "n": range(len(order))})
        )
        connection.execute(_view(spec, as_of, since, landed.schema.names))
    return connection


def _view(spec: DatasetSpec, as_of: datetime, since: datetime | None, have: list[str]) -> str:
    """SQL of what was known; of rows known at one moment that differ, the one that arrived last counts."""
    columns = ", ".join(f'{_column(name, column, have)} as "{name}"' for name, column in spec.columns.items())
    known = f'"{spec.available_at}"'
    after = f"and {known} > timestamptz '{since.isoformat()}'" if since else ""
    keys = ", ".join(f'"{key}"' for key in spec.key)
    return f"""
        create temp table {spec.name} as
        select {columns} from landed_{spec.name} left join arrived_{spec.name} on digest = _batch
        where {known} <= timestamptz '{as_of.isoformat()}' {after}
        qualify row_number() over (partition by {keys} order by {known} desc, n desc nulls last, _batch) = 1
    """


def _column(name: str, column: Column, have: list[str]) -> str:
    """A column as naive UTC where it is a time, and null until silver has it."""
    kind = KINDS[column.type]
    if name not in have:
        return f"cast(null as {kind})"
    return f'cast("{name}" as {kind})'
