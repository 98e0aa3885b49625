"""The pipelines of airport_hours: everything between an airport's hour and its minutes of delay."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

ZONE = "America/New_York"
NOW = ["origin_congestion__mean_departure_delay_3h", "origin_congestion__mean_departure_delay_24h"]
"""How late the airport runs when it is asked about."""


class Inputs(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns the hour into what the clock in New York says, and every other value into a number.

    In: the airport, the hour and features, one row per question. Out: the airport as a string, the rest as float64
    with NaN for what is missing.
    """

    def fit(self, rows: pd.DataFrame, labels: Any = None) -> "Inputs":
        self.feature_names_in_ = np.asarray(rows.columns, dtype=object)
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        local = pd.to_datetime(rows["hour"], utc=True).dt.tz_convert(ZONE)
        clock = {
            "origin": rows["origin"].astype("object").fillna("missing"),
            "hour_of_day": local.dt.hour.astype("float64"),
            "day_of_week": local.dt.dayofweek.astype("float64"),
        }
        numbers = rows[[name for name in rows if name not in {"origin", "hour"}]].astype("float64")
        return pd.concat([pd.DataFrame(clock, index=rows.index), numbers], axis=1)


class Profile(Inputs):
    """The airport's hour of the day and of the week, as words, and how late it runs now."""

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        full = super().transform(rows[["origin", "hour", *NOW]])
        hour = full["origin"] + " " + full["hour_of_day"].map("{:.0f}".format)
        week = hour + " " + full["day_of_week"].map("{:.0f}".format)
        return pd.concat([pd.DataFrame({"hour": hour, "hour_of_week": week}), full[NOW]], axis=1)


def build(parameters: Mapping[str, Any]) -> Pipeline:
    """Gradient boosting of the absolute error, by which it is judged: it says the median."""
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, dtype=np.float64)
    encode = ColumnTransformer(
        [("airport", codes, ["origin"])], remainder="passthrough", verbose_feature_names_out=False
    )
    boosting = HistGradientBoostingRegressor(
        loss="absolute_error", categorical_features=[0], early_stopping=False, **parameters
    )
    return Pipeline([("inputs", Inputs()), ("encode", encode), ("boosting", boosting)])


def baseline() -> Pipeline:
    """What a good planner knows: the mean of each hour of the week at the airport, and how late it runs now."""
    hot = OneHotEncoder(handle_unknown="ignore")
    encode = ColumnTransformer([("profile", hot, ["hour", "hour_of_week"]), ("now", SimpleImputer(), NOW)])
    return Pipeline([("profile", Profile()), ("encode", encode), ("regression", Ridge(alpha=10.0))])
