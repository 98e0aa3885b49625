"""Rules of what the monitor keeps of the days it looked at, and of what is told of any range of them."""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipelines.catalog import ModelSpec
from pipelines.cli import app
from pipelines.contracts import EvergreenError, NothingToDo
from pipelines.monitoring.drift import days
from pipelines.monitoring.drift.reference import made
from pipelines.monitoring.drift.rows import sketched
from pipelines.monitoring.drift.sketch import Sketches
from pipelines.monitoring.drift.verdict import look
from pipelines.monitoring.monitor import monitor
from pipelines.monitoring.pages import heat
from pipelines.monitoring.ranges import ranged
from pipelines.stores import Stores
from pipelines.stores.tables import Tables
from tests.retrainings import MODEL
from tests.training_sets import AS_OF, FEATURE, arrived, frame, spec

KINDS = {"distance": "numeric", "origin": "categorical", "label": "numeric"}
LATER = AS_OF + timedelta(days=28)
FIRST = AS_OF.date()


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(str(tmp_path / "lake"))


def wide(window: timedelta) -> ModelSpec:
    small = spec()
    return small.model_copy(update={"monitor": small.monitor.model_copy(update={"window": window})})


def told(sketches: Sketches) -> dict[tuple[int, int, str], tuple[object, ...]]:
    """What can be asked of sketches, part by part."""
    ranks = [0.0, 0.25, 0.5, 0.75, 1.0]
    return {
        (*part, name): (
            column.rows,
            column.missing,
            column.frequent() if hasattr(column, "frequent") else list(column.kept.get_quantiles(ranks)),
        )
        for part, columns in sketches
        for name, column in columns.items()
    }


def test_what_was_kept_says_what_the_rows_said(tables: Tables) -> None:
    made_of = sketched(arrived(), KINDS, 0.5)
    assert days.keep(MODEL, 1, made_of, FIRST - timedelta(days=400), tables) == len(made_of.days()) > 20
    first, last = days.spans(MODEL, tables)[1]
    kept = days.kept(MODEL, 1, first, last, tables)
    assert told(kept) == told(made_of)
    assert days.kept(MODEL, 2, first, last, tables).parts == {}
    assert days.kept("another", 1, first, last, tables).parts == {}


def test_a_day_that_is_looked_at_again_counts_once_and_others_stay(tables: Tables) -> None:
    old, new = arrived(seed=1), arrived(seed=2)
    days.keep(MODEL, 1, sketched(old, KINDS, 0.5), FIRST, tables)
    days.keep(MODEL, 2, sketched(old, KINDS, 0.5), FIRST, tables)
    again = FIRST + timedelta(days=14)
    days.keep(MODEL, 1, sketched(new, KINDS, 0.5), again, tables)
    first, last = days.spans(MODEL, tables)[1]
    kept = days.kept(MODEL, 1, first, last, tables)
    begins = new["event_timestamp"].dt.date >= again
    expected = sketched(pd.concat([old[old["event_timestamp"].dt.date < again], new[begins]]), KINDS, 0.5)
    assert told(kept) == told(expected)
    assert told(days.kept(MODEL, 2, first, last, tables)) == told(sketched(old, KINDS, 0.5))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 27), st.integers(0, 27))
def test_a_range_merged_from_days_is_what_its_rows_say_at_once(first: int, last: int) -> None:
    """KLL is exact below 400 values: the merged days give the very findings that one look at all rows gives."""
    rows = arrived(300, 5, 0.5)
    reference = made(sketched(frame(2000, 3, 2.0), KINDS, 0.5), 7)
    from_day, to_day = (days._number(FIRST + timedelta(days=day)) for day in sorted((first, last)))
    number = rows["event_timestamp"].dt.date.map(days._number)
    some = rows[(number >= from_day) & (number <= to_day)]
    parts = sketched(rows, KINDS, 0.5).between(from_day, to_day)
    assert len(rows) > 200
    assert look(reference, parts, 2.0, 0.05) == look(reference, sketched(some, KINDS, 0.5), 2.0, 0.05)


def test_the_monitor_keeps_the_whole_days_of_its_window(watched: Stores) -> None:
    rows = arrived()
    window = timedelta(days=28) - timedelta(hours=6)
    of = wide(window)
    inside = rows[rows["event_timestamp"] > LATER - window]
    monitor(of, LATER, watched, frame(2000, 3, 2.0), inside)
    first, last = days.spans(MODEL, watched.tables)[1]
    assert first == (LATER - window).date() + timedelta(days=1), "the first day is not all inside"
    assert last == inside["event_timestamp"].max().date()


def test_what_a_range_says_is_what_the_monitor_said_of_it(
    watched: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = wide(timedelta(days=28))
    report = monitor(of, LATER, watched, frame(2000, 3, 2.0), arrived(shift=1.0))
    said = {(each.column, each.family): each for each in report.findings if each.family != "prediction"}
    first, last = days.spans(MODEL, watched.tables)[1]
    found = ranged(of, watched, first, last)
    assert found.days == (last - first).days + 1
    assert {(each.column, each.family): each for each in found.findings} == said
    assert any(each.moved for each in found.findings)
    assert found.share == report.drift_share
    quarter = ranged(of, watched, first, first + timedelta(days=6))
    assert 0 < quarter.rows < found.rows

    picture = watched.settings.home / "reports" / "monitor" / MODEL / heat.NAME
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert heat.NAME in (picture.parent / "index.html").read_text()
    monkeypatch.setenv("EVERGREEN_HOME", str(watched.settings.home))
    shown = CliRunner().invoke(app, ["drift", MODEL, "--from", str(first), "--to", str(last), "--json"])
    assert shown.exit_code == 0, shown.output
    plain = json.loads(shown.stdout)
    assert (plain["rows"], len(plain["findings"])) == (found.rows, len(found.findings))
    table = CliRunner().invoke(app, ["drift", MODEL])
    assert table.exit_code == 0
    assert FEATURE[:12] in table.stdout


def test_without_what_it_needs_it_says_so(watched: Stores) -> None:
    with pytest.raises(NothingToDo, match="version 1 has no kept day; `evergreen monitor"):
        ranged(spec(), watched)
    days.keep(MODEL, 7, sketched(arrived(), KINDS, 0.5), FIRST, watched.tables)
    with pytest.raises(NothingToDo, match="version 1 has no kept day; versions 7 have some"):
        ranged(spec(), watched)
    days.keep(MODEL, 1, sketched(arrived(), KINDS, 0.5), FIRST, watched.tables)
    with pytest.raises(EvergreenError, match="reference of flight_delays version 1 is gone"):
        ranged(spec(), watched)
    monitor(spec(), LATER, watched, frame(2000, 3, 2.0), arrived())
    with pytest.raises(EvergreenError, match="2013-05-02 is after 2013-05-01"):
        ranged(spec(), watched, date(2013, 5, 2), date(2013, 5, 1))
    with pytest.raises(EvergreenError, match="has no version 99"):
        ranged(spec(), watched, version=99)
    with pytest.raises(EvergreenError, match="no day from 2012-01-01 to 2012-02-01 was kept"):
        ranged(spec(), watched, date(2012, 1, 1), date(2012, 2, 1))


def test_a_column_whose_kind_changed_is_told_by_its_newest_days(tables: Tables) -> None:
    rows = arrived()
    last = rows["event_timestamp"].dt.date == rows["event_timestamp"].max().date()
    days.keep(MODEL, 1, sketched(rows, KINDS, 0.5), FIRST, tables)
    days.keep(MODEL, 1, sketched(rows[last], KINDS | {"distance": "categorical"}, 0.5), FIRST, tables)
    kept = days.kept(MODEL, 1, FIRST, FIRST + timedelta(days=40), tables)
    assert kept.kinds["distance"] == "categorical"
    assert (
        kept.of("distance").rows
        == int(last.sum())
        < kept.of("origin").rows
        == len(rows[rows["event_timestamp"].dt.date >= FIRST])
    )


def test_the_picture_has_a_field_per_column_and_week() -> None:
    reference = made(sketched(frame(2000, 3, 2.0), KINDS, 0.5), 7)
    found = heat.heat(reference, sketched(arrived(shift=0.0), KINDS, 0.5))
    assert found.columns[0] == "label"
    assert set(found.columns) == set(KINDS)
    assert all(week.weekday() == 0 for week in found.weeks)
    assert len(found.weeks) >= 4
    assert np.isfinite(found.distances).all()
    assert found.distances.max() < 0.5
