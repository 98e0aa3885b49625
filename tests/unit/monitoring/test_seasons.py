"""Rules of days that are held apart by season: whom they are held against, how sure that is, and what it finds."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import catalog
from pipelines.contracts import EvergreenError
from pipelines.monitoring.drift import null
from pipelines.monitoring.drift.bins import Bins
from pipelines.monitoring.drift.column import INPUT, RELATION, Column
from pipelines.monitoring.drift.reference import Reference, made
from pipelines.monitoring.drift.seasons import FEWEST, Groups, Seasons, codes, ladder
from pipelines.monitoring.drift.sketch import Sketches
from pipelines.monitoring.drift.verdict import look
from pipelines.prove.drift.worlds import LABEL, Shift, World, together

ALL: list[Seasons] = [(), ("weekday",), ("month",), ("weekday", "month"), ("month", "weekday")]
DAYS = st.one_of(
    *(
        st.lists(st.integers(15_700, 15_700 + span), min_size=1, max_size=90, unique=True)
        for span in (90, 800)
    )
)
SEASONS = st.sampled_from(ALL)


def when(day: int) -> date:
    return date(1970, 1, 1) + timedelta(days=day)


def same(day: int, other: int, seasons: list[str]) -> bool:
    month, weekday = when(day).month == when(other).month, when(day).weekday() == when(other).weekday()
    return (month or "month" not in seasons) and (weekday or "weekday" not in seasons)


def against(day: int, known: list[int], seasons: Seasons) -> list[int]:
    """Which of the known days, by place, a day is held against, by hand."""
    rungs = [["weekday", "month"], ["month"], []] if len(seasons) == 2 else [list(seasons), []]
    for rung in rungs:
        found = [place for place, other in enumerate(known) if same(day, other, rung)]
        if len(found) >= FEWEST or not rung:
            return found
    raise AssertionError


def reference(days: list[int], seasons: Seasons, seed: int, window: int = 1) -> Reference:
    draw, cut = np.random.default_rng(seed), Bins("numeric", (0.0, 1.0, 2.0))
    counts = draw.integers(0, 30, (3, len(days), len(cut))) * (draw.random((3, len(days), 1)) < 0.8)
    return Reference(tuple(days), {"x": Column(cut, counts.astype("float64"))}, window, seasons)


@given(DAYS, DAYS, SEASONS, st.integers(0, 99))
def test_what_is_expected_of_a_day_is_the_mean_of_the_days_that_it_is_held_against(
    days: list[int], asked: list[int], seasons: Seasons, seed: int
) -> None:
    known = reference(sorted(days), seasons, seed)
    for name, family in known.families():
        column = known.columns[name]
        means, rows = column.means(family, column.counts)
        there = np.flatnonzero(rows)
        if not len(there):
            continue
        found = known.expected(name, family, asked)
        for day, row in zip(asked, found, strict=True):
            own = there[against(day, [known.days[place] for place in there], seasons)]
            assert row == pytest.approx(rows[own] @ means[own] / rows[own].sum(), abs=1e-9)


@given(DAYS, DAYS, SEASONS, st.integers(0, 99))
def test_the_shares_that_a_window_is_held_against_are_those_of_the_same_days(
    days: list[int], asked: list[int], seasons: Seasons, seed: int
) -> None:
    known = reference(sorted(days), seasons, seed)
    counts, many = known.columns["x"].counts.sum(axis=0), np.arange(1.0, len(asked) + 1)
    there = np.flatnonzero(counts.sum(axis=1))
    if not len(there):
        return
    by_hand = np.zeros(5)
    for day, rows in zip(asked, many, strict=True):
        own = counts[there[against(day, [known.days[place] for place in there], seasons)]].sum(axis=0)
        by_hand += rows * own / own.sum() / many.sum()
    assert known.shares("x", asked, many) == pytest.approx(by_hand)


@given(DAYS, DAYS, SEASONS)
def test_the_doubt_of_what_is_expected_is_the_variance_of_the_mean_of_the_days_it_is_of(
    days: list[int], asked: list[int], seasons: Seasons
) -> None:
    weights = np.zeros(len(days))
    for day in asked:
        own = against(day, days, seasons)
        weights[own] += 1 / len(own) / len(asked)
    found = Groups(np.asarray(days), ladder(days, seasons, 1)).uncertain(asked)
    assert found == pytest.approx(len(asked) * weights @ weights)


@pytest.mark.parametrize("seasons", ALL)
@pytest.mark.parametrize("length", [1, 3, 7])
def test_what_means_of_groups_fit_of_their_own_days_is_what_windows_seem_to_vary_less_by(
    seasons: Seasons, length: int
) -> None:
    """By the algebra of least squares, days being independent: the mean variance of a window of what is left."""
    days = np.arange(15_706, 15_706 + 731)
    own = codes(days, seasons)
    inside = own[:, None] == own
    assert inside.sum(axis=1).min() >= FEWEST
    left = np.eye(731) - inside / inside.sum(axis=1)
    windows = np.array([np.arange(731) - start for start in range(731 - length + 1)])
    mean = ((windows >= 0) & (windows < length)) / length
    varies = length * ((mean @ left) ** 2).sum(axis=1).mean()
    assert Groups(days, ladder(days.tolist(), seasons, length)).fitted(length) == pytest.approx(1 - varies)


def test_days_without_a_group_are_held_against_the_month_and_without_that_against_all() -> None:
    days = [
        *range(15_706, 15_706 + 59),
        *range(15_765, 15_765 + 10),
    ]  # January, February, ten days of March 2013
    both = Groups(np.asarray(days), ladder(days, ("weekday", "month"), 7))
    january, march, june = 15_706, 15_765, 15_857
    assert [when(day).strftime("%B %d") for day in (january, march, june)] == [
        "January 01",
        "March 01",
        "June 01",
    ]
    assert both.of([january, march, june]).tolist() == [
        *codes([january], ("weekday", "month")),
        *codes([march], ("month",)),
        *codes([june], ()),
    ]
    weekdays = Groups(np.asarray(days), ladder(days, ("weekday",), 7))
    assert weekdays.of([june]).tolist() == codes([june], ("weekday",)).tolist()


def test_seasons_that_leave_past_windows_too_little_to_differ_by_are_given_up_weekdays_first() -> None:
    one, two = (list(range(15_706, 15_706 + days)) for days in (365, 730))
    both: Seasons = ("weekday", "month")
    assert ladder(two, both, 7) == ladder(one, both, 7) == (("month", "weekday"), ("month",), ())
    assert ladder(two, ("month",), 28) == (("month",), ())
    assert ladder(one, ("month",), 28) == ladder(one, (), 7) == ((),)
    fortnight = Groups(np.arange(15_706, 15_720), ladder(list(range(15_706, 15_720)), ("weekday",), 7))
    assert fortnight.of([15_706]).tolist() == codes([15_706], ()).tolist()


@pytest.mark.parametrize("seasons", ALL)
def test_a_reference_without_a_rhythm_varies_as_much_whatever_seasons_are_held_apart(
    seasons: Seasons,
) -> None:
    draw, days, rows = np.random.default_rng(1), np.arange(15_706, 15_706 + 730), np.full(730, 100.0)
    groups = Groups(days, ladder(days.tolist(), seasons, 7))
    found = []
    for _ in range(60):
        values = draw.normal(0, 0.2, (730, 1))
        apart = values - groups.means(values, rows)[groups.of(days)]
        found.append(null.spread(apart, rows, 7, groups).inflation[0])
    assert np.mean(found) == pytest.approx(4, rel=0.06)


def test_rows_of_a_group_deviate_by_what_they_do_there_and_a_group_of_few_rows_as_the_whole() -> None:
    cut = Bins("numeric", tuple(float(each) for each in range(1, 20)))
    counts = np.zeros((3, 2, len(cut)))
    counts[0, 0, :10], counts[0, 1, 10:20] = 1000.0, 1000.0
    column = Column(cut, counts)
    whole, half, none, few = column.quieter(
        np.stack([counts[0].sum(axis=0), counts[0, 0], 0 * counts[0, 0], counts[0, 0] / 10_000])
    )
    assert whole == pytest.approx(1)
    assert half[0] == pytest.approx(0.5, abs=0.02)
    assert none == pytest.approx(1)
    assert few[0] > 0.95


FALSE, LEAST, BEGIN = 2.0, 0.05, 730


def parted(seed: int, yearly: float) -> tuple[World, dict[Seasons, Reference]]:
    """A world, and two years of it as a reference with and without months."""
    world = World(4, 143, seed, yearly=yearly)
    known = together([world.day(day).sketches() for day in range(BEGIN)])
    return world, {each: made(known, 7, each) for each in ((), ("month",))}


def found_in(world: World, of: dict[Seasons, Reference], weeks: int) -> dict[Seasons, float]:
    """The share of the columns that a week of a shift of 0.25 deviations is found in, weeks over a year."""
    found = {each: list[bool]() for each in of}
    for start in range(BEGIN + 366, BEGIN + 2 * 366, 366 // weeks):
        week = together([world.day(start + day, Shift(place=0.25)).sketches() for day in range(7)])
        for each, known in of.items():
            said = look(known, week, FALSE, LEAST)
            found[each] += [one.moved for one in said if one.family == INPUT and one.column != LABEL]
    assert min(map(len, found.values())) >= 4 * weeks
    return {each: float(np.mean(said)) for each, said in found.items()}


def alarms(world: World, known: Reference, days: int) -> int:
    """How often an alarm begins in so many quiet days, looked at daily."""
    window, until, many = list[Sketches](), dict[tuple[str, str], int](), 0
    for day in range(BEGIN, BEGIN + days):
        window = [*window[-6:], world.day(day).sketches()]
        for said in look(known, together(window), FALSE, LEAST):
            if said.moved:
                many += day > until.get((said.column, said.family), -1)
                until[said.column, said.family] = day + 7
    return many


def test_a_rhythm_of_the_year_is_quiet_and_hides_no_shift_where_months_are_held_apart() -> None:
    """Held against all days, months make a week's place so ordinary that no such shift is found."""
    begun, found = 0, []
    for seed in (1, 2):
        world, of = parted(seed, 1.0)
        begun += alarms(world, of["month",], 365)
        found.append(found_in(world, of, 12))
    assert begun <= 2 * FALSE
    assert np.mean([each["month",] for each in found]) >= 0.8
    assert np.mean([each[()] for each in found]) <= 0.1


def test_months_that_do_not_differ_cost_little_of_what_is_found() -> None:
    world, of = parted(3, 0.0)
    found = found_in(world, of, 24)
    assert found[()] >= 0.9
    assert found["month",] >= found[()] - 0.1


def test_an_unknown_season_is_refused_with_file_and_line(tmp_path: Path) -> None:
    text = (catalog.HERE / "models" / "flight_delays" / "spec.yaml").read_text()
    assert text.count("\n  drift_share:") == 1
    given = tmp_path / "spec.yaml"
    given.write_text(text.replace("\n  drift_share:", "\n  seasons: [month, moon]\n  drift_share:"))
    line = 1 + given.read_text().split("seasons: [")[0].count("\n")
    with pytest.raises(EvergreenError, match=rf"spec.yaml:{line}: monitor.seasons.*'weekday' or 'month'"):
        catalog.read_spec(given, catalog.ModelSpec)
    given.write_text(given.read_text().replace("moon", "weekday"))
    assert catalog.read_spec(given, catalog.ModelSpec).monitor.seasons == ("month", "weekday")


def test_a_relation_is_held_apart_by_season_too() -> None:
    known = reference(list(range(15_706, 15_706 + 365)), ("month",), 1)
    assert known.groups("x", RELATION).of([15_706]).tolist() == codes([15_706], ("month",)).tolist()
