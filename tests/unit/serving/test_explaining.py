"""Rules of an explanation: of any Pipeline as it stands, with its categories, gaps and times, whatever its task."""

import asyncio
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

from pipelines.serving.explaining import apart
from pipelines.serving.explaining.apart import TooLong
from pipelines.serving.explaining.mixing import Explained, Unexplained, explained
from pipelines.serving.served import answers_of

COLOURS, ROWS = ("red", "blue", "green"), 300
EXACT = 10**6


def _rows() -> pd.DataFrame:
    chance = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "colour": chance.choice([*COLOURS, None], ROWS),
            "at": pd.date_range("2013-01-01", periods=ROWS, freq="7h", tz="UTC").astype(
                "datetime64[us, UTC]"
            ),
            "whole": chance.integers(0, 9, ROWS),
            "gappy": np.where(chance.random(ROWS) < 0.3, np.nan, chance.normal(size=ROWS)),
            "unused": chance.normal(size=ROWS),
        }
    )


def _prepared(rows: pd.DataFrame) -> pd.DataFrame:
    numbers = {"hour": rows["at"].dt.hour * 1.0, "whole": rows["whole"] * 1.0, "gappy": rows["gappy"] * 1.0}
    return pd.DataFrame({"colour": rows["colour"].astype(object), **numbers})


def boosted(rows: pd.DataFrame, labels: Any) -> Any:
    """Trees on native categories, gaps and the hour of the day; `unused` is not used."""
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan
    )
    encode = make_column_transformer((codes, ["colour"]), remainder="passthrough")
    trees = HistGradientBoostingClassifier(categorical_features=[0], max_iter=20, min_samples_leaf=5)
    return make_pipeline(FunctionTransformer(_prepared), encode, trees).fit(rows, labels)


def asked(
    pipeline: Any,
    row: pd.DataFrame,
    background: pd.DataFrame,
    evaluations: int = EXACT,
    classes: Any = (),
    **more: Any,
) -> Explained:
    answer = np.atleast_1d(answers_of(pipeline, classes, row)[0])
    return explained(
        row, background, answer, lambda frame: answers_of(pipeline, classes, frame), evaluations, 7, **more
    )


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return _rows()


@pytest.fixture(scope="module")
def pipeline(rows: pd.DataFrame) -> Any:
    night = (rows["colour"] == "red") & (rows["at"].dt.hour > 6)
    risk = 2 * night + rows["gappy"].fillna(2) * rows["whole"] / 4 - 2
    return boosted(rows, np.random.default_rng(1).random(ROWS) < 1 / (1 + np.exp(-risk)))


@pytest.mark.parametrize("evaluations", [EXACT, 1_000])
def test_the_parts_of_an_answer_add_up_to_it(pipeline: Any, rows: pd.DataFrame, evaluations: int) -> None:
    background = rows.tail(50)
    found = asked(pipeline, rows.head(1), background, evaluations)
    assert found.inputs == tuple(rows.columns)
    assert found.shares.exact is (evaluations == EXACT)
    assert found.base[0] == pytest.approx(pipeline.predict_proba(background)[:, 1].mean(), abs=1e-12)
    answer = pipeline.predict_proba(rows.head(1))[0, 1]
    assert found.base[0] + found.shares.contributions.sum() == pytest.approx(answer, abs=1e-12)
    assert found.shares.contributions[found.inputs.index("unused"), 0] == 0
    assert np.abs(found.shares.contributions[:4, 0]).min() > 0


def test_an_estimate_lies_within_its_standard_errors_of_the_exact_values(
    pipeline: Any, rows: pd.DataFrame
) -> None:
    off = []
    for place in range(10):
        row, background = rows.iloc[[place]], rows.tail(50)
        exact, told = (asked(pipeline, row, background, many).shares for many in (EXACT, 1_000))
        assert (exact.exact, told.exact) == (True, False)
        sure = told.errors > 0
        off += [*((told.contributions - exact.contributions)[sure] / told.errors[sure])]
    assert len(off) >= 40
    assert np.mean(np.abs(off) < 2) > 0.85
    assert np.max(np.abs(off)) < 5


@pytest.mark.parametrize(
    "change",
    [{"colour": None}, {"colour": "unheard"}, {"gappy": np.nan}, {"whole": np.nan}, {"colour": np.nan}],
)
def test_a_value_that_is_missing_or_unheard_of_is_explained_as_any_other(
    pipeline: Any, rows: pd.DataFrame, change: dict[str, Any]
) -> None:
    row = rows.head(1).assign(**change)
    found = asked(pipeline, row, rows.tail(50))
    rise = pipeline.predict_proba(row)[0, 1] - found.base[0]
    assert found.shares.contributions.sum() == pytest.approx(rise, abs=1e-12)


def test_a_feature_that_no_background_row_has_can_contribute(pipeline: Any, rows: pd.DataFrame) -> None:
    background = rows.tail(50).assign(gappy=np.nan)
    found = asked(pipeline, rows.head(1).assign(gappy=2.0), background)
    assert found.shares.contributions[3, 0] != 0
    alike = asked(pipeline, rows.head(1).assign(gappy=np.nan), background)
    assert alike.shares.contributions[3, 0] == 0


def test_a_regression_is_explained_in_its_own_unit_by_coefficient_times_distance(rows: pd.DataFrame) -> None:
    numbers = rows[["whole", "unused"]].assign(
        **{f"x{at}": np.random.default_rng(at).normal(size=ROWS) for at in range(9)}
    )
    line = LinearRegression().fit(numbers, 40 * numbers["whole"] + numbers["x3"])
    row, background = numbers.head(1), numbers.tail(40)
    found = asked(line, row, background, 3_000)
    wanted = line.coef_ * (row.to_numpy()[0] - background.to_numpy().mean(axis=0))
    assert not found.shares.exact
    assert np.allclose(found.shares.contributions[:, 0], wanted, rtol=0, atol=1e-9)


def test_of_many_classes_each_is_explained_and_what_one_gains_others_lose(rows: pd.DataFrame) -> None:
    places = rows["colour"].map({name: place for place, name in enumerate(COLOURS)}).fillna(0).astype(int)
    pipeline, row = boosted(rows, places), rows.head(1)
    found = asked(pipeline, row, rows.tail(30), classes=COLOURS)
    assert found.shares.contributions.shape == (5, 3)
    whole = found.base + found.shares.contributions.sum(axis=0)
    assert np.allclose(whole, pipeline.predict_proba(row)[0], rtol=0, atol=1e-12)
    assert np.allclose(found.shares.contributions.sum(axis=1), 0, rtol=0, atol=1e-12)


def test_where_evaluations_are_few_rows_are_left_out_and_it_is_said(
    pipeline: Any, rows: pd.DataFrame
) -> None:
    more = pd.DataFrame({f"x{at}": rows["unused"] + at for at in range(100)})
    wide = pd.concat([rows, more], axis=1)
    found = asked(pipeline, wide.head(1), wide.tail(60), 1_000)
    assert found.rows == 2
    assert asked(pipeline, rows.head(1), rows.tail(60), 1_000).rows == 60


def test_the_same_question_has_the_same_numbers(pipeline: Any, rows: pd.DataFrame) -> None:
    once_, again = (asked(pipeline, rows.head(1), rows.tail(60), 1_000).shares for _ in range(2))
    assert not once_.exact
    assert np.array_equal(once_.contributions, again.contributions)


def test_an_answer_that_the_model_does_not_give_again_is_not_explained(
    pipeline: Any, rows: pd.DataFrame
) -> None:
    with pytest.raises(Unexplained, match="does not give this answer again"):
        explained(rows.head(1), rows.tail(9), np.array([0.123]), lambda frame: [0.5] * len(frame), 1_000, 0)


def test_rows_that_lack_an_input_name_it_and_the_remedy(pipeline: Any, rows: pd.DataFrame) -> None:
    with pytest.raises(Unexplained, match="lack whole; train it again"):
        asked(pipeline, rows.head(1), rows.drop(columns="whole"))
    with pytest.raises(Unexplained, match="lack rows"):
        asked(pipeline, rows.head(1), rows.head(1))


def test_a_model_that_fails_on_mixed_rows_is_refused_without_a_word_of_the_values(rows: pd.DataFrame) -> None:
    def touchy(frame: pd.DataFrame) -> list[float]:
        if frame["colour"].nunique() > 1:
            raise ValueError(f"cannot take {frame['colour'].tolist()}")
        return [0.5] * len(frame)

    with pytest.raises(Unexplained, match="mixed with others") as refused:
        explained(rows.head(1), rows.tail(9), np.array([0.5]), touchy, 1_000, 0)
    assert not any(colour in str(refused.value) for colour in COLOURS)


@pytest.mark.parametrize("looks", [3, 10**9])
def test_it_stands_aside_while_there_are_questions_and_comes_to_an_end_in_any_case(
    looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "STEP_ASIDE", 0.05)
    looked = []
    made = apart.Apart(30, lambda: len(looked) < looks and looked.append(1) is None)
    assert asyncio.run(made.run(lambda go_on: go_on() or "done")) == "done"
    assert len(looked) == looks or 1 <= len(looked) < 1_000
    made.close()


def test_an_explanation_can_be_ended_between_two_calls(pipeline: Any, rows: pd.DataFrame) -> None:
    calls = []

    def until_three() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise TooLong

    with pytest.raises(TooLong):
        asked(pipeline, rows.head(1), rows.tail(100), 100_000, go_on=until_three)
    assert len(calls) == 3
