"""What the replay of the real flights promises."""

import csv
import itertools
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from pipelines.catalog import dataset, datasets, model
from pipelines.contracts import EvergreenError
from pipelines.loop.replay import replay, windows
from pipelines.upstream import connect, source, story

START, END = date(2013, 2, 1), date(2013, 2, 4)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def span(path: Path) -> tuple[datetime, datetime]:
    _, since, until = path.stem.split("_")
    start, end = (datetime.strptime(t, "%Y%m%dT%H%M").replace(tzinfo=UTC) for t in (since, until))
    return start, end


@pytest.fixture(scope="module")
def daily(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    landing = tmp_path_factory.mktemp("landing")
    paths = list(replay("flight_delays", START, END, "1d", landing))
    assert len(paths) == 2 + 3 * 4
    assert set(landing.iterdir()) == set(paths)
    return paths


def test_no_row_lands_outside_the_window_in_which_it_became_known(daily: list[Path]) -> None:
    for path in daily:
        if path.name.startswith(("planes", "airports")):
            continue
        since, until = span(path)
        found = rows(path)
        assert found
        assert all(since <= datetime.fromisoformat(row["available_at"]) < until for row in found)


def test_flights_land_last_in_their_window(daily: list[Path]) -> None:
    assert [p.name.split("_")[0] for p in daily[-3:]] == ["departures", "weather", "flights"]


def test_every_flight_of_a_month_lands_exactly_once(tmp_path: Path) -> None:
    paths = list(replay("flight_delays", date(2013, 2, 1), date(2013, 3, 2), "1d", tmp_path))
    landed = [row for path in paths if path.name.startswith("flights") for row in rows(path)]
    keys = [(r["carrier"], r["flight"], r["origin"], r["dest"], r["scheduled_departure"]) for r in landed]
    assert len(keys) == len(set(keys))
    with connect(["flights"]) as connection:
        truth = connection.execute(
            "SELECT carrier, flight::VARCHAR, origin, dest, "
            "strftime(scheduled_departure, '%Y-%m-%dT%H:%M:%SZ') FROM flights"
            " WHERE CAST(scheduled_departure AS DATE) BETWEEN '2013-02-02' AND '2013-02-28'"
        ).fetchall()
    assert len(truth) > 20_000
    assert set(truth) <= set(keys)


def test_the_same_days_land_as_the_same_bytes_and_in_other_steps_as_the_same_rows(
    tmp_path: Path, daily: list[Path]
) -> None:
    again = list(replay("flight_delays", START, END, "1d", tmp_path / "again"))
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in daily]
    for every in ("bulk", "1h"):
        other = list(replay("flight_delays", START, END, every, tmp_path / every))
        for name in ("flights", "departures", "weather"):
            got, want = ([r for p in ps if p.name.startswith(name) for r in rows(p)] for ps in (other, daily))
            assert want
            assert sorted(map(str, got)) == sorted(map(str, want))


def test_an_outcome_is_known_when_the_flight_landed() -> None:
    with connect(["flights"]) as connection:
        landed, exact, before = connection.execute(
            "SELECT count(*), count(*) FILTER (available_at = scheduled_arrival + to_minutes(arrival_delay)),"
            " count(*) FILTER (available_at < scheduled_departure)"
            " FROM flights WHERE arrival_delay IS NOT NULL"
        ).fetchone()  # fmt: skip
    assert landed > 300_000
    assert landed - exact <= 1  # one flight's record contradicts itself by an hour
    assert before == 0


@pytest.mark.parametrize("module", sorted({d.upstream for d in datasets().values() if d.upstream}))
def test_keys_are_unique_in_all_that_lands_and_lie_within_the_story(module: str) -> None:
    mine = [spec for spec in datasets().values() if spec.upstream == module]
    with connect(spec.name for spec in mine) as connection:
        for spec in mine:
            total, distinct, first = connection.execute(
                f"SELECT count(*), count(DISTINCT ({', '.join(spec.key)})), min({spec.available_at}) FROM {spec.name}"
            ).fetchone()
            assert total == distinct > 0, spec.name
            assert first.date() >= source(spec).STORY.begin, spec.name


def test_a_dataset_that_nobody_plays_is_named_with_the_remedy() -> None:
    alone = dataset("flights").model_copy(update={"name": "orders", "upstream": None})
    with pytest.raises(EvergreenError, match=r"orders.*upstream: NAME"):
        source(alone)
    with pytest.raises(EvergreenError, match=r"write pipelines/upstream/nowhere\.py"):
        source(alone.model_copy(update={"upstream": "nowhere"}))


def test_a_model_is_played_from_the_first_day_of_its_labels_source() -> None:
    told = story(model("flight_delays"))
    assert told.begin < told.opening < told.end


def test_windows_have_neither_gap_nor_overlap() -> None:
    hours = list(windows(START, END, "1h"))
    assert len(hours) == 96
    assert all(a[1] == b[0] for a, b in itertools.pairwise(hours))
    assert list(windows(START, END, "bulk")) == [(hours[0][0], hours[-1][1])]


def test_dates_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EvergreenError, match="before"):
        list(replay("flight_delays", END, START, "1d", tmp_path))
