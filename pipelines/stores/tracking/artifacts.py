"""Where the files of runs and models lie on this machine, if they do; MLflow fetches and keeps all others."""

import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipelines.contracts import EvergreenError
from pipelines.stores.tracking.records import Records, lies_at

CLIENTS = {
    "s3": "boto3",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
    "wasbs": "azure",
    "gs": "google.cloud",
}
"""What MLflow itself needs to keep files at such an address, by package."""


def refuse_without_client(address: str) -> None:
    """EvergreenError if MLflow lacks what it needs to keep files at an address."""
    package = CLIENTS.get(urlsplit(address).scheme)
    if package is not None and not _installed(package):
        raise EvergreenError(
            f"MLflow cannot keep model files at {address}: {package} is not installed; install locks/production.txt"
            " (for S3), or let EVERGREEN_TRACKING_URI be an MLflow server that keeps them, or EVERGREEN_ARTIFACT_ROOT a"
            " folder"
        )


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def local(address: str) -> Path | None:
    """The folder of an artifact location; None if it is on another machine or in a store."""
    parts = urlsplit(address)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and not parts.query:
        return Path(unquote(parts.path))
    return Path(address) if address.startswith("/") else None


def here(address: str, records: Records) -> Path | None:
    """Where a file lies that is named by its place, its logged model (models:/m-...) or its run (runs:/...).

    None if it is elsewhere, and MLflow must fetch it.
    """
    kind, _, rest = address.partition(":/")
    name, _, path = rest.partition("/")
    if ".." in Path(address).parts or not path:
        return None
    if kind == "models" and name.startswith("m-"):
        return _within(records.location(name), path)
    return _of_run(name, path, records) if kind == "runs" else local(lies_at(address, records))


def _of_run(run_id: str, path: str, records: Records) -> Path | None:
    """A model that was logged under the path's first part comes before the run's own files, as with MLflow."""
    name, _, inside = path.partition("/")
    logged = _within(records.logged(run_id, name), inside) if inside else None
    if logged is not None and logged.exists():
        return logged
    return _within(records.run(run_id).artifacts, path)


def _within(location: str | None, path: str) -> Path | None:
    folder = None if location is None else local(location)
    return None if folder is None else folder / path


def put(path: Path, folder: Path) -> None:
    """A copy of a file in a folder, with its times and rights; whoever reads it there finds it whole."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=folder, prefix=".part-")
    os.close(handle)
    try:
        shutil.copy2(path, part)
        os.replace(part, folder / path.name)
    finally:
        Path(part).unlink(missing_ok=True)
