"""Rules of when a training may begin: quiet hours, cool-down, and what counts as a reason."""

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import catalog
from pipelines.catalog import ModelSpec, QuietHours, read_spec
from pipelines.contracts import BatchState, Cause, EvergreenError, IngestResult, Signal
from pipelines.monitoring.policy import (
    Call,
    Facts,
    Woken,
    free_at,
    nothing,
    quiet_until,
    reasons,
    waits,
    woken_by,
)
from pipelines.stores.signals import Training

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
ZONES = ["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia"]
SPEC_FILE = catalog.model("flight_delays").folder / "spec.yaml"


def quiet(start: str, end: str, zone: str = "America/New_York") -> QuietHours:
    return QuietHours.model_validate({"from": start, "to": end, "zone": zone})


def spec(**training: object) -> ModelSpec:
    real = catalog.model("flight_delays")
    return real.model_copy(update={"training": real.training.model_copy(update=training)})


def began(at: datetime) -> Training:
    return Training("flight_delays", at.isoformat(), at, at, "code", {}, began_at=at)


def batch(rows: int) -> IngestResult:
    return IngestResult("d", "flights", "flights.csv", BatchState.COMMITTED, rows, rows)


def signal(cause: Cause) -> Signal:
    return Signal("flight_delays", 3, NOW, cause, "it moved", NOW)


def causes(found: Facts, call: Call, **training: object) -> list[Cause]:
    return [reason.cause for reason in reasons(spec(**training), found, call)]


def facts(rows: int = 0, *signals: Signal, code: str | None = None) -> Facts:
    return Facts((batch(rows),) if rows else (), signals, code, None)


# Moments near the changes of the clocks are drawn as often as any other.
MOMENTS = st.one_of(
    st.integers(1_104_537_600, 2_051_222_400).map(lambda s: datetime.fromtimestamp(s, UTC)),
    st.builds(
        lambda change, minutes: change + timedelta(minutes=minutes),
        st.sampled_from(
            [
                datetime(2026, 3, 8, 7, tzinfo=UTC),  # New York: 02:00 becomes 03:00
                datetime(2026, 11, 1, 6, tzinfo=UTC),  # New York: 02:00 becomes 01:00
                datetime(2026, 3, 29, 1, tzinfo=UTC),  # Berlin
                datetime(2026, 10, 25, 1, tzinfo=UTC),
                datetime(2026, 4, 4, 15, tzinfo=UTC),  # Lord Howe: by half an hour
                datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
                datetime(2011, 12, 30, 10, tzinfo=UTC),  # Apia left out a day
            ]
        ),
        st.integers(-1500, 300),
    ),
)
CLOCK = st.builds(lambda h, m: f"{h:02}:{m:02}", st.integers(0, 23), st.integers(0, 59))


def shown_quiet(hours: QuietHours, moment: datetime) -> bool:
    """The oracle: walk a clock's face from `from` to `to` and see whether what the wall shows was passed."""
    face, shown = (
        hours.start.hour * 60 + hours.start.minute,
        f"{moment.astimezone(ZoneInfo(hours.zone)):%H:%M}",
    )
    while (text := f"{face // 60:02}:{face % 60:02}") != f"{hours.end:%H:%M}":
        if text == shown:
            return True
        face = (face + 1) % 1440
    return False


@settings(max_examples=300)
@given(CLOCK, CLOCK, st.sampled_from(ZONES), MOMENTS)
def test_quiet_hours_are_what_the_clock_on_the_wall_shows(
    start: str, end: str, zone: str, moment: datetime
) -> None:
    if start == end:
        return
    hours = quiet(start, end, zone)
    assert hours.covers(moment) == shown_quiet(hours, moment)


@settings(max_examples=60)
@given(CLOCK, CLOCK, st.sampled_from(ZONES), MOMENTS)
def test_quiet_hours_end_at_the_first_moment_that_is_not_quiet(
    start: str, end: str, zone: str, moment: datetime
) -> None:
    if start == end:
        return
    hours, second = quiet(start, end, zone), timedelta(seconds=1)
    until = quiet_until(hours, moment)
    assert until >= moment
    assert not shown_quiet(hours, until)
    if until > moment:
        steps = int((until - moment) / timedelta(minutes=31))
        assert all(shown_quiet(hours, moment + timedelta(minutes=31) * n) for n in range(steps))
        assert shown_quiet(hours, until - second)


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        (("06:00", "09:00"), "2026-01-10T11:00+00:00", "2026-01-10T14:00+00:00"),  # winter
        (("06:00", "09:00"), "2026-07-10T11:00+00:00", "2026-07-10T13:00+00:00"),  # summer
        (("22:00", "06:00"), "2026-01-11T04:00+00:00", "2026-01-11T11:00+00:00"),  # over midnight
        (("01:00", "02:30"), "2026-03-08T06:30+00:00", "2026-03-08T07:00+00:00"),  # 02:30 never comes
        (("00:30", "01:30"), "2026-11-01T04:45+00:00", "2026-11-01T05:30+00:00"),  # 01:30 comes twice
        (("00:30", "01:30"), "2026-11-01T06:10+00:00", "2026-11-01T06:30+00:00"),  # the second time
        (("06:00", "09:00"), "2026-01-10T14:00+00:00", "2026-01-10T14:00+00:00"),  # over
    ],
)
def test_quiet_hours_are_right_when_the_clocks_change(hours: tuple[str, str], now: str, until: str) -> None:
    assert quiet_until(quiet(*hours), datetime.fromisoformat(now)) == datetime.fromisoformat(until)


def test_a_cool_down_is_counted_from_when_the_last_training_began() -> None:
    cooled = spec(cool_down=timedelta(hours=6))
    (wait,) = waits(cooled, began(NOW - timedelta(hours=5)), NOW)
    assert (wait.policy, wait.until) == ("cool_down", NOW + timedelta(hours=1))
    assert waits(cooled, began(NOW - timedelta(hours=6)), NOW) == []
    assert waits(cooled, None, NOW) == []


def test_a_cool_down_that_ends_in_quiet_hours_waits_for_their_end() -> None:
    both = spec(cool_down=timedelta(hours=6), quiet_hours=quiet("16:00", "18:00", "UTC"))
    assert free_at(both, began(NOW - timedelta(hours=4)), NOW) == datetime(2026, 3, 4, 18, tzinfo=UTC)


@pytest.mark.parametrize("woken", [Woken.SCHEDULE, Woken.PERSON])
def test_the_schedule_and_a_person_take_what_there_is_however_little(woken: Woken) -> None:
    assert causes(facts(1), Call(NOW, woken), minimum_new_rows=200) == [Cause.DATA]


@pytest.mark.parametrize(("rows", "found"), [(199, []), (200, [Cause.DATA])])
def test_a_data_event_needs_the_minimum_of_new_rows(rows: int, found: list[Cause]) -> None:
    assert causes(facts(rows), Call(NOW, Woken.DATA), minimum_new_rows=200) == found


@pytest.mark.parametrize("woken", list(Woken))
def test_whatever_wakes_it_nothing_new_is_no_reason(woken: Woken) -> None:
    assert causes(facts(), Call(NOW, woken), minimum_new_rows=0) == []


@pytest.mark.parametrize("cause", [Cause.DRIFT, Cause.DECAY])
def test_a_signal_needs_one_new_label_and_no_more(cause: Cause) -> None:
    assert causes(facts(1, signal(cause)), Call(NOW, Woken.DATA)) == [Cause.DATA, cause]
    assert causes(facts(0, signal(cause)), Call(NOW, Woken.MONITOR)) == []
    said = nothing(spec(), facts(0, signal(cause)), Call(NOW, Woken.MONITOR))
    assert f"the {cause.value} of version 3 is known" in said


def test_changed_code_is_a_reason_without_new_labels() -> None:
    assert causes(facts(code="changed"), Call(NOW, Woken.SCHEDULE)) == [Cause.CODE]


def test_a_stale_event_of_the_monitor_does_not_lower_the_minimum() -> None:
    assert causes(facts(5), Call(NOW, Woken.MONITOR), minimum_new_rows=200) == []


@pytest.mark.parametrize(
    ("call", "found", "said"),
    [
        (Call(NOW, Woken.SCHEDULE), facts(5), "schedule"),
        (Call(NOW, Woken.DATA), facts(5, signal(Cause.DECAY)), "data event"),
        (Call(NOW, Woken.MONITOR), facts(5, signal(Cause.DRIFT), signal(Cause.DECAY)), "decay"),
        (Call(NOW, Woken.MONITOR), facts(5, signal(Cause.DRIFT)), "drift"),
        (Call(NOW, Woken.MONITOR), facts(5), "monitor"),
        (Call(NOW, Woken.PERSON, "quarterly review"), facts(5), "person: quarterly review"),
    ],
)
def test_what_woke_a_run_is_named(call: Call, found: Facts, said: str) -> None:
    assert woken_by(call, found) == said


def edited(folder: Path, **changes: object) -> Path:
    plain = yaml.safe_load(SPEC_FILE.read_text())
    schedule = changes.pop("schedule", plain["schedule"])
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(plain | {"schedule": schedule, "training": plain["training"] | changes}))
    return path


@pytest.mark.parametrize(
    ("hours", "remedy"),
    [
        ({"from": 1320, "to": "06:00", "zone": "UTC"}, "in quotes"),  # 22:00 without quotes
        ({"from": "6:00", "to": "09:00", "zone": "UTC"}, "in quotes"),
        ({"from": "06:00", "to": "06:00", "zone": "UTC"}, "the same"),
        ({"from": "06:00", "to": "09:00", "zone": "New York"}, "no time zone"),
        ({"from": "06:00", "to": "09:00", "zone": "UTC", "days": "all"}, "remove it or mend its spelling"),
    ],
)
def test_quiet_hours_that_mean_nothing_are_refused(tmp_path: Path, hours: object, remedy: str) -> None:
    with pytest.raises(EvergreenError, match=rf"spec.yaml:\d+: .*quiet_hours.*{remedy}"):
        read_spec(edited(tmp_path, quiet_hours=hours), ModelSpec)


def test_quiet_hours_are_read_as_they_are_written(tmp_path: Path) -> None:
    hours = {"from": "22:00", "to": "06:00", "zone": "America/New_York"}
    path = edited(tmp_path, schedule="0 14 * * *", quiet_hours=hours)
    read = read_spec(path, ModelSpec).training.quiet_hours
    assert read is not None
    assert (read.start, read.end) == (time(22), time(6))
    assert str(read) == "22:00-06:00 America/New_York"


@pytest.mark.parametrize(
    ("schedule", "heard"),
    [
        ("0 12 * * *", False),  # 07:00 or 08:00 in New York
        ("0 6 * * *", True),
        ("0 14 * * *", True),  # 09:00 in winter
        ("*/15 * * * *", True),
        ("5,35 11-12 * * 1-5", False),
        ("0 0/12 * * *", True),
        ("@daily", True),
    ],
)
def test_quiet_hours_that_swallow_every_tick_of_the_schedule_are_refused(
    tmp_path: Path, schedule: str, heard: bool
) -> None:
    hours = {"from": "06:00", "to": "09:00", "zone": "America/New_York"}
    path = edited(tmp_path, schedule=schedule, quiet_hours=hours)
    if heard:
        assert read_spec(path, ModelSpec).schedule == schedule
    else:
        with pytest.raises(EvergreenError, match="would wait for ever; move one"):
            read_spec(path, ModelSpec)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the model's folder that a test may edit."""
    import shutil

    copy = tmp_path / "models" / "flight_delays"
    shutil.copytree(SPEC_FILE.parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("pipelines.catalog.model_spec.HERE", tmp_path)
    return copy


@pytest.mark.parametrize("name", ["spec.yaml", "label.sql", "estimator.py", "parts/trees.py", "airports.csv"])
def test_what_makes_the_model_changes_its_digest(folder: Path, name: str) -> None:
    before = catalog.model("flight_delays").digest
    (folder / name).parent.mkdir(exist_ok=True)
    with (folder / name).open("a") as file:
        file.write("\n")
    assert catalog.model("flight_delays").digest != before


@pytest.mark.parametrize(
    "name",
    [
        "CARD.md",
        "__pycache__/estimator.cpython-311.pyc",
        "estimator.pyc",
        ".estimator.py.swp",
        "estimator.py~",
        "#estimator.py#",
        ".#estimator.py",
        ".DS_Store",
        "spec.yaml.orig",
        ".idea/workspace.xml",
    ],
)
def test_documentation_caches_and_editors_leavings_change_no_digest(folder: Path, name: str) -> None:
    before = catalog.model("flight_delays").digest
    (folder / name).parent.mkdir(exist_ok=True)
    with (folder / name).open("a") as file:
        file.write("\n")
    assert catalog.model("flight_delays").digest == before
