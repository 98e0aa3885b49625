"""Silver on Spark: the same relations and the same SQL as on DuckDB, and the same answers."""

import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.contracts import EvergreenError
from pipelines.stores.spark.relations import Snapshot as Snapshot
from pipelines.stores.spark.relations import naive, plain, read, sent
from pipelines.stores.spark.sessions import check_installed as check_installed
from pipelines.stores.spark.sessions import check_reaches, first_line, fresh, is_local
from pipelines.stores.spark.sessions import session as session
from pipelines.stores.spark.sessions import stop as stop

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

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
        self._session = fresh(master, conf)
        self._alone = is_local(self._session.sparkContext.master)
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

    def check_reaches(self, uri: str) -> None:
        """EvergreenError with the remedy if Spark has no file system for an address."""
        check_reaches(self._session, uri)

    def register(self, name: str, relation: Relation) -> None:
        """Show a relation by a name, in place of what had it. Times with a zone become naive UTC."""
        if isinstance(relation, pa.Table):
            relation = relation.cast(plain(relation.schema))
        if isinstance(relation, pa.Table) and not self._alone:
            found = sent(self._session, relation)
        else:
            found = self.read(relation if isinstance(relation, Snapshot) else self._written(name, relation))
        self._show(name, found, naive(relation.schema))

    def view(self, name: str, sql: str, parameters: Mapping[str, datetime] | None = None) -> None:
        """Show the answer to a query by a name; it is computed each time it is read."""
        found, schema = self.asked(sql, parameters or {})
        self._show(name, found, schema)

    def keep(self, name: str, sql: str, parameters: Mapping[str, datetime] | None = None) -> None:
        """Show the answer to a query by a name; it is computed when first read, and kept until `close`."""
        found, schema = self.asked(sql, parameters or {})
        self._kept.append(found.cache())
        self._show(name, found, schema)

    def query(self, sql: str, parameters: Mapping[str, datetime] | None = None) -> pa.Table:
        """The answer to DuckDB SQL, with DuckDB's columns and types; `$name` in it is the parameter of that name.

        Raises EvergreenError for SQL that cannot mean the same on Spark, and for data that it fails on.
        """
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException

        found, schema = self.asked(sql, parameters or {})
        try:
            answer = found.toArrow()
        except (PySparkException, Py4JError) as error:
            raise EvergreenError(f"Spark could not compute the answer: {first_line(error)}") from error
        return answer.rename_columns(schema.names).cast(schema)

    def asked(self, sql: str, parameters: Mapping[str, datetime]) -> "tuple[DataFrame, pa.Schema]":
        """The answer to a query before it is computed, and its columns and types on DuckDB."""
        from pyspark.errors import PySparkException

        from pipelines.features.dialects import translate

        translation = translate(sql, parameters, self._schemas)
        try:
            return self._session.sql(translation.sql), translation.answer
        except PySparkException as error:
            raise EvergreenError(f"Spark does not take the SQL: {first_line(error)}") from error

    def _show(self, name: str, found: "DataFrame", schema: pa.Schema) -> None:
        found.createOrReplaceTempView(name)
        self._schemas[name] = schema

    def read(self, snapshot: Snapshot) -> "DataFrame":
        """The rows of a snapshot, by whoever computes; times are naive."""
        return read(self._session, snapshot)

    def _written(self, name: str, table: pa.Table) -> Snapshot:
        """An Arrow table as a Parquet file of this session, beside which all of Spark runs."""
        folder = Path(self._files.name)
        path = folder / f"{len(list(folder.iterdir()))}-{name}.parquet"
        pq.write_table(table, path, coerce_timestamps="us", version="2.6", row_group_size=131_072)
        return Snapshot((str(path),), table.schema)
