"""The shorter way through a Pipeline: what it says is what the Pipeline says, to the bit, or it is not taken."""

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from pipelines.serving.shortcuts import shortened
from pipelines.serving.shortcuts.boosting import Boosting
from pipelines.serving.shortcuts.columns import REMEMBERED, Columns
from pipelines.serving.shortcuts.pipeline import Shortened
from pipelines.serving.shortcuts.trees import FEW, Trees

WORDS = ["a", "b", "c", "missing"]


class Halved(TransformerMixin, BaseEstimator):
    """A step of somebody's own."""

    def fit(self, rows: pd.DataFrame, labels: Any = None) -> "Halved":
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(x=rows["x"] / 2)


def made(rows: int, seed: int = 0) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"word": chance.choice(WORDS, rows).astype(object), "x": chance.normal(size=rows),
         "other": chance.choice(WORDS[:3], rows).astype(object), "n": chance.integers(0, 9, rows)}
    )  # fmt: skip
    frame.loc[chance.random(rows) < 0.2, "x"] = np.nan
    return frame


def coded(**more: Any) -> ColumnTransformer:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, **more)
    return ColumnTransformer([("codes", codes, ["word", "other"])], remainder="passthrough")


CATEGORIES = {"categorical_features": [0, 1], "max_iter": 15}
PIPELINES = {
    "two classes": Pipeline([("own", Halved()), ("c", coded()), ("m", HistGradientBoostingClassifier(**CATEGORIES))]),
    "few categories kept": make_pipeline(coded(max_categories=3), HistGradientBoostingClassifier(**CATEGORIES)),
    "no native categories": make_pipeline(coded(), HistGradientBoostingClassifier(max_iter=15)),
    "three classes": make_pipeline(coded(), HistGradientBoostingClassifier(**CATEGORIES)),
    "absolute error": make_pipeline(coded(), HistGradientBoostingRegressor(loss="absolute_error", **CATEGORIES)),
    "poisson": make_pipeline(coded(), HistGradientBoostingRegressor(loss="poisson", **CATEGORIES)),
    "a frame of numbers": make_pipeline(
        ColumnTransformer([("numbers", "passthrough", ["x", "n"])]).set_output(transform="pandas"),
        HistGradientBoostingRegressor(max_iter=15),
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=PIPELINES)
def fitted(request: pytest.FixtureRequest) -> Pipeline:
    rows = made(400)
    labels = (rows["x"].fillna(0) + (rows["word"] == "a") + rows["n"] / 5).to_numpy()
    classes = pd.qcut(labels, 3 if request.param == "three classes" else 2, labels=False)
    pipeline = PIPELINES[request.param]
    return pipeline.fit(rows, classes if hasattr(pipeline[-1], "classes_") or "Classifier" in repr(pipeline[-1])
                        else np.exp(labels))  # fmt: skip


@pytest.fixture(scope="module")
def short(fitted: Pipeline) -> Shortened:
    found = shortened(fitted, made(2))
    assert isinstance(found, Shortened)
    return found


def said(model: Any, rows: pd.DataFrame) -> Any:
    return model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)


ROWS = st.lists(
    st.tuples(
        st.sampled_from([*WORDS, "never seen", ""]),
        st.floats(-4, 4) | st.just(float("nan")) | st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from([*WORDS, "never seen"]),
        st.integers(-(2**40), 2**40),
    ),
    min_size=1,
    max_size=9,
)


@settings(max_examples=60)
@given(rows=ROWS)
def test_it_says_what_the_pipeline_says_to_the_bit(
    fitted: Pipeline, short: Shortened, rows: list[tuple[Any, ...]]
) -> None:
    frame = pd.DataFrame(rows, columns=["word", "x", "other", "n"]).astype({"word": object, "other": object})
    assert np.array_equal(said(short, frame), said(fitted, frame))


@pytest.mark.parametrize("count", [1, FEW, FEW + 1])
def test_few_rows_and_many_are_answered_alike(fitted: Pipeline, short: Shortened, count: int) -> None:
    rows = made(count, seed=count)
    assert np.array_equal(said(short, rows), said(fitted, rows))


def test_trees_without_a_split_are_walked_too() -> None:
    rows = made(50)[["x", "n"]]
    alone = HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=50).fit(rows, rows["n"])
    assert {len(tree.nodes) for (tree,) in alone._predictors} == {1}
    assert np.array_equal(Boosting(alone).predict(rows[:3].to_numpy("float64")), alone.predict(rows[:3]))


def test_a_walk_that_goes_astray_is_not_taken(fitted: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Trees.leaves
    monkeypatch.setattr(Trees, "leaves", lambda *given: right(*given)[:, ::-1])
    assert shortened(fitted, made(2)) is fitted


def test_what_answers_otherwise_is_not_taken(
    fitted: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = Boosting.raw
    monkeypatch.setattr(Boosting, "raw", lambda *given: np.nextafter(right(*given), np.inf))
    with caplog.at_level(logging.WARNING, "evergreen.serving"):
        assert shortened(fitted, made(2)) is fitted
    assert "not taken" in caplog.text


@pytest.mark.parametrize(
    "pipeline",
    [
        make_pipeline(coded(), LogisticRegression()),
        make_pipeline(
            ColumnTransformer([("hot", OneHotEncoder(), ["word"]), ("scaled", StandardScaler(), ["n"])]),
            HistGradientBoostingClassifier(max_iter=2),
        ),
    ],
)
def test_what_is_not_known_is_asked_as_it_is(pipeline: Pipeline) -> None:
    rows = made(60).fillna(0)
    assert shortened(pipeline.fit(rows, rows["n"] > 4), rows[:1]) is pipeline


def test_rows_that_have_no_shorter_way_are_answered_by_the_pipeline() -> None:
    rows = made(60)[["x", "n"]]
    pipeline = make_pipeline(HistGradientBoostingRegressor(max_iter=2)).fit(rows, rows["n"])
    short = shortened(pipeline, rows[:1])
    assert isinstance(short, Shortened)
    as_words = rows[:5].astype({"n": object})
    assert np.array_equal(short.predict(as_words), pipeline.predict(as_words))


def test_a_flood_of_unknown_words_is_not_remembered() -> None:
    columns = Columns(coded().fit(made(50)))
    codes = columns._parts[0][2]
    assert codes is not None
    codes._known[0] = {(str, str(number)): 0.0 for number in range(REMEMBERED)}
    assert np.isnan(columns.transform(made(1).assign(word="never seen"))[0, 0])
    assert len(codes._known[0]) == REMEMBERED
