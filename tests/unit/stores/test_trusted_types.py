"""Rules of which models can be registered: the usual ones of scikit-learn, and the others are refused in words."""

from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression, Ridge, TweedieRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, SplineTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from pipelines.contracts import EvergreenError
from pipelines.stores.tracking.model_files import _built, loadable

MODEL = "flight_delays"
USUAL = [
    RandomForestClassifier(5),
    ExtraTreesClassifier(5),
    DecisionTreeClassifier(),
    HistGradientBoostingClassifier(max_iter=3),
    CalibratedClassifierCV(LogisticRegression()),
    CalibratedClassifierCV(LogisticRegression(), method="isotonic"),
    StackingClassifier([("tree", DecisionTreeClassifier()), ("line", LogisticRegression())]),
    make_pipeline(StandardScaler(), MLPClassifier(max_iter=300)),
    make_pipeline(SplineTransformer(), SelectKBest(k=2), LogisticRegression()),
    make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()),
]
NUMBERS = [RandomForestRegressor(5), GradientBoostingRegressor(n_estimators=3), Ridge(), TweedieRegressor()]


class Bound:
    """What belongs to this process and cannot be written to a file."""

    def __getstate__(self) -> Any:
        raise TypeError("it holds a lock")


def bound() -> FunctionTransformer:
    step = FunctionTransformer()
    step.held = Bound()
    return step


def answers(made: Any, inputs: np.ndarray) -> np.ndarray:
    return made.predict_proba(inputs) if hasattr(made, "predict_proba") else made.predict(inputs)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("made", [*USUAL, *NUMBERS], ids=lambda made: str(made)[:40].split("\n")[0])
def test_the_usual_models_are_read_back_and_say_the_same(made: Any) -> None:
    from skops.io import dumps

    inputs = np.random.default_rng(1).random((150, 4))
    made.fit(inputs, inputs[:, 0] + 1 if made in NUMBERS else inputs[:, 0] > 0.5)
    loadable(made, MODEL)
    again = _built(dumps(made), MODEL)
    assert np.array_equal(answers(made, inputs), answers(again, inputs))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (KNeighborsClassifier(algorithm="kd_tree"), "types nobody reviewed: .*KDTree"),
        (
            make_pipeline(FunctionTransformer(lambda x: x + 1), LogisticRegression()),
            "nobody reviewed: .*lambda",
        ),
        (
            make_pipeline(bound(), LogisticRegression()),
            "cannot be written without pickle",
        ),
    ],
)
def test_a_model_nobody_could_load_is_refused_in_words(made: Any, why: str) -> None:
    inputs = np.random.default_rng(1).random((50, 4))
    made.fit(inputs, inputs[:, 0] > 0.5)
    with pytest.raises(EvergreenError, match=why):
        loadable(made, MODEL)
