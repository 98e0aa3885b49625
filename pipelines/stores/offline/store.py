"""The offline store as Feast calls it."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from feast.data_source import DataSource
from feast.errors import FeatureNameCollisionError
from feast.feature_logging import LOG_TIMESTAMP_FIELD, LoggingConfig, LoggingSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL, FeatureView
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.utils import _parse_feature_ref, compute_non_entity_date_range
from pydantic import Field

from pipelines.contracts import EvergreenError
from pipelines.stores.offline import asof_spark, instants, questions, writing
from pipelines.stores.offline.asof import Asked, newest, winners
from pipelines.stores.offline.engine import connection
from pipelines.stores.offline.history import History, opened
from pipelines.stores.offline.jobs import DeltaRetrievalJob
from pipelines.stores.offline.questions import Questions
from pipelines.stores.offline.sources import Source, columns_of, source


class DeltaOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """`lake`: the folder or URI below which a source's path names a table.

    A question uses `threads` and keeps up to `memory_mb` MB of keys and times in memory; more of them spill to
    `temp_directory` (by default the system's). `engine` joins: `auto` is Spark for tables of at least `spark_rows`.
    """

    type: Literal["pipelines.stores.offline.DeltaOfflineStore"] = "pipelines.stores.offline.DeltaOfflineStore"
    lake: str
    threads: int = Field(2, ge=1)
    memory_mb: int = Field(4096, ge=16)
    temp_directory: str | None = None
    engine: Literal["auto", "duckdb", "spark"] = "duckdb"
    spark_rows: int = Field(100_000_000, ge=1)
    spark_master: str = "local[*]"
    spark_conf: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Lookup:
    """One view in a question; `keys`: entity rows' name -> the view's name, `features`: the answer's -> the view's."""

    source: Source
    keys: dict[str, str]
    event: str
    created: str | None
    ttl: timedelta | None
    features: dict[str, str]

    def history(self) -> History:
        return opened(self.source, self.keys.values(), self.event, self.created)


class DeltaOfflineStore(OfflineStore):  # type: ignore[misc]
    """Delta tables and Parquet files, read as they are at the moment a question is answered, or as `pinned`."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def validate_data_source(config: RepoConfig, data_source: DataSource) -> None:
        """A table may come into being after its definition, so nothing is opened here."""

    @staticmethod
    def get_table_column_names_and_types_from_data_source(
        config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        """The columns of a source, which must exist."""
        return columns_of(source(_settings(config), data_source).dataset())

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Each key's newest row by event time, knowledge time and content, of those from start to end, both included.

        Rows without a key are left out.
        """
        settings = _settings(config)
        place = source(settings, data_source)

        def query() -> pa.Table:
            history = opened(place, join_key_columns, timestamp_field, created_timestamp_column)
            history = history.happened(start_date, end_date)
            with connection(settings) as duck:
                ids = newest(duck, history)
            columns = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column]
            return _whole(history.values(_columns(place, history, columns), ids), join_key_columns)

        return DeltaRetrievalJob(settings, query)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row from start to end, both included; None is no bound."""
        settings = _settings(config)
        place = source(settings, data_source)

        def query() -> pa.Table:
            history = opened(place, join_key_columns, timestamp_field, created_timestamp_column)
            history = history.happened(start_date, end_date)
            columns = [*join_key_columns, *feature_name_columns, timestamp_field, created_timestamp_column]
            rows = history.wide(_columns(place, history, columns)).to_table()
            keyless = not join_key_columns and timestamp_field != LOG_TIMESTAMP_FIELD
            return _whole(rows, [] if keyless else ["any"])

        return DeltaRetrievalJob(settings, query)

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        **options: Any,
    ) -> RetrievalJob:
        """For each entity row the values known at its moment: the newest that happened, not older than the view's TTL.

        Entity rows are a frame, a SQL query over the lake, or None: then each key is asked at each moment from
        `start_date` to `end_date` at which one of its values became known. Every row comes back, in its order and
        with its columns, then the features in the order asked, null where nothing was known. What became known
        later is never used, whatever `filter_by_created_timestamp` says.
        """
        settings = _settings(config)
        lookups = _lookups(settings, feature_views, feature_refs, full_feature_names)
        asked = _questions(settings, feature_views, lookups, entity_df, options)
        asked.require(key for lookup in lookups for key in lookup.keys)
        names = _output(feature_refs, feature_views, full_feature_names)
        taken = [name for name in names if name in asked.schema.names]
        if taken:
            raise EvergreenError(
                f"entity rows already have a column {taken[0]!r}; rename it or ask with full_feature_names=True"
            )
        return DeltaRetrievalJob(
            settings,
            lambda: _answer(settings, asked, lookups, names),
            full_feature_names,
            lambda: asked.metadata(feature_refs),
            entity_df if isinstance(entity_df, pd.DataFrame) else None,
        )

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Adds rows to the view's source; its columns, in its order, are required."""
        writing.append(_settings(config), table, feature_view.batch_source, feature_view.name)
        if progress:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: Any,
    ) -> None:
        """Adds logs of served features to a FileLoggingDestination's folder."""
        destination = logging_config.destination
        if not isinstance(destination, FileLoggingDestination):
            raise EvergreenError(
                f"logs cannot go to a {type(destination).__name__}; give the feature service a FileLoggingDestination"
            )
        writing.log(_settings(config), data, destination)


def _settings(config: RepoConfig) -> DeltaOfflineStoreConfig:
    found = config.offline_store
    return found if isinstance(found, DeltaOfflineStoreConfig) else DeltaOfflineStoreConfig(**vars(found))


def _columns(place: Source, history: History, names: list[str | None]) -> dict[str, str]:
    """The asked names and what the files call them."""
    return {name: place.column(name, history.rows.schema) for name in names if name}


def _whole(rows: pa.Table, keys: list[str]) -> pa.Table:
    """In one piece, for Feast writes only the first of several online; a view without entities has Feast's own key."""
    if not keys:
        rows = rows.append_column(DUMMY_ENTITY_ID, pa.array([DUMMY_ENTITY_VAL] * rows.num_rows, pa.string()))
    return rows.combine_chunks()


def _lookups(
    settings: Any, views: list[FeatureView], references: list[str], full_names: bool
) -> list[Lookup]:
    """What to look up in each view, with the versions that are pinned now."""
    outputs = dict(zip(references, _output(references, views, full_names), strict=True))
    found = []
    for view in views:
        place = source(settings, view.batch_source, f"feature view {view.name}")
        mine = [r for r in references if _view_of(r) == view.projection.name_to_use()]
        renamed = view.projection.join_key_map or {}
        found.append(
            Lookup(
                source=place,
                keys={renamed.get(key, key): key for key in view.join_keys if key != DUMMY_ENTITY_ID},
                event=view.batch_source.timestamp_field,
                created=view.batch_source.created_timestamp_column or None,
                ttl=view.ttl,
                features={outputs[reference]: _parse_feature_ref(reference)[2] for reference in mine},
            )
        )
    return found


def _view_of(reference: str) -> str:
    """The view as projection.name_to_use() has it."""
    name, version, _ = _parse_feature_ref(reference)
    return name if version is None else f"{name}@v{version}"


def _output(references: list[str], views: list[FeatureView], full_names: bool) -> list[str]:
    """The columns of the answer: never with a version, each name once."""
    bases = {
        view.projection.name_to_use(): view.projection.name_alias or view.projection.name for view in views
    }
    unknown = [reference for reference in references if _view_of(reference) not in bases]
    if unknown:
        raise EvergreenError(
            f"{unknown[0]} is of no feature view with a source; if it is computed on demand, its code is a pickle in"
            " Feast's registry, which is never loaded: compute it in the model's estimator or in a view's SQL"
        )
    names = [
        f"{bases[_view_of(r)]}__{_parse_feature_ref(r)[2]}" if full_names else _parse_feature_ref(r)[2]
        for r in references
    ]
    twice = [r for r, name in zip(references, names, strict=True) if names.count(name) > 1]
    if twice:
        raise FeatureNameCollisionError(twice, full_names)
    return names


def _questions(
    settings: Any, views: list[FeatureView], lookups: list[Lookup], entity_df: Any, options: dict[str, Any]
) -> Questions:
    if isinstance(entity_df, pd.DataFrame):
        return questions.from_frame(entity_df)
    if isinstance(entity_df, str):
        return questions.from_sql(settings, entity_df)
    if entity_df is not None:
        raise EvergreenError(
            f"entity rows must be a pandas DataFrame or SQL, not a {type(entity_df).__name__}"
        )
    start, end = compute_non_entity_date_range(views, options.get("start_date"), options.get("end_date"))
    return questions.from_dates(settings, start, end, [(list(x.keys), x.history) for x in lookups])


def _answer(settings: Any, asked: Questions, lookups: list[Lookup], names: list[str]) -> pa.Table:
    """Entity rows with the features beside them."""
    found: dict[str, Any] = {}
    far = [each for each in lookups if asof_spark.chosen(settings, each.source)]
    for each in far:  # Spark shares its executors out by itself
        values = _values(settings, asked, each, 1, far=True)
        found |= dict(zip(values.column_names, values.columns, strict=True))
    lookups = [each for each in lookups if each not in far]
    beside = max(1, min(settings.threads, len(lookups)))
    with ThreadPoolExecutor(
        beside
    ) as pool:  # each view is a question of its own, answered on a share of the machine
        tasks = [pool.submit(copy_context().run, _values, settings, asked, each, beside) for each in lookups]
        for values in (task.result() for task in tasks):
            found |= dict(zip(values.column_names, values.columns, strict=True))
    rows = asked.rows
    for name in names:
        rows = rows.append_column(name, found[name])
    return rows


def _values(settings: Any, asked: Questions, lookup: Lookup, beside: int, far: bool = False) -> pa.Table:
    """One view's features for each question, with so many views answered at once; `far`: by Spark."""
    history = lookup.history()
    columns = {new: lookup.source.column(old, history.rows.schema) for new, old in lookup.features.items()}
    bounds = asked.moments.bounds()
    if bounds is None:
        return history.values(columns, np.full(asked.rows.num_rows, -1, dtype=np.int64))
    until, reach = asked.moments.floor(history.unit), asked.moments.ceil(history.unit)
    oldest = instants.before(reach, lookup.ttl, history.unit)
    known = asked.moments.known
    question = Asked([asked.rows[key] for key in lookup.keys], until, oldest, known)
    if far:
        return asof_spark.values(settings, lookup.source, history, question, columns)
    history = history.known(int(until[known].max()), int(oldest[known].min()))
    with connection(settings, beside) as duck:
        ids = winners(duck, history, question)
    return history.values(columns, ids)
