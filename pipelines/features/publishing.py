"""One window's feature rows, computed and not yet published: in this process, or written by Spark's executors."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC
from typing import Protocol, cast

import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import DeltaTable

from pipelines.features import view_rows
from pipelines.features.engines import Spark
from pipelines.features.view_rows import TIMES
from pipelines.stores import Stores
from pipelines.stores.feature_store.views import ViewVersion
from pipelines.stores.spark import staged
from pipelines.stores.spark.staged import Staging, Window


class Computed(Protocol):
    """Rows that can be looked at before they are put in place of what a window's table holds."""

    @property
    def rows(self) -> pa.Table | pads.Dataset: ...

    def publish(self) -> None:
        """Put them in place, in one commit; done again it changes nothing."""


def computed(version: ViewVersion, window: Window, stores: Stores) -> AbstractContextManager[Computed]:
    """A window's rows, by the engine of the settings."""
    if stores.settings.feature_engine == "spark":
        return _by_executors(version, window, stores)
    rows = view_rows.rows(version, window.after, window.until, stores)
    # So that a read of a window skips files.
    return nullcontext(InProcess(rows.sort_by(TIMES[0]), version, window, stores))


@dataclass(frozen=True)
class InProcess:
    """Rows in memory, as DuckDB gave them."""

    rows: pa.Table
    version: ViewVersion
    window: Window
    stores: Stores

    def publish(self) -> None:
        self.stores.tables.replace("features", self.version.table, self.rows, _predicate(self.window))


@dataclass(frozen=True)
class ByExecutors:
    """Rows in files that Spark's executors wrote into the table's folder, where no version names them yet."""

    staging: Staging
    window: Window
    engine: Spark

    @property
    def rows(self) -> pads.Dataset:
        return self.staging.rows()

    def publish(self) -> None:
        staged.replace(self.staging, self.window, self._keep)

    def _keep(self, files: list[str], into: str) -> None:
        schema = pa.schema(self.staging.table.schema().to_arrow())
        self.engine.keep_others(files, schema, self.window, into)


@contextmanager
def _by_executors(version: ViewVersion, window: Window, stores: Stores) -> Iterator[Computed]:
    engine = Spark(stores.settings)
    start, end = window.after, window.until
    with view_rows.opened(version, start, end, stores, engine=engine) as known:
        stores.tables.opened("features", version.table, view_rows.columns(known, version, start, end))
        staging = Staging(cast(DeltaTable, stores.tables.table("features", version.table)))
        try:
            view_rows.write(known, version, start, end, staging.uri)
            yield ByExecutors(staging, window, engine)
        except BaseException:
            staging.forget()
            raise


def _predicate(window: Window) -> str:
    """The window's rows as Delta's predicate."""
    start, end = (moment.astimezone(UTC).isoformat() for moment in (window.after, window.until))
    after = " or ".join(f"{name} > '{start}'" for name in window.times)
    until = " and ".join(f"{name} <= '{end}'" for name in window.times)
    return f"({after}) and {until}"
