"""Rows as Spark reads them: a Delta version by its files, or an Arrow table. Times are naive UTC, of microseconds."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from pipelines.contracts import EvergreenError
from pipelines.stores.durable import files_of, local
from pipelines.stores.spark.sessions import as_spark_has_it

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyspark.sql import DataFrame, SparkSession

PATTERN = re.compile(r"[][{}*?\\^]")
"""What Spark reads as a pattern in the path of a file."""
UNREADABLE = {"columnMapping", "deletionVectors"}
"""Features of Delta whose rows cannot be told from the data files alone."""


@dataclass(frozen=True)
class Snapshot:
    """One version of a Delta table as its data files; columns that a file lacks are null."""

    files: tuple[str, ...]
    schema: pa.Schema

    @classmethod
    def of(cls, table: "DeltaTable") -> "Snapshot":
        """The files of an opened table's version. EvergreenError if they alone do not tell its rows."""
        odd = UNREADABLE & set(table.protocol().reader_features or ())
        if odd or table.metadata().partition_columns:
            what = min(odd) if odd else "partitions"
            raise EvergreenError(
                f"{table.table_uri} uses {what}, which is not read on Spark; rewrite it without"
            )
        here = local(table.table_uri) is not None
        files = map(str, files_of(table)) if here else map(as_spark_has_it, table.file_uris())
        return cls(tuple(files), pa.schema(table.schema().to_arrow()))


def read(session: "SparkSession", snapshot: Snapshot) -> "DataFrame":
    """The rows of a snapshot, read by whoever computes; times are naive."""
    kinds = {field.name: ddl(field) for field in snapshot.schema}
    if snapshot.files:
        columns = ", ".join(f"`{name}` {kind}" for name, kind in kinds.items())
        # Spark takes each path for a pattern; told not to, it reads two files below a folder {x} twice each.
        files = [PATTERN.sub(r"\\\g<0>", file) for file in snapshot.files]
        rows = session.read.schema(columns).parquet(*files)
    else:
        nulls = ", ".join(f"CAST(NULL AS {kind}) AS `{name}`" for name, kind in kinds.items())
        rows = session.sql(f"SELECT {nulls} WHERE FALSE")
    return _without_zones(rows, snapshot.schema)


def sent(session: "SparkSession", table: pa.Table) -> "DataFrame":
    """An Arrow table of `plain` types as executors elsewhere get it: from the driver, whose disk they do not have."""
    from pyspark.sql.types import StructType

    kinds = ", ".join(f"`{field.name}` {ddl(field)}" for field in table.schema)
    return _without_zones(session.createDataFrame(table, StructType.fromDDL(kinds)), table.schema)


def _without_zones(rows: "DataFrame", schema: pa.Schema) -> "DataFrame":
    from pyspark.sql import functions as f

    zoned = {field.name for field in schema if getattr(field.type, "tz", None)}
    return rows.select(*(
        f.col(f"`{n}`").cast("timestamp_ntz").alias(n) if n in zoned else f.col(f"`{n}`") for n in rows.columns
    ))  # fmt: skip


def naive(schema: pa.Schema) -> pa.Schema:
    """The columns of such rows."""
    return pa.schema([
        pa.field(f.name, pa.timestamp("us") if pa.types.is_timestamp(f.type) else f.type) for f in plain(schema)
    ])  # fmt: skip


def plain(schema: pa.Schema) -> pa.Schema:
    """Microseconds, and one kind of text."""
    return pa.schema([pa.field(field.name, _plain_type(field.type)) for field in schema])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_dictionary(kind):
        return pa.string()
    return kind


def ddl(field: pa.Field) -> str:
    """A column's type as Spark names it."""
    kind = _plain_type(field.type)
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP_LTZ" if kind.tz else "TIMESTAMP_NTZ"
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision},{kind.scale})"
    names = {
        pa.string(): "STRING", pa.int64(): "BIGINT", pa.int32(): "INT", pa.int16(): "SMALLINT", pa.int8(): "TINYINT",
        pa.float64(): "DOUBLE", pa.float32(): "FLOAT", pa.bool_(): "BOOLEAN", pa.date32(): "DATE",
    }  # fmt: skip
    if kind not in names:
        raise EvergreenError(f"column {field.name} is {kind}, which features on Spark do not read; cast it")
    return names[kind]
