"""The replay compares like with like: the same rows, the same labels, features that are what they say they are."""

import argparse
import ast
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks import replay
from benchmarks.loop_sides import Unequal
from benchmarks.replay import same, summed
from benchmarks.replay_sides import Replayed
from benchmarks.stock_dag import views
from benchmarks.stock_dag.ingest import ingest
from benchmarks.stock_dag.places import Home
from benchmarks.stock_dag.store import VIEWS
from benchmarks.stock_dag.training import split
from pipelines.settings import PROJECT

AS_OF = pd.Timestamp("2013-04-09T00:00:00Z")
START = AS_OF - pd.Timedelta("1D")
FEATURE = "aircraft__seats"


def learned(**changed: Any) -> pd.DataFrame:
    """Ten labels, of which the later ones are held out."""
    moments = pd.Series(pd.date_range(AS_OF - timedelta(days=10), periods=10, freq="1D"))
    rows = pd.DataFrame(
        {
            "carrier": "UA", "origin": "EWR", "dest": "IAH", "tailnum": "N1", "distance": 1400,
            "scheduled_departure": moments + timedelta(hours=2), "scheduled_arrival": moments + timedelta(hours=6),
            "event_timestamp": moments, "label_known_at": moments + timedelta(hours=7), "label": [0, 1] * 5,
            FEATURE: 150.0, "flight": range(10),
        }
    )  # fmt: skip
    return rows.assign(**changed)


def stock(rows: pd.DataFrame, folder: Path, accepted: int = 10) -> dict[str, Any]:
    path = folder / "stock.parquet"
    rows.to_parquet(path)
    return {"accepted": {"flights": accepted}, "rows": str(path), "as_of": AS_OF.isoformat()}


def ours(folder: Path) -> dict[str, Any]:
    """Ours says itself which part a label is in, and has no flight number."""
    train, held = split(learned(), AS_OF.to_pydatetime())
    assert len(train)
    assert len(held)
    path = folder / "ours.parquet"
    rows = pd.concat([train.assign(split="train"), held.assign(split="holdout")]).drop(columns="flight")
    rows.sample(frac=1.0, random_state=0).to_parquet(path)
    return {"accepted": {"flights": 10}, "rows": str(path), "as_of": AS_OF.isoformat()}


def test_sides_that_did_the_same_are_compared_whatever_the_order_of_their_rows(tmp_path: Path) -> None:
    assert same(stock(learned(), tmp_path), ours(tmp_path)) == {"labels": 10, "alike": 1.0}


@pytest.mark.parametrize(
    "changed",
    [
        {"label": [1, 1] * 5},
        {"carrier": "AA"},
        {"distance": 1401},
        {"tailnum": None},
        {"label_known_at": AS_OF},
    ],
)
def test_sides_whose_labels_differ_are_not_compared(changed: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Unequal):
        same(stock(learned(**changed), tmp_path), ours(tmp_path))


def test_sides_that_accepted_other_rows_or_lost_labels_are_not_compared(tmp_path: Path) -> None:
    mine = ours(tmp_path)
    with pytest.raises(Unequal, match="flights"):
        same(stock(learned(), tmp_path, accepted=9), mine)
    with pytest.raises(Unequal, match="labels"):
        same(stock(learned().head(9), tmp_path), mine)
    with pytest.raises(Unequal, match="no label"):
        same(stock(learned().head(0), tmp_path), mine | {"rows": stock(learned().head(0), tmp_path)["rows"]})


def test_feature_values_that_differ_are_counted(tmp_path: Path) -> None:
    found = same(stock(learned(**{FEATURE: [151.0, *[150.0] * 9]}), tmp_path), ours(tmp_path))
    assert found["alike"] == pytest.approx(0.9)


def test_the_start_of_each_scheduler_counts_once() -> None:
    took = {"train": {"wall": 2.0, "cpu": 3.0, "peak": 100.0}}
    day = {"stock": {"took": took}, "ours": {"took": took}}
    found = summed({"days": [day, day], "began": {"stock": 1.0, "ours": 14.0}}, "ours")
    assert found["all"] == {"wall": 4.0, "cpu": 20.0, "peak": 100.0}


def _declared() -> dict[str, tuple[list[str], list[str]]]:
    """Keys and features of each view of `feature_repo/`, as its files say."""
    found = {}
    for path in (PROJECT / "feature_repo").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "FeatureView":
                given = {each.arg: each.value for each in call.keywords}
                keys = [entity.id for entity in given["entities"].elts]  # type: ignore[attr-defined]
                fields = [
                    next(k.value.value for k in field.keywords if k.arg == "name")
                    for field in given["schema"].elts  # type: ignore[attr-defined]
                ]
                found[given["name"].value] = (keys, fields)  # type: ignore[attr-defined]
    return found


def test_both_sides_have_the_same_views_keys_and_features() -> None:
    declared = _declared()
    assert len(VIEWS) == 8
    for name, (keys, _, features) in VIEWS.items():
        assert {*declared[name][0]} == {*keys}
        assert {*declared[name][1]} == {*keys, *features}


def _departures() -> pd.DataFrame:
    """A thousand departures of nine days, some of them at a full hour."""
    import numpy as np

    random = np.random.default_rng(5)
    minutes = random.integers(0, 9 * 24 * 60, 1000)
    minutes[:100] -= minutes[:100] % 60
    return pd.DataFrame(
        {
            "available_at": START - pd.Timedelta("8D") + pd.to_timedelta(minutes, unit="min"),
            "origin": random.choice(["EWR", "JFK"], 1000),
            "carrier": random.choice(["UA", "B6", "AA"], 1000),
            "departure_delay": random.integers(-20, 300, 1000).astype(float),
        }
    )


def test_the_views_of_the_stock_side_are_what_counting_by_hand_gives() -> None:
    rows = _departures()
    _, *asked = views.TICKED["carrier_delays"]
    made = views.ticks(rows[rows["available_at"] > START - pd.Timedelta("7D")], *asked, START, AS_OF)
    assert len(made) > 100
    for row in made.sample(40, random_state=1).to_dict("records"):
        of = rows[(rows["origin"] == row["origin"]) & (rows["carrier"] == row["carrier"])]
        for name, hours in (("3h", 3), ("24h", 24)):
            moment = row["event_timestamp"]
            inside = of[
                (of["available_at"] > moment - timedelta(hours=hours)) & (of["available_at"] <= moment)
            ]
            delay = inside["departure_delay"]
            expected = (
                [delay.clip(upper=180).mean(), (delay >= 15).mean()] if len(inside) else [float("nan")] * 2
            )
            got = [row[f"mean_departure_delay_{name}"], row[f"late_share_{name}"]]
            assert got == pytest.approx(expected, nan_ok=True)


def test_an_aircraft_is_as_late_as_its_movements_of_half_a_day() -> None:
    moments = pd.to_datetime(["2013-04-08T03:00Z", "2013-04-08T14:59Z", "2013-04-08T15:01Z"])
    left = pd.DataFrame({"tailnum": "N1", "available_at": moments, "departure_delay": [10.0, 20.0, 400.0]})
    none = left.head(0).rename(columns={"departure_delay": "arrival_delay"})
    made = views.rotation(left, none, START).set_index("event_timestamp")
    assert made["mean_departure_delay_12h"].tolist() == [10.0, 15.0, 100.0]
    assert made["last_delay"].tolist() == [10.0, 20.0, 400.0]


def test_a_week_is_held_out_and_nobody_learns_what_came_out_during_it() -> None:
    rows = learned()
    rows.loc[2, "label_known_at"] = AS_OF
    train, held = split(rows, datetime.fromisoformat(AS_OF.isoformat()))
    assert train["flight"].tolist() == [0, 1]
    assert held["flight"].tolist() == [*range(3, 10)]


def test_the_stock_side_refuses_a_day_that_breaks_a_rule(tmp_path: Path) -> None:
    home, columns = (
        Home(tmp_path),
        "carrier,flight,origin,dest,tailnum,scheduled_departure,departure_delay,available_at",
    )
    home.landed("departures", "day").parent.mkdir()
    times = "2013-04-08T10:00:00Z,5,2013-04-08T10:05:00Z"
    lines = [f"UA,{n},EWR,IAH,N1,{times}" for n in range(1, 20)]
    home.landed("departures", "day").write_text("\n".join([columns, *lines, ""]))
    assert ingest("departures", "day", home) == {"dataset": "departures", "rows": 19}
    home.landed("departures", "next").write_text("\n".join([columns, *lines, f"UA,1,BOS,IAH,N1,{times}", ""]))
    with pytest.raises(RuntimeError, match="expect_column_values_to_be_in_set"):
        ingest("departures", "next", home)
    assert len(views.known("departures", START, AS_OF, home)) == 19


class Played(Replayed):
    """A side that writes down each day in its home, and is cut off where it is told to be."""

    cut = ""

    def start(self) -> None:
        self.home.mkdir(exist_ok=True)

    def stop(self) -> None: ...

    def history(self, files: list[Path], days: list[date]) -> dict[str, Any]:
        return self.day(days[-1], files)

    def day(self, day: date, files: list[Path]) -> dict[str, Any]:
        with (self.home / "days").open("a") as file:
            file.write(f"{day}\n")
        if self.cut == f"{self.name} {day}":
            raise KeyboardInterrupt
        return {"took": {"train": {"wall": 1.0, "cpu": 1.0, "peak": 1.0}}, "said": "kept"}


@pytest.mark.parametrize(
    "cut", [f"{side} 2013-0{day}" for side in ("ours", "stock") for day in ("3-31", "4-01", "4-02")]
)
def test_a_replay_that_was_stopped_does_each_day_once(
    cut: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "same", lambda *_: {"labels": 1, "alike": 1.0})
    monkeypatch.setattr(replay, "landed", lambda *_: [])
    monkeypatch.setattr(replay, "Stock", Played)
    monkeypatch.setattr(replay, "Ours", Played)
    asked = argparse.Namespace(folder=tmp_path, before=2, days=3, fresh=False)
    monkeypatch.setattr(Played, "cut", cut)
    with pytest.raises(KeyboardInterrupt):
        replay.compare(asked, str)
    monkeypatch.setattr(Played, "cut", "")
    found = replay.compare(asked, str)
    assert [day["day"] for day in found["days"]] == ["2013-04-01", "2013-04-02", "2013-04-03"]
    for side in ("stock", "ours"):
        done = (tmp_path / f"home-{side}" / "days").read_text().split()
        assert done == ["2013-03-31", "2013-04-01", "2013-04-02", "2013-04-03"]
