"""Times as other systems write them: what says one moment is taken as that, what does not names what would."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from pipelines.catalog import Column, dataset
from pipelines.reading import values

NEW_YORK = "America/New_York"


def judged(texts: list[str | None], **declared: Any) -> tuple[dict[int, datetime | None], dict[int, str]]:
    """The moments and the reasons, by the text's place; the fast and the slow way must agree."""
    column = Column(type="timestamp", nullable=True, description="x", **declared)
    spec = dataset("weather").model_copy(update={"columns": {"x": column}})
    table = pa.table({"x": pa.array(texts, pa.string()), "_index": range(len(texts))})
    found, ill = values.typed(spec, table)
    if column.timezone is None:
        strictly, slow_ill = values._slow(spec, table, list(spec.columns))
        assert (strictly["x"].to_pylist(), slow_ill) == (found["x"].to_pylist(), ill)
    moments = dict(zip(found["_index"].to_pylist(), found["x"].to_pylist(), strict=True))
    return moments, {index: reason for index, (_, reason) in ill.items()}


AT_TEN = datetime(2013, 1, 5, 10, tzinfo=UTC)
FORMS = {
    "PostgreSQL": "2013-01-05 10:00:00+00",
    "PostgreSQL, long ago": "2013-01-05 10:19:32+00:19:32",
    "PostgreSQL, India": "2013-01-05 15:30:00+05:30",
    "Snowflake": "2013-01-05 10:00:00.000 +0000",
    "Snowflake, west": "2013-01-05 02:00:00.000 -0800",
    "Snowflake, Z": "2013-01-05 10:00:00.000 Z",
    "Snowflake, nine digits": "2013-01-05 10:00:00.000000000 +0000",
    "BigQuery": "2013-01-05 10:00:00 UTC",
    "BigQuery, fraction": "2013-01-05 10:00:00.000000 UTC",
    "SQL Server": "2013-01-05 10:00:00.0000000 +00:00",
    "Spark": "2013-01-05T11:00:00.000+01:00",
    "Java": "2013-01-05T10:00Z",
    "Ruby": "2013-01-05 10:00:00 +0000",
    "Python": "2013-01-05 10:00:00+00:00",
    "RFC 3339, small": "2013-01-05t10:00:00z",
    "HTTP": "2013-01-05 10:00:00 GMT",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
def test_a_time_with_its_zone_is_taken_in_the_form_of_any_system(text: str) -> None:
    assert judged([text, None, text]) == ({0: AT_TEN, 1: None, 2: AT_TEN}, {})


UNCLEAR = [
    "2013-01-05", "03/04/26", "05-JAN-13 10.00.00 AM", "2013-01-05 10:00:00 EST", "1357380000", "2013-01-05 10Z",
    "2013-01-05 10:00:00 America/New_York", "2013-02-30 10:00:00+00", "2013-01-05 25:00:00+00",
    "2013-01-05 10:00:00+99",
    "2013-01-05  10:00:00Z", "2013-01-05 10:00:00  +00", "2013-01-05 10:00:00+0", "2013-01-05 10:00:00.+00", "now",
    "infinity",
    "0000-00-00 00:00:00+00", "1899-12-31 23:59:59+00", "2101-01-01 00:00:00 UTC", "12013-01-05 10:00:00+00",
]  # fmt: skip


def test_what_says_no_moment_is_refused() -> None:
    moments, reasons = judged(list(UNCLEAR))
    assert moments == {}
    assert set(reasons) == set(range(len(UNCLEAR)))


MOMENTS = st.datetimes(datetime(1900, 1, 2), datetime(2100, 12, 30))  # noqa: DTZ001 - the zone is drawn beside it
OFFSETS = st.one_of(st.just(0), st.integers(-14 * 60 + 1, 14 * 60 - 1))
ZONES = {
    "+HH:MM": lambda sign, h, m: f"{sign}{h:02}:{m:02}",
    "+HHMM": lambda sign, h, m: f"{sign}{h:02}{m:02}",
    "+HH": lambda sign, h, m: f"{sign}{h:02}" + (f":{m:02}" if m else ""),
    "Z": lambda sign, h, m: "Z" if h == m == 0 else f"{sign}{h:02}:{m:02}",
    "UTC": lambda sign, h, m: "UTC" if h == m == 0 else f"{sign}{h:02}{m:02}",
}


@st.composite
def written(draw: Any) -> tuple[str, datetime]:
    """A moment, and one of the ways in which some system writes it."""
    local, minutes, digits = draw(MOMENTS), draw(OFFSETS), draw(st.sampled_from([0, 1, 3, 6, 7, 9]))
    local = local.replace(
        microsecond=local.microsecond // 10 ** (6 - min(digits, 6)) * 10 ** (6 - min(digits, 6))
    )
    fraction = f".{local.microsecond:06}000"[: digits + 1] if digits else ""
    zone = draw(st.sampled_from(sorted(ZONES)))
    offset = ZONES[zone]("+" if minutes >= 0 else "-", *divmod(abs(minutes), 60))
    between, before = draw(st.sampled_from("T ")), draw(st.sampled_from(["", " "]))
    text = f"{local.isoformat(between, 'seconds')}{fraction}{before}{offset}"
    return text, local.replace(tzinfo=timezone(timedelta(minutes=minutes))).astimezone(UTC)


@hypothesis(max_examples=200)
@given(st.lists(written(), min_size=1, max_size=4))
def test_a_moment_comes_back_from_each_way_of_writing_it(drawn: list[tuple[str, datetime]]) -> None:
    assert judged([text for text, _ in drawn]) == (dict(enumerate(moment for _, moment in drawn)), {})


def test_a_time_without_a_zone_names_the_setting_that_takes_it() -> None:
    texts: list[str | None] = ["2013-07-05 10:00:00", "2013-07-05T10:00", "2013-07-05 10:00:00.5"]
    moments, reasons = judged(texts)
    assert moments == {}
    assert all("`timezone: UTC`" in reason for reason in reasons.values())
    local = [datetime(2013, 7, 5, 14, tzinfo=UTC)] * 2
    half = local[0] + timedelta(seconds=0.5)
    assert judged(texts, timezone=NEW_YORK) == (dict(enumerate([*local, half])), {})


@hypothesis(max_examples=100)
@example(datetime(2038, 4, 1), NEW_YORK)  # noqa: DTZ001 - from here on Arrow's own zones know no summer
@example(datetime(2013, 10, 6, 2, 15), "Australia/Lord_Howe")  # noqa: DTZ001 - half an hour is skipped
@given(MOMENTS, st.sampled_from([NEW_YORK, "Europe/Berlin", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu"]))
def test_a_local_time_is_the_one_moment_at_which_its_clocks_show_it_or_is_refused(
    local: datetime, zone: str
) -> None:
    """Python's zones say when: an hour that is skipped or comes twice has two readings."""
    from zoneinfo import ZoneInfo

    first, second = (local.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1))
    moments, reasons = judged([local.isoformat(" ")], timezone=zone)
    assert moments == ({0: first} if first == second else {})
    assert bool(reasons) is (first != second)


@pytest.mark.parametrize("text", ["2013-03-10 02:30:00", "2013-11-03 01:30:00"])
def test_a_time_that_clocks_skip_or_repeat_is_refused_unless_it_says_its_zone(text: str) -> None:
    _, reasons = judged([text], timezone=NEW_YORK)
    assert f"clocks of {NEW_YORK}" in reasons[0]
    assert judged([text + "-05"], timezone=NEW_YORK)[1] == {}


def test_what_is_finer_than_a_microsecond_names_the_setting_that_drops_it() -> None:
    text = "2013-01-05 10:00:00.123456789+00"
    _, reasons = judged([text])
    assert "`nanoseconds: cut`" in reasons[0]
    assert judged([text], nanoseconds="cut") == ({0: AT_TEN.replace(microsecond=123456)}, {})


def test_a_remedy_is_not_named_for_a_time_that_it_would_not_take() -> None:
    _, reasons = judged(
        ["2013-02-30 10:00:00", "2013-01-05 25:00:00", "3013-01-05 10:00:00", "2013-02-30 10:00:00.1234567Z"]
    )
    assert len(reasons) == 4
    assert not any("`" in reason for reason in reasons.values())


@pytest.mark.parametrize(("zone", "hour"), [("UTC", 0), ("Europe/Berlin", 23)])
def test_a_day_alone_is_its_first_moment_where_its_zone_is_declared(zone: str, hour: int) -> None:
    moments, wrong = judged(["2013-01-31"], timezone=zone)
    assert wrong == {}
    (found,) = moments.values()
    assert found is not None
    assert found.astimezone(UTC).hour == hour


def test_a_day_alone_is_no_moment_where_no_zone_is_declared() -> None:
    assert len(judged(["2013-01-31"])[1]) == 1
