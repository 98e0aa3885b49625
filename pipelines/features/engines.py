"""What computes feature SQL: DuckDB in the process, or Spark by setting. The SQL is DuckDB's on both."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import DeltaTable

from pipelines.settings import Settings
from pipelines.stores.spark.staged import Window
from pipelines.stores.tables import rows_of


def utc(moment: datetime) -> datetime:
    """The naive UTC time that SQL files compare with."""
    return moment.astimezone(UTC).replace(tzinfo=None)


class Engine(Protocol):
    """A session with named relations. Times in answers are naive UTC."""

    def register(self, name: str, rows: pa.Table | DeltaTable) -> None:
        """Show rows by a name."""

    def keep(self, name: str, sql: str) -> None:
        """Show the answer to a query by a name, computed once."""

    def view(self, name: str, sql: str) -> None:
        """Show the answer to a query by a name, in place of what had it."""

    def query(self, sql: str, parameters: Mapping[str, datetime]) -> pa.Table:
        """The answer; `$name` in the SQL is the parameter of that name, a naive UTC time."""

    def moment(self, moment: datetime) -> str:
        """SQL for a time that registered rows are compared with."""

    def close(self) -> None:
        """Forget all relations."""


class DuckDB:
    """An in-memory database that spills below the home."""

    def __init__(self, settings: Settings) -> None:
        spill = str(settings.home / "tmp" / "duckdb")
        self.connection = duckdb.connect(config={"threads": settings.threads, "temp_directory": spill})
        self.connection.execute("set TimeZone = 'UTC'")

    def register(self, name: str, rows: pa.Table | DeltaTable) -> None:
        found: pa.Table | pads.Dataset = rows_of(rows) if isinstance(rows, DeltaTable) else rows
        self.connection.register(name, found)

    def keep(self, name: str, sql: str) -> None:
        self.connection.execute(f"create temp table {name} as {sql}")

    def view(self, name: str, sql: str) -> None:
        self.connection.execute(f"create or replace temp view {name} as {sql}")

    def query(self, sql: str, parameters: Mapping[str, datetime]) -> pa.Table:
        return self.connection.execute(sql, dict(parameters)).to_arrow_table()

    def moment(self, moment: datetime) -> str:
        return f"timestamptz '{moment.isoformat()}'"

    def close(self) -> None:
        self.connection.close()


class Spark:
    """The process's Spark session, as pipelines/features/spark.py has it."""

    def __init__(self, settings: Settings) -> None:
        from pipelines.features.spark import SparkSilver

        self._session: Any = SparkSilver(master=settings.spark_master, conf=settings.spark_settings)
        self._session.check_reaches(settings.lake_uri)

    def register(self, name: str, rows: pa.Table | DeltaTable) -> None:
        from pipelines.features.spark import Snapshot

        self._session.register(name, Snapshot.of(rows) if isinstance(rows, DeltaTable) else rows)

    def keep(self, name: str, sql: str) -> None:
        self._session.keep(name, sql)

    def view(self, name: str, sql: str) -> None:
        self._session.view(name, sql)

    def query(self, sql: str, parameters: Mapping[str, datetime]) -> pa.Table:
        answer: pa.Table = self._session.query(sql, parameters)
        return answer

    def moment(self, moment: datetime) -> str:
        return f"timestamp '{utc(moment)}'"

    def columns(self, sql: str, parameters: Mapping[str, datetime]) -> pa.Schema:
        """The columns of a query's answer, with DuckDB's types."""
        schema: pa.Schema = self._session.asked(sql, parameters)[1]
        return schema

    def write(self, sql: str, parameters: Mapping[str, datetime], window: Window, into: str) -> None:
        """Have the executors write the answer's rows of a window as Parquet files into a folder or address."""
        from pipelines.features.executors import write

        write(self._session, sql, parameters, window, into)

    def keep_others(self, files: Sequence[str], schema: pa.Schema, window: Window, into: str) -> None:
        """Have the executors write the rows of some files that are not the window's."""
        from pipelines.features.executors import write_others

        write_others(self._session, files, schema, window, into)

    def close(self) -> None:
        self._session.close()


def engine(settings: Settings) -> Engine:
    """A session of the engine that the deployment's settings name."""
    return Spark(settings) if settings.feature_engine == "spark" else DuckDB(settings)
