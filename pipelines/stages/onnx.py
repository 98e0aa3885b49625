"""The ONNX form of a candidate: made beside its model file, and held by the gate to the same answers."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision, EvergreenError, Kind, Rule
from pipelines.stores import Stores
from pipelines.stores.onnx import ONNX_FILE, OnnxModel, exported
from pipelines.stores.tracking import Version, file_digest

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.stages.gate.case import Case

FOLDER, DIGEST, RULE = "onnx", "onnx_digest", "the ONNX form answers the same"


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
        found = stores.tracking.client.download_artifacts(version.run_id, f"{FOLDER}/{ONNX_FILE}", folder)
        content = Path(found).read_bytes()
    if hashlib.sha256(content).hexdigest() != version.tags[DIGEST]:
        raise EvergreenError(
            f"{version.model}@{version.version}: its ONNX file was changed after training; refused"
        )
    return OnnxModel(content)


def check(case: "Case") -> list[Rule]:
    """The ONNX form, where spec.yaml asks for one, answers every held-out row as the candidate does."""
    import numpy as np

    if case.spec.onnx is None:
        return []
    bound = case.spec.onnx.tolerance
    try:
        said = loaded(case.version, case.stores).answers(case.held)
    except EvergreenError as error:
        return [Rule(RULE, Decision.FAIL, str(error))]
    gap = float(np.max(np.abs(said - case.answers["candidate"]), initial=0.0))
    holds = gap <= bound  # false for NaN
    why = f"{len(said):,} answers, at most {gap:.2g} apart, {bound:.2g} allowed"
    return [
        Rule(
            RULE,
            Decision.PASS if holds else Decision.FAIL,
            why,
            gap,
            bound,
            kind=Kind.AT_MOST,
            rows=len(said),
        )
    ]
