"""Silver on Spark: the same relations and the same SQL as on DuckDB, and the same answers."""

import atexit
import importlib.util
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.contracts import EvergreenError
from pipelines.stores.durable import files_of, local

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyspark.sql import DataFrame, SparkSession

LOGGING = """\
rootLogger.level = off
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %p %c{1}: %m%n
"""
QUIET = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.catalogImplementation": "in-memory",
}
"""How a session starts unless `conf` says otherwise."""
MEANING = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.caseSensitive": "false",
    "spark.sql.decimalOperations.allowPrecisionLoss": "false",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.filterPushdown": "false",
}
"""What the values depend on; `conf` cannot change it.

Row groups are not skipped by their statistics, which leave NaN out: `x > 1` would lose its NaN rows.
"""
INSTALL = "install it with `pip install pyspark sqlglot` in the versions of locks/spark.txt"
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
        files = map(str, files_of(table)) if here else table.file_uris()
        return cls(tuple(files), pa.schema(table.schema().to_arrow()))


Relation: TypeAlias = "pa.Table | Snapshot"


class SparkSilver:
    """A Spark session with a relation per name, asked in DuckDB's SQL.

    Times are naive UTC. Relations come from Arrow or from Parquet files; nothing is unpickled. `master` is
    Spark's; `conf` holds further settings of Spark, counted when the first session of a process starts.
    """

    def __init__(
        self,
        relations: Mapping[str, Relation] | None = None,
        master: str = "local[*]",
        conf: Mapping[str, str] | None = None,
    ) -> None:
        self._session = session(master, conf or {}).newSession()
        for name, value in MEANING.items():
            self._session.conf.set(name, value)
        self._files = tempfile.TemporaryDirectory(prefix="evergreen-spark-", ignore_cleanup_errors=True)
        self._schemas: dict[str, pa.Schema] = {}
        self._kept: list[DataFrame] = []
        for name, relation in (relations or {}).items():
            self.register(name, relation)

    def __enter__(self) -> "SparkSilver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the relations. The process's Spark goes on; `stop` ends it."""
        for name in self._schemas:
            self._session.catalog.dropTempView(name)
        for found in self._kept:
            found.unpersist()
        self._schemas.clear()
        self._files.cleanup()

    def register(self, name: str, relation: Relation) -> None:
        """Show a relation by a name, in place of what had it. Times with a zone become naive UTC."""
        snapshot = relation if isinstance(relation, Snapshot) else self._written(name, relation)
        self._show(name, self._read(snapshot), _naive(snapshot.schema))

    def view(self, name: str, sql: str, parameters: Mapping[str, datetime] | None = None) -> None:
        """Show the answer to a query by a name; it is computed each time it is read."""
        found, schema = self._asked(sql, parameters or {})
        self._show(name, found, schema)

    def keep(self, name: str, sql: str, parameters: Mapping[str, datetime] | None = None) -> None:
        """Show the answer to a query by a name; it is computed when first read, and kept until `close`."""
        found, schema = self._asked(sql, parameters or {})
        self._kept.append(found.cache())
        self._show(name, found, schema)

    def query(self, sql: str, parameters: Mapping[str, datetime] | None = None) -> pa.Table:
        """The answer to DuckDB SQL, with DuckDB's columns and types; `$name` in it is the parameter of that name.

        Raises EvergreenError for SQL that cannot mean the same on Spark, and for data that it fails on.
        """
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        found, schema = self._asked(sql, parameters or {})
        try:
            answer = found.toArrow()
        except (PySparkException, Py4JError) as error:
            raise EvergreenError(f"Spark could not compute the answer: {_first_line(error)}") from error
        return answer.rename_columns(schema.names).cast(schema)

    def _asked(self, sql: str, parameters: Mapping[str, datetime]) -> "tuple[DataFrame, pa.Schema]":
        from pyspark.errors import PySparkException

        from pipelines.features.dialects import translate

        translation = translate(sql, parameters, self._schemas)
        try:
            return self._session.sql(translation.sql), translation.answer
        except PySparkException as error:
            raise EvergreenError(f"Spark does not take the SQL: {_first_line(error)}") from error

    def _show(self, name: str, found: "DataFrame", schema: pa.Schema) -> None:
        found.createOrReplaceTempView(name)
        self._schemas[name] = schema

    def _written(self, name: str, table: pa.Table) -> Snapshot:
        """An Arrow table as a Parquet file of this session."""
        folder = Path(self._files.name)
        path = folder / f"{len(list(folder.iterdir()))}-{name}.parquet"
        table = table.cast(_plain(table.schema))
        pq.write_table(table, path, coerce_timestamps="us", version="2.6", row_group_size=131_072)
        return Snapshot((str(path),), table.schema)

    def _read(self, snapshot: Snapshot) -> "DataFrame":
        from pyspark.sql import functions as f

        kinds = {field.name: _ddl(field) for field in snapshot.schema}
        if snapshot.files:
            columns = ", ".join(f"`{name}` {kind}" for name, kind in kinds.items())
            # Spark takes each path for a pattern; told not to, it reads two files below a folder {x} twice each.
            files = [PATTERN.sub(r"\\\g<0>", file) for file in snapshot.files]
            rows = self._session.read.schema(columns).parquet(*files)
        else:
            nulls = ", ".join(f"CAST(NULL AS {kind}) AS `{name}`" for name, kind in kinds.items())
            rows = self._session.sql(f"SELECT {nulls} WHERE FALSE")
        zoned = {field.name for field in snapshot.schema if getattr(field.type, "tz", None)}
        return rows.select(*(
            f.col(f"`{n}`").cast("timestamp_ntz").alias(n) if n in zoned else f.col(f"`{n}`") for n in rows.columns
        ))  # fmt: skip


def session(master: str = "local[*]", conf: Mapping[str, str] | None = None) -> "SparkSession":
    """The process's Spark, started on the first call and stopped when the process ends.

    It has no UI, and its driver listens on loopback only, unless `conf` says otherwise for a cluster.
    """
    check_installed()
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        return running
    logging = Path(tempfile.mkdtemp(prefix="evergreen-spark-log-")) / "log4j2.properties"
    logging.write_text(LOGGING)
    java = f"-Dlog4j2.configurationFile={logging.as_uri()}"
    settings = QUIET | {"spark.driver.extraJavaOptions": java} | dict(conf or {}) | MEANING
    builder: Any = SparkSession.builder
    try:
        started: SparkSession = builder.master(master).appName("evergreen").config(map=settings).getOrCreate()
    except Exception as error:  # the gateway raises bare exceptions when Java does not start
        raise EvergreenError(
            f"Spark did not start: {_first_line(error)}; it needs Java 17 or later: install a runtime such as"
            " openjdk-17-jre-headless, or point JAVA_HOME to one"
        ) from error
    atexit.register(shutil.rmtree, logging.parent, ignore_errors=True)
    atexit.register(stop)
    return started


def stop() -> None:
    """End the process's Spark, if it runs."""
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is not None:
        running.stop()


def check_installed() -> None:
    """EvergreenError, naming what to install, where Spark cannot run."""
    missing = [name for name in ("pyspark", "sqlglot") if importlib.util.find_spec(name) is None]
    if missing:
        raise EvergreenError(f"{' and '.join(missing)} is missing, which features on Spark need; {INSTALL}")


def _naive(schema: pa.Schema) -> pa.Schema:
    return pa.schema([
        pa.field(f.name, pa.timestamp("us") if pa.types.is_timestamp(f.type) else f.type) for f in _plain(schema)
    ])  # fmt: skip


def _plain(schema: pa.Schema) -> pa.Schema:
    """Microseconds, and one kind of text."""
    return pa.schema([pa.field(field.name, _plain_type(field.type)) for field in schema])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_dictionary(kind):
        return pa.string()
    return kind


def _ddl(field: pa.Field) -> str:
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


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
