"""Rules of what is written into a model's files."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.scaffold.files.rendering import _ttl, parameters, rendered
from pipelines.scaffold.pilot import _module
from tests.own_tables import decided, orders, read

LENGTHS = st.integers(1, 60 * 24 * 4000).map(lambda minutes: timedelta(minutes=minutes))


@given(LENGTHS)
def test_values_live_as_long_as_they_are_looked_back_for_in_days_or_less_than_one(length: timedelta) -> None:
    unit, _, number = _ttl(length).partition("=")
    lives = timedelta(**{unit: int(number)})
    assert length <= lives < length + timedelta(days=1)
    assert not lives.days or not lives.seconds


@pytest.mark.parametrize("linear", [True, False], ids=["linear", "boosting"])
def test_an_estimator_takes_a_feature_that_has_no_value_at_all(tmp_path: Path, linear: bool) -> None:
    made = decided(orders(), tmp_path)
    made = replace(made, sizes=replace(made.sizes, linear=linear))
    with read(tmp_path / "data.csv") as (source, _):
        text = rendered(made, source, "ada")["pipelines/models/own/estimator.py"]
    known = {
        "ordered_at": pd.date_range("2025-01-01", periods=300, freq="h", tz="UTC"),
        "shop_id": 1,
        "channel": "web",
    }
    rows = pd.DataFrame(known | {"amount": np.arange(300.0), "own_history__last_returned": np.nan})
    model = _module(text).build(parameters(made)["parameters"]).fit(rows, np.arange(300) % 3 == 0)
    late = rows.tail(3).assign(own_history__last_returned=1.0)
    assert np.isfinite(model.predict_proba(late)).all()
