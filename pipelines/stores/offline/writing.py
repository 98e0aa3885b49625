"""What the store writes: rows added to a source, saved data sets, logs of served features."""

import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import write_deltalake
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists
from pyarrow.fs import FileSystem, FileType

from pipelines.contracts import EvergreenError
from pipelines.stores.durable import flush, local
from pipelines.stores.offline.sources import Source, source


class WrongColumns(EvergreenError, ValueError):
    """The rows do not have the source's columns; Feast expects a ValueError."""


def append(settings: Any, rows: pa.Table, data_source: DataSource | None, view: str) -> None:
    """Adds rows to a view's source, made if there is none; columns must be the source's, in its order."""
    place = source(settings, data_source, view)
    if place.exists():
        rows = _fitting(rows, place)
    if place.is_delta():
        write_deltalake(place.uri, rows, mode="append", storage_options=place.options or None)
        flush(place.uri)
    else:
        _append_parquet(rows, place)


def _fitting(rows: pa.Table, place: Source) -> pa.Table:
    schema = place.dataset().schema
    if rows.column_names != schema.names:
        raise WrongColumns(
            f"source {place.name} has the columns {', '.join(schema.names)}; the rows have"
            f" {', '.join(rows.column_names)}; give them the source's columns in its order"
        )
    try:
        return rows.cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise WrongColumns(f"rows do not fit source {place.name}: {error}") from error


def _append_parquet(rows: pa.Table, place: Source) -> None:
    """A folder gets one file more; a single file is replaced by a longer one."""
    system, path = place.files()
    if not path.endswith(".parquet"):
        system.create_dir(path)
        _write_file(system, rows, f"{path}/{uuid4().hex}.parquet")
        return
    old = [place.dataset().to_table()] if place.exists() else []
    _write_file(system, pa.concat_tables([*old, rows.cast(old[0].schema) if old else rows]), path)


def _write_file(system: FileSystem, rows: pa.Table, path: str) -> None:
    """Written beside and moved into place, so that a reader sees all of it or nothing."""
    parent, _, name = path.rpartition("/")
    if parent:
        system.create_dir(parent)
    part = f"{parent}/.{name}.{os.getpid()}.part"
    pq.write_table(rows, part, filesystem=system)
    system.move(part, path)


def save(settings: Any, rows: pa.Table, data_source: DataSource, allow_overwrite: bool) -> None:
    """A saved data set: one file if the path ends in .parquet, a Delta table if its format says so, else a folder."""
    place = source(settings, data_source)
    if place.occupied() and not allow_overwrite:
        raise SavedDatasetLocationAlreadyExists(location=data_source.path)
    if place.delta:
        how: dict[str, Any] = (
            {"mode": "overwrite", "schema_mode": "overwrite"} if allow_overwrite else {"mode": "error"}
        )
        plain = rows.replace_schema_metadata(None)
        write_deltalake(place.uri, plain, storage_options=place.options or None, **how)
        flush(place.uri)
        return
    system, path = place.files()
    if path.endswith(".parquet"):
        _write_file(system, rows, path)
    else:
        _replace_folder(system, rows, path)


def _replace_folder(system: FileSystem, rows: pa.Table, path: str) -> None:
    """The old folder goes only once the new one is whole."""
    fresh = f"{path.rstrip('/')}.{uuid4().hex}"
    system.create_dir(fresh)
    pq.write_table(rows, f"{fresh}/part-0.parquet", filesystem=system)
    if system.get_file_info(path).type != FileType.NotFound:
        system.delete_dir(path)
    system.move(fresh, path)


def log(settings: Any, data: pa.Table | Path, destination: Any) -> None:
    """Adds a chunk of logs to a folder of Parquet files, partitioned as the destination says."""
    place = source(settings, destination.to_data_source())
    system, path = place.files()
    rows = data if isinstance(data, pa.Table) else pads.dataset(data, format="parquet").to_table()
    if local(place.uri) is not None:
        system.create_dir(path)
    pads.write_dataset(
        rows,
        path,
        filesystem=system,
        format="parquet",
        basename_template=f"{uuid4().hex}-{{i}}.parquet",
        partitioning=destination.partition_by or None,
        partitioning_flavor="hive" if destination.partition_by else None,
        existing_data_behavior="overwrite_or_ignore",
    )
