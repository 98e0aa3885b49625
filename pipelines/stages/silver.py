"""Silver as SQL sees it: one view per dataset, of what was known at a moment."""

from collections.abc import Iterable
from datetime import datetime

import duckdb

from pipelines.catalog import DatasetSpec
from pipelines.stores import Stores


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
        connection.register(f"landed_{spec.name}", stores.tables.silver(spec))
        connection.execute(_view(spec, as_of, since))
    return connection


def _view(spec: DatasetSpec, as_of: datetime, since: datetime | None) -> str:
    columns = ", ".join(
        f'cast("{name}" as timestamp) as "{name}"' if column.type == "timestamp" else f'"{name}"'
        for name, column in spec.columns.items()
    )
    known = f'"{spec.available_at}"'
    after = f"and {known} > timestamptz '{since.isoformat()}'" if since else ""
    keys = ", ".join(f'"{key}"' for key in spec.key)
    return f"""
        create temp table {spec.name} as
        select {columns} from landed_{spec.name}
        where {known} <= timestamptz '{as_of.isoformat()}' {after}
        qualify row_number() over (partition by {keys} order by {known} desc, _batch) = 1
    """  # noqa: S608 - names and times are ours
