"""The pipelines of card_fraud: everything between a payment and a probability."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

NOT_NUMBERS = ["customer_id", "terminal_id", "happened_at"]
PLACES = ["customer_home__x", "customer_home__y", "terminal_place__x", "terminal_place__y"]


class Payment(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns a payment and its features into numbers; NaN for what is missing.

    In: entities, request fields and features, one row per payment. Out: float64. Who pays where is left out, and of
    the places only how far apart they are is kept: the model shall not know a terminal by where it stands.
    """

    def fit(self, rows: pd.DataFrame, labels: Any = None) -> "Payment":
        self.feature_names_in_ = np.asarray(rows.columns, dtype=object)
        return self

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        happened = pd.to_datetime(rows["happened_at"], utc=True)
        numbers = rows[[c for c in rows if c not in (*NOT_NUMBERS, *PLACES)]].astype("float64")
        homes, places = (rows[pair].astype("float64").to_numpy() for pair in (PLACES[:2], PLACES[2:]))
        known = {
            "minute_of_day": (happened.dt.hour * 60 + happened.dt.minute).astype("float64"),
            "distance": np.sqrt(((homes - places) ** 2).sum(axis=1)),
            "times_usual": numbers["amount"] / numbers["customer_spending__mean_amount_30d"],
            "share_reported": numbers["terminal_risk__reports_28d"]
            / numbers["terminal_risk__payments_28d"].clip(lower=1),
        }
        return pd.concat([numbers, pd.DataFrame(known, index=rows.index)], axis=1)


def build(parameters: Mapping[str, Any]) -> Pipeline:
    """Gradient boosting on the payment and all features; no weights, so that it says what happens."""
    boosting = HistGradientBoostingClassifier(early_stopping=False, **parameters)
    return Pipeline([("payment", Payment()), ("boosting", boosting)])


def baseline() -> Pipeline:
    """Logistic regression on the amount and the time of day: what anybody could tell without features."""
    regression = LogisticRegression(max_iter=200, C=1.0)
    return Pipeline([("payment", Bare()), ("scale", StandardScaler()), ("regression", regression)])


class Bare(Payment):
    """Amount and minute of the day; no feature."""

    def transform(self, rows: pd.DataFrame) -> pd.DataFrame:
        happened = pd.to_datetime(rows["happened_at"], utc=True)
        minute = (happened.dt.hour * 60 + happened.dt.minute).astype("float64")
        return pd.DataFrame({"amount": rows["amount"].astype("float64"), "minute_of_day": minute})
