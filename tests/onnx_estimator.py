"""An estimator.py of what ONNX has forms for, and one of what it has not."""

from collections.abc import Mapping
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

WORDS = ["carrier", "origin", "dest"]
NUMBERS = ["distance", "origin_congestion__mean_departure_delay_1h"]


def build(parameters: Mapping[str, Any]) -> Pipeline:
    """A forest or a regression, as `kind` says."""
    kinds = {"forest": RandomForestClassifier(60, random_state=0), "regression": LogisticRegression()}
    encode = ColumnTransformer(
        [
            ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), WORDS),
            ("numbers", StandardScaler(), NUMBERS),
        ]
    )
    return make_pipeline(encode, kinds[parameters["kind"]])


def baseline() -> Pipeline:
    """A regression that knows the airports alone."""
    return make_pipeline(ColumnTransformer([("words", OneHotEncoder(), ["origin"])]), LogisticRegression())
