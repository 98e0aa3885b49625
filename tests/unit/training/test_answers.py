"""Rules of a model's answers: one number per row, or one per class in the spec's order, kept and read to the bit."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipelines.contracts import EvergreenError
from pipelines.training.answers import answered, answers, apart, as_column, digest_of, from_column
from pipelines.training.training_set import _counted
from tests.judging import spec

ROWS = pd.DataFrame({"x": [1.0, 2.0]})


def model(said: Any, classes: Any) -> Any:
    found = np.asarray(said, dtype="float64")
    return SimpleNamespace(
        feature_names_in_=["x"], classes_=np.asarray(classes), predict_proba=lambda rows: found[: len(rows)]
    )


def test_probabilities_stand_in_the_specs_order_whatever_order_the_model_has() -> None:
    said = answers(model([[0.5, 0.2, 0.3], [0.1, 0.0, 0.9]], [2, 0, 1]), ROWS, 3)
    np.testing.assert_array_equal(said, [[0.2, 0.3, 0.5], [0.0, 0.9, 0.1]])


def test_a_class_that_a_model_never_saw_has_no_chance_with_it() -> None:
    said = answers(model([[0.4, 0.6]] * 2, [0, 2]), ROWS, 3)
    np.testing.assert_array_equal(said, [[0.4, 0.0, 0.6]] * 2)


@pytest.mark.parametrize("classes", [[0, 1, 3], [0, 1], [-1, 0, 1]])
def test_a_model_of_other_classes_is_refused(classes: list[int]) -> None:
    with pytest.raises(EvergreenError, match=r"spec\.yaml has 3, counted from 0"):
        answers(model([[0.2, 0.3, 0.5]] * 2, classes), ROWS, 3)


def test_a_model_of_many_classes_is_no_binary_one() -> None:
    with pytest.raises(EvergreenError, match=r"tells 3 classes apart.*task: multiclass"):
        answers(model([[0.2, 0.3, 0.5]] * 2, [0, 1, 2]), ROWS)


def test_no_rows_have_no_answers_of_either_shape() -> None:
    assert [answered(None, ROWS.head(0), outputs).shape for outputs in (1, 3)] == [(0,), (0, 3)]


@given(
    arrays.arrays(
        "float64", arrays.array_shapes(min_dims=1, max_dims=2, max_side=6), elements=st.floats(0, 1)
    )
)
def test_answers_of_any_shape_come_back_from_a_table_to_the_bit(said: np.ndarray) -> None:
    column = pd.DataFrame({"said": as_column(said)})["said"]
    again = from_column(column)
    np.testing.assert_array_equal(again, said)
    assert digest_of(again) == digest_of(np.asfortranarray(said))
    assert apart(said, again).shape == (len(said),)
    assert not apart(said, again).any()


def test_rows_of_unequal_length_are_no_answers() -> None:
    with pytest.raises(ValueError, match="same shape"):
        from_column(pd.Series([[0.5, 0.5], [1.0]]))


@pytest.mark.parametrize(
    ("classes", "given_", "wanted"),
    [
        (("a", "b", "c"), ["c", "a", "b", "a"], [2, 0, 1, 0]),
        ((30, 10, 20), [10, 20, 30], [1, 2, 0]),
        ((30, 10, 20), [10.0, 30.0], [1, 0]),
    ],
)
def test_a_label_is_the_place_of_its_class(classes: Any, given_: list[Any], wanted: list[int]) -> None:
    found = _counted(_of(classes), pd.DataFrame({"label": given_}))["label"]
    assert found.tolist() == wanted
    assert found.dtype == "int64"


@pytest.mark.parametrize(
    ("classes", "odd"),
    [
        (("a", "b", "c"), "d"), (("1", "2", "3"), 1), ((1, 2, 3), "1"), ((1, 2, 3), 1.5), ((1, 2, 3), None),
    ],
)  # fmt: skip
def test_a_label_that_is_no_class_is_refused_naming_it(classes: Any, odd: Any) -> None:
    rows = pd.DataFrame({"label": pd.Series([classes[0], odd], dtype="object")})
    with pytest.raises(EvergreenError, match=rf"label.sql gives {odd!r}, which is none of label.classes"):
        _counted(_of(classes), rows)


def _of(classes: Any) -> Any:
    asked = spec("multiclass")
    return asked.model_copy(update={"label": asked.label.model_copy(update={"classes": classes})})
