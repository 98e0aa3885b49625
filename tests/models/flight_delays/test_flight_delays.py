"""Rules of flight_delays on made-up flights: its labels counted one by one, and what it answers."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.serving.schemas import example
from pipelines.training.contract import check
from pipelines.training.train import baseline, estimator
from pipelines.training.training_set import given
from tests.asked import moments

BEGIN = datetime(2013, 3, 1, 10)  # noqa: DTZ001 - the SQL's times are naive UTC
TOLD = "origin_congestion__mean_departure_delay_1h"


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return catalog.model("flight_delays")


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    """Two thousand flights, of which some were cancelled and some are a quarter of an hour late to the minute."""
    draw, count = np.random.default_rng(5), 2000
    planned = BEGIN + pd.to_timedelta(draw.integers(0, 20 * 24 * 60, count), unit="min")
    late = pd.Series(draw.integers(-40, 90, count), dtype="Int64").mask(draw.random(count) < 0.03)
    return pd.DataFrame(
        {
            "carrier": draw.choice(["UA", "B6", "EV"], count),
            "origin": draw.choice(["EWR", "JFK"], count),
            "dest": draw.choice(["IAH", "BOS"], count),
            "tailnum": draw.choice(["N1", "N2", None], count),
            "scheduled_departure": planned,
            "scheduled_arrival": planned + timedelta(hours=2),
            "distance": 1400,
            "arrival_delay": late,
            "available_at": planned + pd.to_timedelta(120 + late.fillna(0).astype(int), unit="min"),
        }
    )


@pytest.fixture(scope="module")
def sql(flights: pd.DataFrame) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.register("flights", flights)
        yield connection


def test_a_flight_is_late_from_fifteen_minutes_on_and_asked_about_two_hours_before_it_leaves(
    spec: ModelSpec, sql: duckdb.DuckDBPyConnection, flights: pd.DataFrame
) -> None:
    """What never arrived has no label; the others' is known once the flight is in."""
    landed = flights[flights["arrival_delay"].notna()].reset_index(drop=True)
    assert 0 < len(landed) < len(flights)
    assert {14, 15} <= set(landed["arrival_delay"])
    found = sql.execute(spec.label_sql, given(spec)).df()
    assert len(found) == len(landed)
    for row, flight in zip(found.to_dict("records"), landed.to_dict("records"), strict=True):
        assert row["label"] == (flight["arrival_delay"] >= 15)
        assert row["event_timestamp"] == flight["scheduled_departure"] - timedelta(hours=2)
        assert row["label_known_at"] == flight["available_at"] > row["event_timestamp"]


def test_it_learns_and_answers_also_without_features(spec: ModelSpec, sql: duckdb.DuckDBPyConnection) -> None:
    check(spec)
    rows = sql.execute(spec.label_sql, given(spec)).df()
    asked, label = rows[[*spec.entities, *spec.request]], rows["label"]
    known = asked.assign(**{TOLD: 30 * label + np.random.default_rng(1).normal(0, 5, len(label))})
    said = estimator(spec).fit(known, label).predict_proba(known)[:, 1]
    assert roc_auc_score(label, said) > 0.98
    for made in (estimator(spec), baseline(spec)):
        fitted = made.fit(known, label)
        for odd in ({TOLD: np.nan}, {"carrier": "ZZ", "tailnum": None}):
            answers = fitted.predict_proba(known.head(20).assign(**odd))[:, 1]
            assert ((answers > 0) & (answers < 1)).all()


def test_the_hour_it_reads_is_that_of_new_york(spec: ModelSpec, sql: duckdb.DuckDBPyConnection) -> None:
    """On the day on which clocks go forward, 11:00 UTC is seven in the morning there, and six the day before."""
    rows = sql.execute(spec.label_sql, given(spec)).df().head(2)
    days = pd.to_datetime(["2013-03-09T11:00:00Z", "2013-03-10T11:00:00Z"])
    asked = rows[[*spec.entities, *spec.request]].assign(scheduled_departure=days, scheduled_arrival=days)
    clock = estimator(spec)["timetable"].fit(asked).transform(asked)
    assert clock["minute_of_day"].tolist() == [6 * 60, 7 * 60]


def test_serving_asks_for_the_features_of_the_horizon_before_departure(spec: ModelSpec) -> None:
    when = datetime.fromisoformat(example(spec)["request"]["scheduled_departure"])
    assert moments(spec, TOLD) == [when - timedelta(hours=2)]
