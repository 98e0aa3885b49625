"""Rules of airport_hours on a few made-up days: its labels and its own view counted slowly, and what it answers."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pytest

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.serving.schemas import example
from pipelines.settings import PROJECT
from pipelines.training.contract import check
from pipelines.training.train import baseline, estimator
from pipelines.training.training_set import given
from tests.asked import moments

BEGIN = datetime(2013, 3, 1)  # noqa: DTZ001 - the SQL's times are naive UTC
DAYS, HOUR = 10, timedelta(hours=1)
END = BEGIN + timedelta(days=DAYS)
KEY = ["origin", "event_timestamp"]


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return catalog.model("airport_hours")


@pytest.fixture(scope="module")
def departures() -> pd.DataFrame:
    """Flights by day and evening, some hours without any, a few of them most of a day late."""
    draw, count = np.random.default_rng(3), 2000
    planned = BEGIN + pd.to_timedelta(draw.integers(0, DAYS * 24 * 60, count), unit="min")
    planned = planned[planned.hour >= 9]
    late = np.where(draw.random(len(planned)) < 0.02, 1300, draw.integers(-20, 200, len(planned)))
    rows = pd.DataFrame({"origin": draw.choice(["EWR", "JFK"], len(planned)), "scheduled_departure": planned})
    return rows.assign(departure_delay=late, available_at=planned + pd.to_timedelta(late, unit="min"))


@pytest.fixture(scope="module")
def sql(departures: pd.DataFrame) -> Iterator[duckdb.DuckDBPyConnection]:
    """The departures that were known at the end, as silver shows them."""
    with duckdb.connect() as connection:
        known = departures[departures["available_at"] <= END]
        assert len(known) > 1000
        connection.register("departures", known)
        yield connection


def hours(departures: pd.DataFrame) -> dict[tuple[str, datetime], pd.DataFrame]:
    """The departures of each airport and hour."""
    hour = departures["scheduled_departure"].dt.floor("h")
    return {(o, h): rows for (o, h), rows in departures.groupby(["origin", hour])}


def test_an_hours_label_is_the_mean_of_its_flights_and_known_when_all_have_left(
    spec: ModelSpec, sql: duckdb.DuckDBPyConnection, departures: pd.DataFrame
) -> None:
    found = sql.execute(spec.label_sql, given(spec)).df().set_index(["origin", "hour"])
    slow = hours(departures[departures["available_at"] <= END])
    assert set(found.index) == set(slow)
    for (origin, hour), rows in slow.items():
        row = found.loc[(origin, hour)]
        assert row["label"] == pytest.approx(rows["departure_delay"].clip(upper=180).mean())
        assert row["event_timestamp"] == hour - timedelta(hours=3)
        assert row["label_known_at"] == max(hour + timedelta(hours=24), rows["available_at"].max())


def test_its_own_view_tells_the_hour_three_hours_ahead_as_it_was_and_as_was_known_then(
    sql: duckdb.DuckDBPyConnection, departures: pd.DataFrame
) -> None:
    text, start = (PROJECT / "feature_repo" / "origin_hours.sql").read_text(), END - timedelta(days=2)
    found = sql.execute(text, {"start": start, "end": END}).df()
    assert not found.duplicated(KEY).any()
    slow = {}
    for origin in ("EWR", "JFK"):
        for number in range(1, int((END - start) / HOUR) + 1):
            told = before(departures[departures["origin"] == origin], start + number * HOUR)
            if told:
                slow[origin, start + number * HOUR] = told
    assert len(slow) > 50
    assert set(found.set_index(KEY).index) == set(slow)
    for row in found.to_dict("records"):
        for name, value in slow[row["origin"], row["event_timestamp"]].items():
            assert row[name] == pytest.approx(value, nan_ok=True), (name, row)


def before(rows: pd.DataFrame, tick: datetime) -> dict[str, float]:
    """What one could say at a tick of the hour that begins three hours later; nothing where no flight was in a week."""
    days = []
    for ago in range(1, 8):
        hour = tick + timedelta(hours=3) - timedelta(days=ago)
        mine = rows[rows["scheduled_departure"].between(hour, hour + HOUR, inclusive="left")]
        days.append(mine[mine["available_at"] <= hour + timedelta(hours=21)]["departure_delay"])
    week = pd.concat(days)
    if week.empty:
        return {}
    return {
        "departures_yesterday": len(days[0]), "mean_departure_delay_yesterday": days[0].clip(upper=180).mean(),
        "departures_week_ago": len(days[6]), "mean_departure_delay_week_ago": days[6].clip(upper=180).mean(),
        "departures_7d": len(week), "mean_departure_delay_7d": week.clip(upper=180).mean(),
        "late_share_7d": (week >= 15).mean(),
    }  # fmt: skip


def test_it_learns_and_answers_also_without_features(spec: ModelSpec, sql: duckdb.DuckDBPyConnection) -> None:
    check(spec)
    rows = sql.execute(spec.label_sql, given(spec)).df()
    names = [f"origin_congestion__mean_departure_delay_{span}" for span in ("1h", "3h", "24h")]
    asked, label = rows[[*spec.entities, *spec.request]], rows["label"]
    known = asked.assign(**dict.fromkeys(names, label + np.random.default_rng(1).normal(0, 5, len(label))))
    for made in (estimator(spec), baseline(spec)):
        fitted = made.fit(known, label)
        said = fitted.predict(known)
        assert np.corrcoef(said, label)[0, 1] > 0.8
        assert np.isfinite(fitted.predict(asked.assign(**dict.fromkeys(names, np.nan)))).all()
        assert np.isfinite(fitted.predict(known.head(1).assign(origin="TEB"))).all()


def test_serving_asks_for_the_features_of_the_horizon_before_the_hour(spec: ModelSpec) -> None:
    """The example's hour begins at 21:00: its features are those of 18:00."""
    when = datetime.fromisoformat(example(spec)["request"]["hour"])
    assert moments(spec, "origin_hours__late_share_7d") == [when - timedelta(hours=3)]
