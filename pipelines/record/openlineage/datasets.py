"""How a table, a file, a model and an online view are called in OpenLineage, and what is said of each."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from pipelines.catalog import DatasetSpec, ModelSpec
from pipelines.contracts import TrainingSet
from pipelines.places import local
from pipelines.stores import Stores
from pipelines.stores.feature_store.views import ViewVersion

Plain = dict[str, Any]
"""A dataset as the events have it: `namespace`, `name`, and its `facets` by their keys."""


def named(uri: str) -> Plain:
    """A path or an address as OpenLineage names it; no login of an address is in it."""
    folder = local(uri)
    if folder is not None:
        return {"namespace": "file", "name": folder.absolute().as_posix()}
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    return {"namespace": f"{parts.scheme.replace('s3a', 's3')}://{host}", "name": parts.path.strip("/")}


def table(layer: str, name: str, stores: Stores, version: int | None = None, **facets: Plain) -> Plain:
    """A Delta table with its columns, of a version or as it is now."""
    at = stores.tables.version(layer, name) if version is None else version
    said: dict[str, Plain] = {"storage": {"storageLayer": "delta", "fileFormat": "parquet"}}
    if at is not None:
        said |= {"version": {"datasetVersion": str(at)}}
    if "schema" not in facets and (opened := stores.tables.table(layer, name)) is not None:
        said |= {"schema": {"fields": [_field(f.name, _type(f.type)) for f in opened.schema().fields]}}
    return named(stores.tables.uri(layer, name)) | {"facets": said | facets}


def silver(spec: DatasetSpec, stores: Stores, version: int | None = None) -> Plain:
    """A dataset's table of valid rows, as its yaml describes it."""
    return table("silver", spec.name, stores, version, **described(spec))


def landed(spec: DatasetSpec, name: str, digest: str, stores: Stores) -> Plain:
    """A file that landed, by the place where it did; its bytes are its version."""
    found = named(str(stores.settings.landing_path / name))
    return found | {"facets": {"version": {"datasetVersion": digest}, **described(spec)}}


def described(spec: DatasetSpec) -> dict[str, Plain]:
    """What a dataset's yaml says: what a row is, who owns it, each column."""
    fields = [_field(name, column.type, column.description) for name, column in spec.columns.items()]
    return {**owned(spec.description, spec.owner), "schema": {"fields": fields}}


def owned(description: str, owner: str) -> dict[str, Plain]:
    """What something is for, and which team is asked."""
    return {
        "documentation": {"description": description},
        "ownership": {"owners": [{"name": f"team:{owner}", "type": "OWNER"}]},
    }


def view(version: ViewVersion, stores: Stores, at: int | None = None) -> Plain:
    """The table of a version of a feature view."""
    return table("features", version.table, stores, at, **_view(version, stores))


def online(version: ViewVersion, stores: Stores) -> Plain:
    """The newest values of a view, where Feast serves them."""
    return {"namespace": feast(stores), "name": str(version), "facets": _view(version, stores)}


def _view(version: ViewVersion, stores: Stores) -> dict[str, Plain]:
    found = stores.features.described.get(version.view)
    return owned(found.description, found.owner) if found is not None else {}


def feast(stores: Stores) -> str:
    """The namespace of what is online."""
    text = (stores.settings.feature_repo / "feature_store.yaml").read_text()
    return f"feast://{yaml.safe_load(text)['project']}"


def model(spec: ModelSpec, version: int | None, stores: Stores, alias: str | None = None) -> Plain:
    """A registered version, or what an alias of the model names."""
    facets = owned(spec.description, spec.owner)
    if version is not None:
        facets |= {"version": {"datasetVersion": str(version)}}
    return {
        "namespace": mlflow(stores),
        "name": f"{spec.name}@{alias}" if alias else spec.name,
        "facets": facets,
    }


def mlflow(stores: Stores) -> str:
    """The namespace of the models: the server that keeps them, if one does."""
    parts = urlsplit(stores.settings.mlflow_uri)
    host = parts.netloc.rpartition("@")[2]
    return f"mlflow://{host}" if host else "mlflow"


def training_set(rows: TrainingSet, sources: list[Plain]) -> Plain:
    """The rows to learn from; of each feature, the column of its view that it is."""
    facets: dict[str, Plain] = {
        "version": {"datasetVersion": rows.digest},
        "storage": {"storageLayer": "file", "fileFormat": "parquet"},
    }
    if Path(rows.path).is_file():
        import pyarrow.parquet as pq

        columns = pq.read_schema(rows.path)
        facets |= {"schema": {"fields": [_field(c.name, str(c.type)) for c in columns]}}
        facets |= {"columnLineage": {"fields": _columns(columns.names, rows, sources)}}
    return named(rows.path) | {"facets": facets}


def _columns(names: list[str], rows: TrainingSet, sources: list[Plain]) -> Plain:
    """Of each `view__feature` the table and the column that it was taken from."""
    tables = dict(zip(rows.versions, sources, strict=True)) if sources else {}
    found = {}
    for name in names:
        of, _, feature = name.partition("__")
        source = tables.get(f"features/{of}/v{rows.views.get(of)}")
        if source is not None:
            found[name] = {"inputFields": [field(source, feature)]}
    return found


def field(source: Plain, column: str) -> Plain:
    """A column of a dataset that another takes over as it is."""
    as_it_is = {"type": "DIRECT", "subtype": "IDENTITY"}
    return {
        "namespace": source["namespace"], "name": source["name"], "field": column, "transformations": [as_it_is]
    }  # fmt: skip


def _field(name: str, kind: str, description: str | None = None) -> Plain:
    said = {"name": name, "type": kind}
    return said | {"description": description} if description else said


def _type(kind: Any) -> str:
    return str(getattr(kind, "type", kind))
