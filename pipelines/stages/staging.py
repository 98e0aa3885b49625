"""A batch on its way: its rows in a DuckDB database of their own that spills to disk above a cap."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import Any
from uuid import uuid4

import duckdb
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from pipelines.catalog import DatasetSpec
from pipelines.processes import identity
from pipelines.settings import Settings
from pipelines.stores.tables import silver_schema

LANDED, BAD, COPIES = "landed", "bad", "copies"
BAD_SCHEMA = pa.schema(
    [("line", pa.int64()), ("rule", pa.string()), ("reason", pa.string()), ("raw", pa.binary())]
)
COPIES_SCHEMA = pa.schema([("line", pa.int64()), ("because", pa.string())])
WRITE_ROWS = 65_536


class Staging:
    """Tables `landed` (typed rows with `_line` and `_rescued`), `bad` (refused rows) and `copies` (rows that
    silver or the file itself holds already). A line is in play while it is in neither of the last two."""

    def __init__(self, spec: DatasetSpec, url: str, config: dict[str, Any]) -> None:
        self.spec, self.url, self.config = spec, url, config
        # Opened as Great Expectations opens it: DuckDB shares a database only between equal configurations.
        self._engine = sa.create_engine(url, poolclass=StaticPool, connect_args={"config": dict(config)})
        driver = self._engine.raw_connection().driver_connection
        self.connection: duckdb.DuckDBPyConnection = driver.execute("SET TimeZone = 'UTC'")  # type: ignore[union-attr]
        for name, schema in ((LANDED, landed_schema(spec)), (BAD, BAD_SCHEMA), (COPIES, COPIES_SCHEMA)):
            self.insert(name, schema.empty_table())

    def close(self) -> None:
        """Ends the database."""
        self.connection.close()
        self._engine.dispose()

    def insert(self, table: str, rows: pa.Table) -> None:
        """Adds rows to one of the tables, made with the first."""
        self.connection.register("incoming", rows)
        create = "INSERT INTO" if self.has(table) else "CREATE TABLE"
        self.connection.execute(f'{create} "{table}" {"" if self.has(table) else "AS"} FROM incoming')
        self.connection.unregister("incoming")

    def has(self, table: str) -> bool:
        """Whether the table exists."""
        query = "SELECT count(*) FROM duckdb_tables() WHERE table_name = ?"
        return bool(self.number(query, [table]))

    def number(self, query: str, values: list[Any] | None = None) -> int:
        """The one number a query answers."""
        found = self.connection.execute(query, values or []).fetchone()
        return int(found[0]) if found else 0

    def count(self, table: str) -> int:
        """How many rows a table holds."""
        return self.number(f'SELECT count(*) FROM "{table}"')

    def execute(self, query: str) -> None:
        """Runs a statement on the tables."""
        self.connection.execute(query)

    def drop_from_play(self) -> None:
        """Takes the rows that are bad or copies out of `landed`."""
        for table in (BAD, COPIES):
            if self.count(table):
                self.execute(f"DELETE FROM {LANDED} WHERE _line IN (SELECT line FROM {table})")

    def reader(self, query: str, schema: pa.Schema) -> pa.RecordBatchReader:
        """A query's rows as a stream of the schema."""
        rows = self.connection.cursor().execute(query).to_arrow_reader(WRITE_ROWS)
        return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in rows))


def landed_schema(spec: DatasetSpec) -> pa.Schema:
    """Typed columns, unknown columns as JSON, and the line in the file."""
    schema = silver_schema(spec)
    return schema.remove(schema.get_field_index("_batch"))


@contextmanager
def staging(spec: DatasetSpec, settings: Settings) -> Iterator[Staging]:
    """A staging database that is gone afterwards, with all it spilled."""
    folder = settings.home / "staging" / f"{identity()}~{uuid4().hex}"
    folder.mkdir(parents=True)
    config = {
        "threads": settings.threads,
        "memory_limit": f"{settings.memory_mb}MB",
        "temp_directory": str(folder),
        "preserve_insertion_order": True,
    }
    made = Staging(spec, f"duckdb:///:memory:{folder.name[-32:]}", config)
    try:
        yield made
    finally:
        made.close()
        with suppress(OSError):
            rmtree(folder, ignore_errors=True)


def leftovers(settings: Settings) -> list[Path]:
    """What runs that died have spilled."""
    folder = settings.home / "staging"
    return sorted(folder.iterdir()) if folder.is_dir() else []
