"""The candidate that is planted to know nothing of a slice is planted where there is something to know."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.catalog import model
from pipelines.prove.gates import candidates

MANY, FEW = 400, 200


@pytest.mark.parametrize(("name", "most"), [("flight_delays", 1), ("airport_hours", 300.0)])
def test_labels_are_mixed_where_they_differ_and_nowhere_else(
    name: str, most: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    class Fits:
        def fit(self, inputs: pd.DataFrame, labels: np.ndarray) -> None:
            seen["labels"] = labels

    monkeypatch.setattr(candidates, "_own", lambda *_: Fits())
    inputs = pd.DataFrame({"origin": ["EWR"] * MANY + ["JFK"] * FEW})
    labels = pd.Series([0] * MANY + [0, most] * (FEW // 2))
    candidates.regressed(model(name), inputs, labels)
    assert (seen["labels"][:MANY] == 0).all()
    assert sorted(seen["labels"][MANY:]) == sorted(labels[MANY:])
    assert (seen["labels"][MANY:] != labels[MANY:]).any()
