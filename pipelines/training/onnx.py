"""The ONNX form of a candidate, made beside its model file."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.stores import Stores
from pipelines.stores.tracking.onnx import ONNX_FILE, OnnxModel, exported
from pipelines.stores.tracking.registry import Version, file_digest

if TYPE_CHECKING:
    import pandas as pd

FOLDER, DIGEST = "onnx", "onnx_digest"


def log(spec: ModelSpec, stores: Stores, run_id: str, model: Any, inputs: "pd.DataFrame") -> dict[str, str]:
    """Log the model as ONNX if spec.yaml asks for it; the tag with the file's digest."""
    if spec.onnx is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ONNX_FILE
        path.write_bytes(exported(model, inputs))
        stores.tracking.log_files(run_id, FOLDER, path)
        return {DIGEST: file_digest(path)}


def loaded(version: Version, stores: Stores) -> OnnxModel:
    """The ONNX form of a version; EvergreenError if there is none, or another than was registered."""
    import hashlib

    if DIGEST not in version.tags:
        raise EvergreenError(
            f"{version.model}@{version.version} was registered without an ONNX form; train it again"
        )
    with tempfile.TemporaryDirectory() as folder:
        found = stores.tracking.fetched(f"runs:/{version.run_id}/{FOLDER}/{ONNX_FILE}", Path(folder))
        content = found.read_bytes()
    if hashlib.sha256(content).hexdigest() != version.tags[DIGEST]:
        raise EvergreenError(
            f"{version.model}@{version.version}: its ONNX file was changed after training; refused"
        )
    return OnnxModel(content)
