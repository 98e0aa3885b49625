"""Materialization in bulk: from the offline store to the online store as Arrow, never row by row.

Named as `batch_engine` in feature_store.yaml it is behind `feast materialize`, FeatureStore.materialize and
materialize_incremental. Feast's own engine turns every value into a message of its own: 7,000 rows/s of 10
features (Feast 0.67, 2 cores).
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
from feast.infra.common.materialization_job import MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.utils import _get_column_names, make_tzaware

from pipelines.stores import offline
from pipelines.stores.offline import sources
from pipelines.stores.online.store import Materialized


class BulkComputeEngineConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """Nothing to set but the type."""

    type: Literal["pipelines.stores.online.materialization.BulkComputeEngine"] = (
        "pipelines.stores.online.materialization.BulkComputeEngine"
    )


class BulkComputeEngine(LocalComputeEngine):  # type: ignore[misc]
    """Brings each key's newest row online; views that Python must still transform go through Feast's own engine."""

    def _materialize_one(
        self, registry: Any, task: MaterializationTask, **options: Any
    ) -> LocalMaterializationJob:
        view = task.feature_view
        name = f"{view.name}-{task.start_time}-{task.end_time}"
        try:
            if not (hasattr(self.online_store, "write_arrow") and _as_it_is(view)):
                return self._transformed(registry, task, **options)
            self._bulk(registry, task)
        except Exception as error:  # Feast raises what a job reports
            return LocalMaterializationJob(name, MaterializationJobStatus.ERROR, error)
        return LocalMaterializationJob(name, MaterializationJobStatus.SUCCEEDED)

    def _transformed(
        self, registry: Any, task: MaterializationTask, **options: Any
    ) -> LocalMaterializationJob:
        """Feast's own engine; afterwards how far the view has come, if the store keeps that."""
        reached = _reached(task, None)
        job = super()._materialize_one(registry, task, **options)
        if job.status() == MaterializationJobStatus.SUCCEEDED and hasattr(self.online_store, "note"):
            self.online_store.note(self.repo_config, task.feature_view, reached)
        return job

    def _bulk(self, registry: Any, task: MaterializationTask) -> None:
        view, version = task.feature_view, source_version(self.repo_config, task.feature_view.batch_source)
        with _pinned(view.batch_source, version):
            job = self.offline_store.pull_latest_from_table_or_query(**self._question(registry, task))
            rows = _rows(job, view.batch_source.field_mapping or {})
        total = rows.num_rows if isinstance(rows, pa.Table) else None
        with task.tqdm_builder(total) if task.tqdm_builder else nullcontext() as bar:
            update = bar.update if bar is not None else None
            self.online_store.write_arrow(self.repo_config, view, rows, update, _reached(task, version))

    def _question(self, registry: Any, task: MaterializationTask) -> dict[str, Any]:
        """What the offline store is asked, in the names of the source's columns."""
        view = task.feature_view
        entities = [registry.get_entity(name, task.project) for name in view.entities]
        keys, features, event, created = _get_column_names(view, entities)
        return {
            "config": self.repo_config,
            "data_source": view.batch_source,
            "join_key_columns": keys,
            "feature_name_columns": features,
            "timestamp_field": event,
            "created_timestamp_column": created,
            "start_date": make_tzaware(task.start_time),
            "end_date": make_tzaware(task.end_time),
        }


def source_version(config: RepoConfig, source: Any) -> int | None:
    """The Delta version of a source that a question would read now; None for what is no Delta table."""
    if not isinstance(config.offline_store, offline.DeltaOfflineStoreConfig):
        return None
    found = sources.source(config.offline_store, source)
    return found.table().version() if found.is_delta() else None


def _pinned(source: Any, version: int | None) -> AbstractContextManager[None]:
    """Within it the offline store reads this version of the source, whatever is appended meanwhile."""
    return nullcontext() if version is None else offline.pinned({source.path: version})


def _reached(task: MaterializationTask, version: int | None) -> Materialized:
    return Materialized(make_tzaware(task.end_time), version, datetime.now(UTC))


def _as_it_is(view: Any) -> bool:
    """Whether the source's rows are the view's, so that nothing but Arrow need touch them."""
    changes = (
        "source_views",
        "aggregations",
        "feature_transformation",
        "filter",
        "enable_validation",
        "offline",
    )
    return view.online and view.batch_source is not None and not any(getattr(view, c, None) for c in changes)


def _rows(job: Any, mapping: dict[str, str]) -> pa.Table | Iterable[pa.RecordBatch]:
    """The job's rows under the view's names; as batches where the offline store can give them so."""
    if hasattr(job, "to_record_batches"):
        return _renamed(job.to_record_batches(), mapping)
    table = job.to_arrow()
    return table.rename_columns([mapping.get(name, name) for name in table.column_names])


def _renamed(batches: Iterable[pa.RecordBatch], mapping: dict[str, str]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch.rename_columns([mapping.get(name, name) for name in batch.schema.names])
