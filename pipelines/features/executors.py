"""What Spark's executors write: feature rows as Parquet files, which never pass through the driver."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.contracts import EvergreenError
from pipelines.features.spark import SparkSilver
from pipelines.stores.spark.relations import Snapshot, ddl
from pipelines.stores.spark.sessions import as_spark_has_it, first_line
from pipelines.stores.spark.staged import Window

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ZONED = "TIMESTAMP_LTZ"


def write(
    session: SparkSilver, sql: str, parameters: Mapping[str, datetime], window: Window, into: str
) -> None:
    """The rows of a query's answer that are the window's, with DuckDB's columns and types; times in UTC."""
    found, schema = session.asked(sql, parameters)
    named = found.toDF(*schema.names)
    rows = named.select(*(_typed(field, window.times) for field in schema))
    _save(rows.where(_known_in(window)), window, into)


def write_others(
    session: SparkSilver, files: Sequence[str], schema: pa.Schema, window: Window, into: str
) -> None:
    """The rows of a table's files that are not the window's, as they are."""
    named = session.read(Snapshot(tuple(map(as_spark_has_it, files)), schema))
    zoned = [field.name for field in schema if getattr(field.type, "tz", None)]
    rows = named.select(*(_typed(field, zoned) for field in schema))
    _save(rows.where(~_replaced(window)), window, into)


def _typed(field: pa.Field, zoned: Sequence[str]) -> "Column":
    from pyspark.sql import functions as f

    kind = ZONED if field.name in zoned else ddl(field)
    return f.col(f"`{field.name}`").cast(kind).alias(field.name)


def _known_in(window: Window) -> "Column":
    """The rows that became known in a window: at the later of their times."""
    from pyspark.sql import functions as f

    after, until = _ends(window)
    known = f"greatest({', '.join(f'`{name}`' for name in window.times)})"
    return f.expr(f"{known} > {after} AND {known} <= {until}")


def _replaced(window: Window) -> "Column":
    """The rows that a replacement of the window takes away, as `Window.rows` has them; null is in no window."""
    from pyspark.sql import functions as f

    after, until = _ends(window)
    late = " OR ".join(f"`{name}` > {after}" for name in window.times)
    early = " AND ".join(f"`{name}` <= {until}" for name in window.times)
    return f.coalesce(f.expr(f"({late}) AND {early}"), f.lit(False))


def _ends(window: Window) -> tuple[str, str]:
    return _utc(window.after), _utc(window.until)


def _utc(moment: datetime) -> str:
    return f"TIMESTAMP_LTZ '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}Z'"


def _save(rows: "DataFrame", window: Window, into: str) -> None:
    """Rows lie by time within a file, so that a read of a window skips most of it."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        rows.sortWithinPartitions(window.times[0]).write.parquet(as_spark_has_it(into), compression="snappy")
    except (PySparkException, Py4JError) as error:
        raise EvergreenError(f"Spark could not write the rows to {into}: {first_line(error)}") from error
