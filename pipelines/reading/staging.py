"""A batch on its way: its rows in a DuckDB database of their own that spills to disk above a cap."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import Any
from uuid import uuid4

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from pipelines.catalog import DatasetSpec
from pipelines.processes import identity
from pipelines.settings import Settings
from pipelines.stores.tables import silver_schema

LANDED, BAD, COPIES, OTHERS = "landed", "bad", "copies", "others"
BAD_SCHEMA = pa.schema(
    [("line", pa.int64()), ("rule", pa.string()), ("reason", pa.string()), ("raw", pa.binary())]
)
TABLES = f"""
CREATE TABLE {BAD} (line BIGINT, rule VARCHAR, reason VARCHAR, raw BLOB);
CREATE TABLE {COPIES} (line BIGINT, because VARCHAR);
CREATE TABLE {OTHERS} (line BIGINT);
"""
WRITE_ROWS = 65_536
GATHERED_BYTES = 4_000_000
"""So much is gathered for one insert: DuckDB's statements cost more than the few bad rows of a block."""


class Staging:
    """`landed`: typed rows with `_line` and `_rescued`, in a Parquet file beside the database, read once it is
    sealed. Tables `bad` (refused rows), `copies` (rows that silver or the file itself holds already) and `others`
    (lines that are not asked about): a line in one of these is no longer in `landed`."""

    def __init__(self, spec: DatasetSpec, folder: Path, config: dict[str, Any]) -> None:
        self.spec, self.config = spec, config
        self.url = f"duckdb:///:memory:{uuid4().hex}"
        # Opened as Great Expectations opens it: DuckDB shares a database only between equal configurations.
        self._engine = sa.create_engine(self.url, poolclass=StaticPool, connect_args={"config": dict(config)})
        driver = self._engine.raw_connection().driver_connection
        self.connection: duckdb.DuckDBPyConnection = driver.execute("SET TimeZone = 'UTC'")  # type: ignore[union-attr]
        self._file = folder / "landed.parquet"
        # Written once and read a few times: DuckDB's own tables cost more to fill than to read. Texts repeat, so
        # a dictionary of them is cheaper to write and to judge than the texts; numbers and times do not.
        schema = landed_schema(spec)
        texts = [field.name for field in schema if pa.types.is_string(field.type)]
        self._writer = pq.ParquetWriter(
            self._file, schema, compression="lz4", use_dictionary=texts, write_statistics=False
        )
        self.execute(TABLES)
        self._gathered: dict[str, list[pa.Table]] = {}

    def close(self) -> None:
        """Ends the database."""
        self._writer.close()
        self.connection.close()
        self._engine.dispose()

    def land(self, rows: pa.Table) -> None:
        """Adds typed rows to `landed`, before it is sealed."""
        self._writer.write_table(rows)

    def seal(self) -> None:
        """Makes `landed` readable; no row is added to it from here on."""
        self._writer.close()
        self.drop_from_play()

    def insert(self, table: str, rows: pa.Table) -> None:
        """Adds rows to one of the tables, made with the first."""
        self.connection.register("incoming", rows)
        self.execute(f'CREATE TABLE IF NOT EXISTS "{table}" AS FROM incoming LIMIT 0')
        self.execute(f'INSERT INTO "{table}" FROM incoming')
        self.connection.unregister("incoming")

    def gather(self, table: str, rows: pa.Table) -> None:
        """Adds rows as `insert` does, many at a time; they are there once they are `put_in`."""
        held = self._gathered.setdefault(table, [])
        held.append(rows)
        if sum(each.nbytes for each in held) > GATHERED_BYTES:
            self.put_in(table)

    def put_in(self, table: str) -> None:
        """Inserts what was gathered."""
        if held := self._gathered.pop(table, None):
            self.insert(table, pa.concat_tables(held))

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
        """Takes the lines that lie in another table out of `landed`."""
        gone = " UNION ALL ".join(f"SELECT line FROM {t}" for t in (BAD, COPIES, OTHERS) if self.count(t))
        path = str(self._file).replace("'", "''")
        # A folder named a=b would be taken for a partition, which gives each row a column `a`.
        rows = f"SELECT * FROM read_parquet('{path}', hive_partitioning = false)"
        query = rows + (f" WHERE _line NOT IN ({gone})" if gone else "")
        self.execute(f"CREATE OR REPLACE VIEW {LANDED} AS {query}")

    def kept(self, batch: str) -> pa.RecordBatchReader:
        """The rows of `landed` as silver holds them, of this batch, in the file's order."""
        schema, gone = silver_schema(self.spec), self._gone()
        return pa.RecordBatchReader.from_batches(schema, _of_batch(self._file, batch, gone, schema))

    def _gone(self) -> "np.ndarray[Any, Any]":
        """The lines that are no longer in play, ascending."""
        lines = " UNION ALL ".join(f"SELECT line FROM {table}" for table in (BAD, COPIES, OTHERS))
        return np.asarray(self.connection.execute(f"FROM ({lines}) ORDER BY line").fetchnumpy()["line"])

    def reader(self, query: str, schema: pa.Schema) -> pa.RecordBatchReader:
        """A query's rows as a stream of the schema."""
        rows = self.connection.cursor().execute(query).to_arrow_reader(WRITE_ROWS)
        return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in rows))


def _of_batch(
    path: Path, batch: str, gone: "np.ndarray[Any, Any]", schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """A file's rows without some lines, under the name of their batch. Arrow hands them on; SQL would copy each."""
    with pq.ParquetFile(path) as file:
        for rows in file.iter_batches(WRITE_ROWS):
            lines = rows["_line"].to_numpy()
            near = gone[np.searchsorted(gone, lines.min()) : np.searchsorted(gone, lines.max(), "right")]
            kept = rows.filter(pa.array(~np.isin(lines, near))) if len(near) else rows
            name = pa.repeat(pa.scalar(batch, pa.string()), kept.num_rows)
            columns = [name if field.name == "_batch" else kept[field.name] for field in schema]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


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
    made = Staging(spec, folder, config)
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
