"""The pipelines of flight_delays: everything between a request and a probability."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

CATEGORIES = ["carrier", "origin", "dest"]
TIMES = ["scheduled_departure", "scheduled_arrival"]
ZONE = "America/New_York"


class Timetable(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns the planned times into what the clock in New York says, and every other value into a number.

    In: entities, request fields and features, one row per flight. Out: the categories as strings, the rest as
    float64 with NaN for what is missing. The tail number itself is left out.
    """

    def fit(self, rows: pd.DataFrame, labels: Any = None) -> "Timetable":
        self.feature_names_in_ = np.asarray(rows.columns, dtype=object)
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        departure, arrival = (pd.DatetimeIndex(pd.to_datetime(rows[name], utc=True)) for name in TIMES)
        local = departure.tz_convert(ZONE)
        clock = {
            "minute_of_day": local.hour * 60 + local.minute,
            "day_of_week": local.dayofweek,
            "planned_minutes": (arrival - departure).total_seconds() / 60,
            "arrival_hour": arrival.hour,
        }
        words = rows[CATEGORIES].to_numpy("object", copy=True)
        words[pd.isna(words)] = "missing"
        numbers = rows[[c for c in rows if c not in (*CATEGORIES, "tailnum", *TIMES)]].astype("float64")
        told = pd.DataFrame(np.column_stack([*clock.values()]).astype("float64"), rows.index, [*clock])
        return pd.concat([pd.DataFrame(words, rows.index, CATEGORIES), told, numbers], axis=1)


def build(parameters: Mapping[str, Any]) -> Pipeline:
    """Gradient boosting on the timetable and all features; unknown categories count as missing."""
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=250, dtype=np.float64
    )
    encode = ColumnTransformer(
        [("categories", codes, CATEGORIES)], remainder="passthrough", verbose_feature_names_out=False
    )
    boosting = HistGradientBoostingClassifier(
        categorical_features=list(range(len(CATEGORIES))), early_stopping=False, **parameters
    )
    return Pipeline([("timetable", Timetable()), ("encode", encode), ("boosting", boosting)])


def baseline() -> Pipeline:
    """Logistic regression on the timetable alone: what anybody could tell without features."""
    hot = OneHotEncoder(handle_unknown="ignore", min_frequency=50)
    hours = OneHotEncoder(handle_unknown="ignore")
    encode = ColumnTransformer(
        [
            ("categories", hot, CATEGORIES),
            ("clock", hours, ["hour_of_day", "day_of_week"]),
        ]
    )
    regression = LogisticRegression(max_iter=200, C=1.0)
    return Pipeline([("timetable", Clock()), ("encode", encode), ("regression", regression)])


class Clock(Timetable):
    """The categories with hour and day of week; no feature."""

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        full = super().transform(rows[[*CATEGORIES, *TIMES]])
        full["hour_of_day"] = full["minute_of_day"] // 60
        return full[[*CATEGORIES, "hour_of_day", "day_of_week"]]
