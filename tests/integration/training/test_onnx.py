"""Rules of the ONNX form: made beside the model, signed with it, and refused where it answers otherwise."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("skl2onnx", reason="`make onnx` installs what makes ONNX files")
pytest.importorskip("onnxruntime", reason="`make onnx` installs what runs ONNX files")

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
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
from tests.onnx_estimator import NUMBERS
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


HISTOGRAMS = {
    "of two classes": (HistGradientBoostingClassifier(max_iter=30), [0.0], 1e-6),
    "of many classes": (HistGradientBoostingClassifier(max_iter=20), [-0.5, 0.5, 1.5], 1e-6),
    "a number": (HistGradientBoostingRegressor(max_iter=30), None, 1e-5),
}


def histograms(last: Any) -> Pipeline:
    """Boosting on histograms behind the columns as they are, which rounds no value twice."""
    return make_pipeline(ColumnTransformer([("numbers", "passthrough", NUMBERS)]), last)


@pytest.mark.parametrize("kind", HISTOGRAMS)
def test_boosting_on_histograms_answers_in_onnx_as_it_does_also_where_values_are_missing(kind: str) -> None:
    estimator, cuts, bound = HISTOGRAMS[kind]
    data = frame(3000, 0, 2.0)
    inputs = data[NUMBERS].astype("float64")
    truth = inputs[NUMBERS[1]] + inputs[NUMBERS[0]] / 3000
    labels = truth if cuts is None else np.digitize(truth, cuts)
    inputs = inputs.mask(np.random.default_rng(0).random(inputs.shape) < 0.2)
    model = histograms(estimator).fit(inputs, labels)
    wanted = model.predict(inputs) if cuts is None else model.predict_proba(inputs)
    wanted = wanted[:, 1] if kind == "of two classes" else wanted
    assert len(np.unique(wanted)) > 50
    assert inputs.isna().any(axis=1).sum() > 500
    assert abs(OnnxModel(exported(model, inputs)).answers(inputs) - wanted).max() < bound


def test_boosting_that_splits_by_categories_is_refused_in_words_not_converted_to_another_model() -> None:
    """skl2onnx writes such a split as one by size, whose answers are others."""
    inputs = pd.DataFrame({name: np.arange(2000.0) % (6 + place) for place, name in enumerate(NUMBERS)})
    labels = inputs[NUMBERS[0]].isin([1, 4]).astype(int)
    estimator = HistGradientBoostingClassifier(max_iter=5, categorical_features=[0])
    with pytest.raises(EvergreenError, match="where it splits by categories"):
        exported(histograms(estimator).fit(inputs, labels), inputs)


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
    said = r"HistGradientBoostingClassifier has no ONNX form here \(Timetable: skl2onnx knows no such step\)"
    with pytest.raises(EvergreenError, match=said):
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
