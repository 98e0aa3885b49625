"""A Feast offline store on Delta tables: point-in-time joins by DuckDB's ASOF JOIN.

Feast's own DuckDB store joins in time quadratic per key: 200k labels with 1M feature rows took 141 s
and 13.6 GB where this join took 0.56 s and 0.58 GB (Feast 0.67, 2 cores).
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Literal

import duckdb
import pandas as pd
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from feast.data_source import DataSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from pipelines.contracts import EvergreenError
from pipelines.stores.tables import rows_of


class DeltaOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """`lake`: the folder or URI below which a source's path names a Delta table."""

    type: Literal["pipelines.stores.offline.DeltaOfflineStore"] = "pipelines.stores.offline.DeltaOfflineStore"
    lake: str
    threads: int = 2


class DeltaRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """An answer that is computed when it is asked for."""

    def __init__(
        self,
        query: Callable[[], pa.Table],
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._query = query
        self._full_feature_names = full_feature_names
        self._metadata = metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._query()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._query().to_pandas()
        return frame

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[Any]:
        return []

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata


class DeltaOfflineStore(OfflineStore):  # type: ignore[misc]
    """Delta tables below one lake, read as they are at the moment of the question."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def validate_data_source(config: RepoConfig, data_source: DataSource) -> None:
        """A table may come into being after its definition, so nothing is opened here."""

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: FileSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """Each key's newest row by event time, then by knowledge time, within [start, end]."""
        order = ", ".join(f"{_quoted(c)} desc" for c in (timestamp_field, created_timestamp_column) if c)
        keys = _list(join_key_columns)
        newest = f"qualify row_number() over (partition by {keys} order by {order}) = 1"
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column]
        return _selection(config, data_source, columns, timestamp_field, start_date, end_date, newest)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: FileSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row within [start, end]."""
        columns = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column]
        return _selection(config, data_source, columns, timestamp_field, start_date, end_date, "")

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        **options: Any,
    ) -> RetrievalJob:
        """For each entity row the values known at its event_timestamp, not older than the view's TTL.

        Every entity row comes back, in its order, with nulls where nothing was known.
        """
        if not isinstance(entity_df, pd.DataFrame):
            raise EvergreenError("entity rows must be a pandas DataFrame with an event_timestamp column")
        wanted = _features_by_view(feature_refs)

        def query() -> pa.Table:
            connection = _connect(config)
            connection.register("entity_df", entity_df)
            connection.execute("create table rows as select *, row_number() over () as __row from entity_df")
            for view in feature_views:
                _join(connection, config, view, wanted[view.projection.name_to_use()], full_feature_names)
            return connection.execute("select * exclude (__row) from rows order by __row").to_arrow_table()

        keys = [c for c in entity_df.columns if c != "event_timestamp"]
        times = entity_df["event_timestamp"]
        metadata = RetrievalMetadata(feature_refs, keys, times.min(), times.max())
        return DeltaRetrievalJob(query, full_feature_names, metadata)


def _connect(config: RepoConfig) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": config.offline_store.threads})
    connection.execute("set TimeZone = 'UTC'")
    return connection


def _table(config: RepoConfig, source: FileSource) -> Any:
    uri = f"{config.offline_store.lake}/{source.path}"
    try:
        return rows_of(DeltaTable(uri))
    except TableNotFoundError as error:
        raise EvergreenError(
            f"feature table {source.name} does not exist yet at {uri}; run `evergreen features`"
        ) from error


def _selection(
    config: RepoConfig,
    source: FileSource,
    columns: Iterable[str | None],
    timestamp: str,
    start: datetime | None,
    end: datetime | None,
    clause: str,
) -> RetrievalJob:
    bounds = [(">=", start), ("<=", end)]
    where = " and ".join(f"{_quoted(timestamp)} {op} ?" for op, bound in bounds if bound) or "true"
    sql = f"select {_list(c for c in columns if c)} from source where {where} {clause}"

    def query() -> pa.Table:
        connection = _connect(config)
        connection.register("source", _table(config, source))
        return connection.execute(sql, [bound for _, bound in bounds if bound]).to_arrow_table()

    return DeltaRetrievalJob(query)


def _join(
    connection: duckdb.DuckDBPyConnection,
    config: RepoConfig,
    view: FeatureView,
    features: list[str],
    full_names: bool,
) -> None:
    """Add one view's features to the table `rows`.

    A row counts from the later of when it happened and when it could be known.
    """
    source, name = view.batch_source, view.projection.name_to_use()
    known = f"greatest({_quoted(source.timestamp_field)}, {_quoted(source.created_timestamp_column)})"
    keys = [(view.projection.join_key_map.get(k, k), k) for k in view.join_keys]
    match = " and ".join(f"rows.{_quoted(mine)} = feature.{_quoted(theirs)}" for mine, theirs in keys)
    fresh = (
        f"rows.event_timestamp - feature.__at <= interval {int(view.ttl.total_seconds())} seconds"
        if view.ttl
        else "true"
    )
    values = ", ".join(
        f"case when {fresh} then feature.{_quoted(f)} end as {_quoted(f'{name}__{f}' if full_names else f)}"
        for f in features
    )
    columns = _list([theirs for _, theirs in keys] + features)
    connection.register("source", _table(config, source))
    connection.execute(f"""
        create or replace table rows as
        with feature as (
            select {columns}, {known} as __known, {_quoted(source.timestamp_field)} as __at from source
        )
        select rows.*, {values} from rows
        asof left join feature on {match} and rows.event_timestamp >= feature.__known
    """)
    connection.unregister("source")


def _features_by_view(references: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for reference in references:
        view, feature = reference.split(":")
        found.setdefault(view, []).append(feature)
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _list(names: Iterable[str]) -> str:
    return ", ".join(_quoted(n) for n in names)
