"""Rules of the drift tests: no alarm without drift, an alarm with it."""

import numpy as np
import pandas as pd
import pytest

from pipelines.catalog import model
from pipelines.monitoring import drift
from pipelines.monitoring.monitor import _effects
from tests.training_sets import frame

SPEC = model("flight_delays")


def test_samples_of_one_source_are_seldom_called_different() -> None:
    draw = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        old, new = (pd.Series(draw.choice(list("abcdef"), 600)) for _ in range(2))
        alarms += drift.categorical(old, new)[0] < 0.05
    assert alarms <= 20


def test_a_shift_is_found_with_its_size() -> None:
    draw = np.random.default_rng(0)
    pvalue, effect = drift.numeric(pd.Series(draw.normal(size=2000)), pd.Series(draw.normal(1, size=2000)))
    assert pvalue < 1e-6
    assert effect == pytest.approx(0.38, abs=0.05)


def test_a_new_category_is_found() -> None:
    old, new = pd.Series(["a"] * 500 + ["b"] * 500), pd.Series(["a"] * 300 + ["c"] * 700)
    pvalue, effect = drift.categorical(old, new)
    assert pvalue < 1e-6
    assert effect > drift.EFFECT


def test_one_level_alone_is_no_drift() -> None:
    same = pd.Series(["a"] * 300)
    assert drift.categorical(same, same) == (1.0, 0.0)


def test_only_the_column_that_moved_is_named() -> None:
    old, new = frame(3000, 1, 1.0), frame(3000, 2, 1.0)
    new["distance"] = new["distance"] + 2000
    found = _effects(SPEC, old, new)
    assert len(found) >= 5
    assert [name for name, (_, drifted) in found.items() if drifted] == ["distance"]


def test_too_few_rows_are_never_drift() -> None:
    old, new = frame(3000, 1, 1.0), frame(100, 2, 1.0)
    new["distance"] = new["distance"] + 2000
    assert _effects(SPEC, old, new) == {}
