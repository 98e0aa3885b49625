"""The files that a version stands on, held against the digests that were signed and entered when they were made."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.gate import record
from pipelines.stores import Stores
from pipelines.stores.audit.licences import Registered
from pipelines.stores.erasures import Erasures
from pipelines.stores.tracking import background
from pipelines.stores.tracking.registry import DESCRIPTION, MODEL_FILE, file_digest
from pipelines.training.training_set import path_of

LOCAL = {
    "digest": MODEL_FILE,
    "mlmodel_digest": DESCRIPTION,
    "baseline_digest": f"baseline/{MODEL_FILE}",
    background.DIGEST: background.FILE,
}
"""The tag with a file's digest, and where our own copy of it lies."""


def wrong(version: Registered, retired: bool, stores: Stores) -> Iterator[str]:
    """Each file of a version that is gone or not as it was registered; one that was retired has none."""
    if retired:
        return
    book = Erasures(stores.settings)
    with tempfile.TemporaryDirectory() as folder:
        for tag, uri in mlflow_uris(version).items():
            found = _fetched(uri, Path(folder, tag), stores)
            if not _as_left(found, version.tags.get(tag), book):
                yield f"{uri} is {'not as it was registered' if found else 'gone'} ({tag})"
    for tag, name in LOCAL.items():
        copy = stores.settings.home / "models" / version.model / str(version.version) / name
        if copy.exists() and file_digest(copy) != version.tags.get(tag):
            yield f"{copy} is not as it was registered"
    rows = path_of(version.model, version.tags.get("training_set", ""), stores)
    if not _as_left(rows if rows.exists() else None, version.tags.get("training_rows"), book):
        yield f"its training set {rows} is {'not as it was' if rows.exists() else 'gone'}"


def _as_left(file: Path | None, digest: str | None, book: Erasures) -> bool:
    """Whether a file is as it was registered, or as an erasure left it, which may be gone."""
    found = file_digest(file) if file is not None else None
    changed = book.file(digest) if found != digest else None
    return found == digest if changed is None else found == changed.left


def mlflow_uris(version: Registered) -> dict[str, str]:
    """The tag with a file's digest, and where MLflow keeps the file."""
    found = {
        "digest": f"{version.source}/{MODEL_FILE}",
        "mlmodel_digest": f"{version.source}/{DESCRIPTION}",
        "baseline_digest": f"runs:/{version.run_id}/baseline/{MODEL_FILE}",
    }
    if background.DIGEST in version.tags:  # older versions have none
        found[background.DIGEST] = f"runs:/{version.run_id}/{background.FOLDER}/{background.FILE}"
    return found


def _fetched(uri: str, target: Path, stores: Stores) -> Path | None:
    target.mkdir()
    try:
        return stores.tracking.fetched(uri, target)
    except Exception:  # whatever an artifact store may raise, the file is not there
        return None


def wrong_record(version: Registered, evidence: Mapping[str, Any], stores: Stores) -> Iterator[str]:
    """What is not as the gate wrote it: the record, its signature, or the answers it stands on."""
    path = record.path_of(version.model, version.version, stores)
    # Bytes, not text: reading text would make one of two kinds of line end.
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    if found != evidence["record"]:
        yield f"its decision record {path} is {'not the one the gate wrote' if found else 'gone'}"
    digest, signature = version.tags.get("digest"), version.tags.get(record.SIGNATURE, "")
    statement = json.dumps(["verdict", version.model, version.version, digest, evidence["record"]]).encode()
    # Hex can be written in more than one way; the gate has one.
    if signature != "".join(signature.lower().split()) or not stores.keys.verifies(statement, signature):
        yield "its verdict is not signed by this deployment's gate"
    rows = record.beside(version.model, version.version, record.EVIDENCE, stores)
    if not rows.is_file() or file_digest(rows) != evidence["evidence"]:
        yield f"{rows} is {'not the evidence of its verdict' if rows.is_file() else 'gone'}"
