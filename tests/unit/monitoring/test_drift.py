"""Rules of the drift tests: no alarm without drift, an alarm with it."""

import numpy as np
import pandas as pd
import pytest

from pipelines.catalog import model
from pipelines.monitoring import drift
from pipelines.monitoring.monitor import _effects
from pipelines.monitoring.watched import watched
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
    found = _effects(watched(SPEC, old, new))
    assert len(found) >= 5
    assert [name for name, (_, drifted) in found.items() if drifted] == ["distance"]


def test_too_few_rows_are_never_drift() -> None:
    old, new = frame(3000, 1, 1.0), frame(100, 2, 1.0)
    new["distance"] = new["distance"] + 2000
    assert _effects(watched(SPEC, old, new)) == {}


def cut(rows: pd.DataFrame, name: str, how: str) -> pd.DataFrame:
    """The rows with a column that has no value any more, in each way that a dead feed may show."""
    if how == "absent":
        return rows.drop(columns=name)
    empty = {"nan": float("nan"), "none": None, "na": pd.NA}[how]
    return rows.assign(**{name: pd.Series([empty] * len(rows), rows.index, dtype="object")})


@pytest.mark.parametrize("how", ["nan", "none", "na", "absent"])
@pytest.mark.parametrize(
    "name", ["distance", "carrier", "origin_congestion__mean_departure_delay_1h", "origin_weather__visib"]
)
def test_a_column_without_a_value_any_more_has_vanished_and_moved_as_far_as_one_can(
    name: str, how: str
) -> None:
    seen = watched(SPEC, frame(1000, 1, 1.0), cut(frame(1000, 2, 1.0), name, how))
    assert list(seen.vanished) == [name]
    assert "no value in the newest 1,000 rows" in seen.vanished[name]
    assert _effects(seen)[name] == (1.0, True)
    assert [other for other, (_, drifted) in _effects(seen).items() if drifted] == [name]


AWKWARD = {
    "Int64": [1, 2, 3, None],
    "Float64": [1.5, 2.5, 3.5, None],
    "boolean": [True, False, True, None],
    "bool": [True, False, True, True],
    "uint16": [1, 2, 3, 4],
    "int8": [1, 2, 3, 4],
    "float32": [1.0, 2.0, 3.0, None],
    "string": ["a", "b", "c", None],
    "category": ["a", "b", "c", None],
    "int64[pyarrow]": [1, 2, 3, None],
    "bool[pyarrow]": [True, False, True, None],
    "object": [True, False, None, None],
}


@pytest.mark.parametrize("kind", AWKWARD)
def test_a_column_of_any_type_is_compared_and_its_shift_is_found(kind: str) -> None:
    values = AWKWARD[kind]
    old = pd.DataFrame({"x": pd.Series(values * 100, dtype=kind)})
    new = pd.DataFrame({"x": pd.Series([values[0]] * 400, dtype=kind)})
    assert _effects(watched(SPEC, old, new))["x"][1]
    assert not _effects(watched(SPEC, old, old))["x"][1]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (pd.date_range("2013-01-01", periods=400, tz="UTC"), "a time"),
        (pd.timedelta_range("1h", periods=400), "a time"),
        ([f"N{i}" for i in range(400)], "a value of its own"),
        ([None] * 400, "no value on either side"),
        ([1.0] * 5 + [None] * 395, "5 values on one side"),
    ],
)
def test_a_column_that_cannot_be_compared_is_named_with_the_reason(values: object, why: str) -> None:
    rows = pd.DataFrame({"x": values})
    seen = watched(SPEC, rows, rows)
    assert (seen.kinds, seen.vanished) == ({}, {})
    assert why in seen.left_out["x"]


def test_every_input_column_is_in_exactly_one_place() -> None:
    old, new = frame(1000, 1, 1.0), cut(frame(1000, 2, 1.0), "distance", "absent")
    old["only_then"], new["only_now"] = None, 1.0
    seen = watched(SPEC, old, new)
    places = [*seen.kinds, *seen.vanished, *seen.left_out]
    assert sorted(places) == sorted((set(old) | set(new)) - {"split", "event_timestamp", "label_known_at"})
    assert "no value at training" in seen.left_out["only_now"]


def test_without_any_row_nothing_has_vanished() -> None:
    old = frame(1000, 1, 1.0)
    seen = watched(SPEC, old, old.head(0))
    assert (seen.kinds, seen.vanished, _effects(seen)) == ({}, {}, {})
    assert seen.left_out["distance"] == "no row has arrived"
