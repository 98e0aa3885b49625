"""Where a source's rows lie, and how they are opened."""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from feast.data_format import DeltaFormat, ParquetFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem, S3FileSystem

from pipelines.contracts import EvergreenError
from pipelines.stores.durable import files_of, local
from pipelines.stores.offline.pins import pinned_version
from pipelines.stores.tables import rows_of

NOT_ROWS = [".", "_delta_log", "_temporary", "_SUCCESS", "_metadata", "_common_metadata"]
"""What writers leave beside rows. Not every name with an underscore: Feast's logs are partitioned by __log_date."""


@dataclass(frozen=True)
class Source:
    """A Delta table (at `version`, or the newest) or Parquet files, as they were named when a question was asked."""

    name: str
    uri: str
    delta: bool | None
    version: int | None = None
    options: dict[str, str] = field(default_factory=dict, repr=False)
    mapping: dict[str, str] = field(default_factory=dict)

    def dataset(self) -> pads.Dataset:
        """The rows; EvergreenError says what is missing."""
        if self.is_delta():
            return rows_of(self.table())
        if self.version is not None:
            raise EvergreenError(
                f"source {self.name} at {self.uri} is Parquet, which has no versions; do not pin it"
            )
        return self._parquet()

    def is_delta(self) -> bool:
        if self.delta is not None:
            return self.delta
        folder = local(self.uri)
        if folder is None:
            return bool(DeltaTable.is_deltatable(self.uri, self.options or None))
        # Nothing there yet: features are Delta tables unless they say otherwise.
        return (folder / "_delta_log").is_dir() or not (folder.exists() or glob(str(folder)))

    def exists(self) -> bool:
        """Whether there are rows to read, or an empty table."""
        if self.is_delta():
            return bool(DeltaTable.is_deltatable(self.uri, self.options or None))
        system, path = self.files()
        found = system.get_file_info(path)
        if found.type == FileType.Directory:
            return any(
                f.type == FileType.File for f in system.get_file_info(FileSelector(path, recursive=True))
            )
        return bool(found.type == FileType.File) or bool(glob(path))

    def occupied(self) -> bool:
        """Whether anything at all is at the place."""
        system, path = self.files()
        return bool(system.get_file_info(path).type != FileType.NotFound)

    def table(self) -> DeltaTable:
        """The Delta table at its version."""
        try:
            found = DeltaTable(self.uri, version=self.version, storage_options=self.options or None)
        except TableNotFoundError as error:
            raise self._missing() from error
        except (DeltaError, OSError) as error:
            raise self._no_such_version(error) from error
        if self.version is not None and not _whole(found):
            raise EvergreenError(
                f"feature table {self.name} at {self.uri} has lost files of version {self.version} to a vacuum;"
                " pin a newer version"
            )
        return found

    def _missing(self) -> EvergreenError:
        return EvergreenError(
            f"feature table {self.name} does not exist yet at {self.uri}; run `evergreen features compute`"
        )

    def _no_such_version(self, error: Exception) -> EvergreenError:
        if self.version is None:
            return EvergreenError(f"feature table {self.name} at {self.uri} cannot be read: {error}")
        try:
            newest = DeltaTable(self.uri, storage_options=self.options or None).version()
        except TableNotFoundError:
            return self._missing()
        return EvergreenError(
            f"feature table {self.name} at {self.uri} has no version {self.version} to read (newest is {newest});"
            " pin a version that its log still holds"
        )

    def _parquet(self) -> pads.Dataset:
        """Parquet files below a folder (hive partitions allowed), one file, or a local pattern with *."""
        system, path = self.files()
        try:
            factory = pads.FileSystemDatasetFactory(
                system,
                _selected(system, path),
                pads.ParquetFileFormat(),
                pads.FileSystemFactoryOptions(
                    # Only folders below the source are partitions, whatever those above it are called.
                    partition_base_dir=_base(system, path),
                    partitioning=pads.HivePartitioning.discover(),
                    selector_ignore_prefixes=NOT_ROWS,
                ),
            )
            # Older files may lack a column or have a coarser time.
            return factory.finish(factory.inspect(promote_options="permissive"))
        except FileNotFoundError as error:
            raise EvergreenError(
                f"source {self.name}: there is no Parquet file at {self.uri}; write it or mend the source's path"
            ) from error
        except pa.ArrowInvalid as error:
            raise EvergreenError(
                f"source {self.name}: {self.uri} cannot be read as Parquet: {error}"
            ) from error

    def files(self) -> tuple[FileSystem, str]:
        """The file system and the path in it."""
        folder = local(self.uri)
        if folder is not None:
            return LocalFileSystem(), str(folder)
        if self.uri.startswith("s3://"):
            return S3FileSystem(**_s3(self.options)), self.uri.removeprefix("s3://")
        found: tuple[FileSystem, str] = FileSystem.from_uri(self.uri)
        return found

    def column(self, name: str, schema: pa.Schema) -> str:
        """What the files call a column that the view knows by `name`."""
        before = next((old for old, new in self.mapping.items() if new == name), name)
        for candidate in (before, name):
            if candidate in schema.names:
                return candidate
        raise EvergreenError(
            f"source {self.name} at {self.uri} has no column {before!r}; it has {', '.join(schema.names)}"
        )


def _whole(table: DeltaTable) -> bool:
    """Whether all files of a local table are there; others are not looked at."""
    return local(table.table_uri) is None or all(file.exists() for file in files_of(table))


def source(settings: Any, data_source: DataSource | None, view: str = "") -> Source:
    """A Feast source as this store reads it, at the version that is pinned now."""
    if not isinstance(data_source, FileSource):
        kind = "no batch source" if data_source is None else f"a {type(data_source).__name__}"
        raise EvergreenError(
            f"{view or 'the question'} has {kind}; this store reads a FileSource (Delta or Parquet)"
        )
    formats = {DeltaFormat: True, ParquetFormat: False}
    delta = next(
        (is_delta for kind, is_delta in formats.items() if isinstance(data_source.file_format, kind)), None
    )
    if data_source.file_format is not None and delta is None:
        raise EvergreenError(
            f"source {data_source.name} is neither Delta nor Parquet; give it one of those formats"
        )
    if delta is None and data_source.path.endswith(".parquet"):
        delta = False
    return Source(
        name=data_source.name,
        uri=located(settings.lake, data_source.path),
        delta=delta,
        version=_pin(settings.lake, data_source.path),
        options=_options(data_source),
        mapping=dict(data_source.field_mapping or {}),
    )


def lake_table(settings: Any, path: str) -> Source:
    """A Delta table of the lake, by its path there."""
    return Source(path, located(settings.lake, path), True, _pin(settings.lake, path))


def located(lake: str, path: str) -> str:
    """An absolute path or a URI as it is, any other below the lake."""
    if urlsplit(path).scheme or Path(path).is_absolute():
        return path
    return f"{lake.rstrip('/')}/{path}"


def _pin(lake: str, path: str) -> int | None:
    version = pinned_version(path)
    return pinned_version(located(lake, path)) if version is None else version


def _options(data_source: FileSource) -> dict[str, str]:
    """Storage options as delta-rs names them."""
    options = {name: value for name, value in (data_source.resolve_credentials() or {}).items() if value}
    endpoint = data_source.s3_endpoint_override
    if endpoint:
        options["AWS_ENDPOINT_URL"] = endpoint if "://" in endpoint else f"https://{endpoint}"
        options["AWS_ALLOW_HTTP"] = str(endpoint.startswith("http://")).lower()
    return options


def _s3(options: dict[str, str]) -> dict[str, str]:
    """The same options as Arrow names them."""
    names = {
        "AWS_ACCESS_KEY_ID": "access_key",
        "AWS_SECRET_ACCESS_KEY": "secret_key",
        "AWS_SESSION_TOKEN": "session_token",
        "AWS_DEFAULT_REGION": "region",
        "AWS_REGION": "region",
    }
    found = {names[name]: value for name, value in options.items() if name in names}
    if "AWS_ENDPOINT_URL" in options:
        scheme, _, host = options["AWS_ENDPOINT_URL"].partition("://")
        found |= {"scheme": scheme, "endpoint_override": host}
    return found


def _selected(system: FileSystem, path: str) -> Any:
    """What Arrow should look at: a list of files or a folder."""
    if system.get_file_info(path).type == FileType.File:
        return [path]
    if isinstance(system, LocalFileSystem) and "*" in path:
        found = sorted(glob(path, recursive=True))
        if not found:
            raise FileNotFoundError(path)
        return found
    return FileSelector(path, recursive=True)


def _base(system: FileSystem, path: str) -> str:
    """The folder below which a source's partitions lie: of a pattern, the part before the first sign of one."""
    kind = system.get_file_info(path).type
    if kind == FileType.Directory:
        return path
    return posixpath.dirname(path if kind == FileType.File else path.partition("*")[0])


def columns_of(found: pads.Dataset) -> Iterator[tuple[str, str]]:
    """Names and types, as Feast infers features from them."""
    return ((name, str(kind)) for name, kind in zip(found.schema.names, found.schema.types, strict=True))
