"""Rules of the ONNX form: made beside the model, signed with it, and refused where it answers otherwise."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("skl2onnx", reason="`make onnx` installs what makes ONNX files")
pytest.importorskip("onnxruntime", reason="`make onnx` installs what runs ONNX files")

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipelines.catalog import Onnx
from pipelines.contracts import Decision, EvergreenError
from pipelines.gate import opened
from pipelines.gate.rules import onnx as rules_onnx
from pipelines.stores import Stores
from pipelines.stores.tracking.onnx import ONNX_FILE, OnnxModel, exported
from pipelines.training import onnx
from pipelines.training.answers import NOT_INPUT
from pipelines.training.train import train
from tests import onnx_estimator
from tests.training_sets import NOW, frame, spec, training_set


def asked(kind: str, tolerance: float = 1e-5):
    return spec().model_copy(update={"parameters": {"kind": kind}, "onnx": Onnx(tolerance=tolerance)})


@pytest.fixture
def convertible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.training.train._module", lambda spec: onnx_estimator)


@pytest.mark.usefixtures("convertible")
def test_the_onnx_form_answers_every_held_out_row_as_the_model_does(stores: Stores, tmp_path: Path) -> None:
    model, rows = asked("regression"), training_set(tmp_path)
    case = opened(model, train(model, rows, stores).version, rows, stores, NOW)
    [rule] = rules_onnx.check(case)
    assert rule.decision is Decision.PASS, rule.explanation
    assert rule.rows == len(case.held) > 500
    assert rule.value < 1e-6
    assert len(np.unique(onnx.loaded(case.version, stores).answers(case.held))) > 50


def test_a_forest_on_scaled_numbers_answers_otherwise_in_onnx() -> None:
    """Rounded to float32, rows change sides at a split: 0.03 apart, which is why the gate compares answers."""
    data = frame(3000, 0, 2.0)
    inputs = data.drop(columns=list(NOT_INPUT))
    model = onnx_estimator.build({"kind": "forest"}).fit(inputs, data.label)
    wanted = model.predict_proba(inputs)[:, 1]
    gaps = abs(OnnxModel(exported(model, inputs)).answers(inputs) - wanted)
    assert gaps.max() > 1e-3
    assert (gaps > 1e-5).mean() < 0.05


def test_an_onnx_form_answers_all_of_many_classes_in_their_order() -> None:
    data = frame(1000, 0, 2.0)
    inputs = data[["distance", "origin_congestion__mean_departure_delay_1h"]].astype("float64")
    labels = np.digitize(inputs.iloc[:, 1], [-0.5, 0.5, 1.5])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs, labels)
    said = OnnxModel(exported(model, inputs)).answers(inputs)
    assert said.shape == (1000, 4)
    assert abs(said - model.predict_proba(inputs)).max() < 1e-6


@pytest.mark.usefixtures("convertible")
def test_an_onnx_form_that_answers_otherwise_fails_the_gate(stores: Stores, tmp_path: Path) -> None:
    """Its numbers are float32: where no difference at all is allowed, the candidate is refused."""
    model, rows = asked("regression", tolerance=0.0), training_set(tmp_path)
    case = opened(model, train(model, rows, stores).version, rows, stores, NOW)
    [rule] = rules_onnx.check(case)
    assert rule.decision is Decision.FAIL
    assert rule.value > 0
    case.answers["candidate"] = case.answers["candidate"] + np.nan
    assert rules_onnx.check(case)[0].decision is Decision.FAIL


@pytest.mark.usefixtures("convertible")
def test_an_onnx_file_that_was_changed_or_is_missing_fails_the_gate(stores: Stores, tmp_path: Path) -> None:
    model, rows = asked("regression"), training_set(tmp_path)
    version = train(model, rows, stores).version
    case = opened(model, version, rows, stores, NOW)
    [file] = stores.settings.home.glob(f"mlartifacts/**/{ONNX_FILE}")
    file.write_bytes(file.read_bytes() + b"x")
    [rule] = rules_onnx.check(case)
    assert rule.decision is Decision.FAIL
    assert "changed after training" in rule.explanation
    tags = {name: value for name, value in case.version.tags.items() if name != onnx.DIGEST}
    object.__setattr__(case.version, "tags", tags)
    assert "without an ONNX form" in rules_onnx.check(case)[0].explanation


def test_a_pipeline_that_has_no_onnx_form_is_named(stores: Stores, tmp_path: Path) -> None:
    model = spec().model_copy(update={"onnx": Onnx()})
    with pytest.raises(
        EvergreenError, match=r"Timetable > ColumnTransformer > HistGradientBoosting.* has no ONNX form"
    ):
        train(model, training_set(tmp_path, rows=1000), stores)
    assert stores.tracking.versions(model.name) == []


def test_without_onnx_in_the_spec_nothing_is_made_and_nothing_is_asked(
    stores: Stores, tmp_path: Path
) -> None:
    model, rows = spec(), training_set(tmp_path)
    version = train(model, rows, stores).version
    case = opened(model, version, rows, stores, NOW)
    assert rules_onnx.check(case) == []
    assert onnx.DIGEST not in case.version.tags
