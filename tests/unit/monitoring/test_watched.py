"""Which columns of two samples can be compared, which vanished, and that none is left out without a word."""

import numpy as np
import pandas as pd
import pytest

from pipelines.catalog import model
from pipelines.contracts import DriftFinding
from pipelines.monitoring.drift.column import INPUT
from pipelines.monitoring.drift.reference import made
from pipelines.monitoring.drift.rows import middle, sketched
from pipelines.monitoring.drift.verdict import look
from pipelines.monitoring.watched import watched
from tests.training_sets import frame

SPEC = model("flight_delays")


def found(old: pd.DataFrame, new: pd.DataFrame) -> dict[str, DriftFinding]:
    """What is said of each column's values, those that vanished among them."""
    seen = watched(SPEC, old, new)
    kinds, half = {**seen.kinds, **seen.gone}, middle(old["label"])
    told = look(made(sketched(old, kinds, half), 7), sketched(new, kinds, half), 2.0, 0.05)
    return {each.column: each for each in told if each.family == INPUT}


def test_only_the_column_that_moved_is_named() -> None:
    old, new = frame(3000, 1, 1.0), frame(3000, 2, 1.0)
    new["distance"] = new["distance"] + 2000
    said = found(old, new)
    assert len(said) >= 7
    assert [name for name, each in said.items() if each.moved] == ["distance"]
    assert said["distance"].towards == "place"


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
def test_a_column_without_a_value_any_more_has_vanished_and_moved(name: str, how: str) -> None:
    old, new = frame(1000, 1, 1.0), cut(frame(1000, 2, 1.0), name, how)
    seen = watched(SPEC, old, new)
    assert list(seen.vanished) == list(seen.gone) == [name]
    assert "no value in the newest 1,000 rows" in seen.vanished[name]
    said = found(old, new)
    assert [other for other, each in said.items() if each.moved] == [name]
    assert (said[name].towards, said[name].effect > 0.7) == ("missing values", True)


@pytest.mark.parametrize("share", [0.2, 0.62, 0.99])
@pytest.mark.parametrize("name", ["distance", "carrier"])
def test_a_changed_share_of_missing_values_is_drift_of_its_own_kind(name: str, share: float) -> None:
    old, new = frame(2000, 1, 1.0), frame(2000, 2, 1.0)
    new[name] = new[name].astype("object").mask(np.random.default_rng(0).random(2000) < share)
    said = found(old, new)
    assert [other for other, each in said.items() if each.moved] == [name]
    assert said[name].towards == "missing values"
    assert said[name].effect == pytest.approx(share, abs=0.04)


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
    when = pd.date_range("2013-01-01", periods=400, freq="6h", tz="UTC")
    rest = {"event_timestamp": when, "label": [0, 1] * 200}
    old = pd.DataFrame({"x": pd.Series(values * 100, dtype=kind), **rest})
    new = pd.DataFrame({"x": pd.Series([values[0]] * 400, dtype=kind), **rest})
    assert found(old, new)["x"].moved
    assert not found(old, old)["x"].moved


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (pd.date_range("2013-01-01", periods=400, tz="UTC"), "a time"),
        (pd.timedelta_range("1h", periods=400), "a time"),
        ([f"N{i}" for i in range(400)], "a value of its own"),
        ([None] * 400, "no value on either side"),
        ([1.0] * 5 + [None] * 395, "5 values at training"),
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


def test_a_rare_value_that_no_sample_holds_has_not_vanished_and_is_compared() -> None:
    """One row of fifty has it; the samples hold none of these."""
    whole = [frame(20_000, seed, 1.0) for seed in (1, 2)]
    for each in whole:
        each["rare"] = np.where(np.arange(20_000) % 50 == 0, 1.5, np.nan)
    samples = [each[each["rare"].isna()].head(1000) for each in whole]
    assert watched(SPEC, *samples).left_out["rare"] == "no value on either side"
    seen = watched(SPEC, *samples, (whole[0], whole[1]))
    assert (seen.kinds["rare"], seen.vanished) == ("numeric", {})
    gone = watched(SPEC, *samples, (whole[0], whole[1].assign(rare=np.nan)))
    assert gone.vanished["rare"] == "no value in the newest 20,000 rows; 2% had one at training"
    assert gone.gone == {"rare": "numeric"}


def test_without_any_row_nothing_has_vanished() -> None:
    old = frame(1000, 1, 1.0)
    seen = watched(SPEC, old, old.head(0))
    assert (seen.kinds, seen.vanished, seen.gone) == ({}, {}, {})
    assert seen.left_out["distance"] == "no row has arrived"
