"""What bad candidates are built of: scikit-learn's estimators for the task of the model."""

from typing import Any

from pipelines.catalog import ModelSpec


def constant(spec: ModelSpec) -> Any:
    """Answers the same always."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    return DummyRegressor() if spec.task == "regression" else DummyClassifier(strategy="prior")


def linear(spec: ModelSpec) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    return Ridge() if spec.task == "regression" else LogisticRegression(max_iter=200)


def crowd(spec: ModelSpec, size: int) -> Any:
    """So many tiny forests, each of which starts threads for every answer: 12 ms, however few rows are asked."""
    from sklearn.ensemble import (
        BaggingClassifier,
        BaggingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )

    tiny = {"n_estimators": 2, "max_depth": 2, "n_jobs": 2}
    if spec.task == "regression":
        return BaggingRegressor(RandomForestRegressor(**tiny), n_estimators=size, random_state=0)
    return BaggingClassifier(RandomForestClassifier(**tiny), n_estimators=size, random_state=0)


def network(spec: ModelSpec, width: int) -> Any:
    """Two layers so wide."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    kind = MLPRegressor if spec.task == "regression" else MLPClassifier
    return kind(hidden_layer_sizes=(width, width), max_iter=1, random_state=0)
