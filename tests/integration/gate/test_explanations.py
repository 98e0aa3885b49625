"""Rules about what a model is said to go by."""

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.inspection import permutation_importance

from pipelines.gate.report import explanations
from pipelines.gate.report.explanations import importance
from pipelines.gate.report.plots import draw
from pipelines.training.answers import NOT_INPUT, answers
from pipelines.training.train import estimator
from tests.judging import case
from tests.training_sets import frame, spec

TELLING = "origin_congestion__mean_departure_delay_1h"


@pytest.fixture(scope="module")
def fitted() -> Any:
    data = frame(3000, 0, 2.0)
    train, held = (data[data["split"] == name].reset_index(drop=True) for name in ("train", "holdout"))
    model = estimator(spec()).fit(train.drop(columns=list(NOT_INPUT)), train["label"])
    made = case(spec(), held, answers(model, held), model)
    made.stores = SimpleNamespace(settings=SimpleNamespace(threads=1))
    return made


@pytest.fixture(scope="module")
def found(fitted: Any) -> dict[str, Any]:
    return importance(fitted)


def test_the_column_that_tells_is_the_first(found) -> None:
    first, second = found["columns"][:2]
    assert first["name"] == TELLING
    assert first["mean"] > 5 * max(0.001, second["mean"])
    assert first["spread"] < first["mean"]


def test_what_the_model_leaves_out_has_no_importance(found) -> None:
    values = {column["name"]: column["mean"] for column in found["columns"]}
    assert values["tailnum"] == 0.0
    assert len(values) == 9


def test_a_view_counts_for_all_of_its_columns(found) -> None:
    views = {view["name"]: view["mean"] for view in found["views"]}
    assert set(views) == {"origin_congestion", "origin_weather"}
    assert views["origin_congestion"] > 10 * abs(views["origin_weather"])


def test_the_same_rows_give_the_same_importance(fitted, found) -> None:
    assert importance(fitted) == found


def test_many_copies_asked_at_once_are_answered_as_one_by_one(fitted, found, monkeypatch) -> None:
    monkeypatch.setattr(explanations, "AT_ONCE", 1)
    alone = importance(fitted)
    for kind in ("columns", "views"):
        assert found[kind]
        assert [each["name"] for each in alone[kind]] == [each["name"] for each in found[kind]]
        for one, many in zip(alone[kind], found[kind], strict=True):
            assert many["mean"] == pytest.approx(one["mean"], abs=1e-12)


def test_a_columns_importance_is_scikit_learns(fitted, found) -> None:
    """Other draws: they agree within what the draws of either leave open."""
    rows = fitted.held.sample(explanations.ROWS, random_state=0)
    inputs = rows[list(fitted.model.feature_names_in_)]
    theirs = permutation_importance(
        fitted.model, inputs, rows["label"], scoring="neg_log_loss", n_repeats=20, random_state=1
    )
    ours = {column["name"]: column["mean"] for column in found["columns"]}
    assert len(ours) == len(inputs.columns)
    for name, mean, spread in zip(inputs, theirs.importances_mean, theirs.importances_std, strict=True):
        assert ours[name] == pytest.approx(mean, abs=4 * spread + 1e-12), name


def test_a_classification_and_a_regression_have_their_own_plots(fitted, found, tmp_path) -> None:
    labels, said = fitted.labels, fitted.answers["candidate"]
    for task, wanted in (
        ("classification", {"calibration", "roc", "precision_recall", "confusion", "importance"}),
        ("regression", {"predicted", "residuals", "importance"}),
    ):
        asked = fitted.spec.model_copy(update={"task": task})
        paths = draw(asked, labels, {"candidate": said, "baseline": said * 0.9}, found, tmp_path / task)
        assert {path.stem for path in paths} == wanted
        assert all(path.stat().st_size > 5000 for path in paths)


def test_a_regressions_importance_is_in_its_own_loss(fitted) -> None:
    class Value(RegressorMixin, BaseEstimator):
        feature_names_in_ = ("distance", TELLING)

        def __sklearn_is_fitted__(self) -> bool:
            return True

        def fit(self, rows: pd.DataFrame, labels: Any = None) -> "Value":
            return self

        def predict(self, rows: pd.DataFrame) -> Any:
            return 3 * rows[TELLING].to_numpy()

    held = fitted.held.assign(label=3 * fitted.held[TELLING])
    made = case(fitted.spec.model_copy(update={"task": "regression"}), held, held["label"], Value())
    made.stores = fitted.stores
    found = importance(made)
    assert found["loss"] == "mae"
    assert [column["name"] for column in found["columns"]] == [TELLING, "distance"]
    assert found["columns"][0]["mean"] > 1
    assert found["columns"][1]["mean"] == 0
