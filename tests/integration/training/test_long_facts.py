"""A training of so many tables, files and words that MLflow would cut them says all of it when it is asked again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.stores import Stores
from pipelines.stores.tracking.long_values import CUT, PARAMETER, TAG
from pipelines.training import rebuild, registration
from pipelines.training.train import train
from pipelines.training.training_set import question
from tests import onnx_estimator
from tests.training_sets import spec, training_set

TABLES = {f"features/a_view_with_a_long_name_{number}/v1": number for number in range(400)}
CHANGED = [f"pipelines/models/m{number}/estimator.py" for number in range(300)]


def test_delta_versions_parameters_and_changed_files_are_read_back_whole_however_long(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.training.train._module", lambda _: onnx_estimator)
    monkeypatch.setattr(registration, "uncommitted", lambda: CHANGED)
    model = spec().model_copy(update={"parameters": {"kind": "regression", "words": "w" * 9000}})
    made = training_set(tmp_path, rows=1000)
    rows = replace(made, versions=TABLES, digest=question(model.digest, made.as_of, TABLES))
    assert len(json.dumps(TABLES)) > TAG
    version = stores.tracking.version(model.name, train(model, rows, stores).version)
    raw = stores.tracking.client.get_run(version.run_id).data
    assert raw.tags["delta_versions"].endswith(CUT)
    assert (raw.params["words"].endswith(CUT), len(raw.params["words"])) == (True, PARAMETER)
    told = rebuild.record(version, stores)
    assert json.loads(told["delta_versions"]) == TABLES
    assert json.loads(told["parameters"]) == model.parameters
    assert told["uncommitted"].split(", ") == CHANGED
    assert stores.tracking.run(version.run_id).parameters["words"] == "w" * 9000
