"""Parquet as other systems write it: what loses nothing is taken, the rest is its row's fault, nothing is changed."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from pipelines.catalog import Column, DatasetSpec
from pipelines.reading import arrow_values, times, values
from pipelines.reading.conversions import converted
from pipelines.reading.records import Refused
from tests.staged import Found, raw_lines, read

MILLI = pa.timestamp("ms", "UTC")
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GOOD = datetime(2013, 1, 5, 10, tzinfo=UTC)
SPEC = DatasetSpec(
    name="orders",
    description="Made up.",
    owner="nobody",
    pattern="orders_*",
    version=2,
    key=("id",),
    event_time="at",
    available_at="known",
    columns={
        "id": Column(type="string", description="x"),
        "at": Column(type="timestamp", description="x"),
        "known": Column(type="timestamp", description="x"),
        "seen": Column(type="timestamp", nullable=True, since=2, description="no rule looks at it"),
        "count": Column(type="integer", nullable=True, since=2, description="x"),
        "amount": Column(type="float", nullable=True, since=2, description="x"),
    },
)


def changed(*names: str, **change: Any) -> DatasetSpec:
    """The dataset with some columns declared otherwise."""
    columns = {name: SPEC.columns[name].model_copy(update=change) for name in names}
    return SPEC.model_copy(update={"columns": SPEC.columns | columns})


LOCAL = changed("seen", timezone="America/New_York")
ROWS = 40


def stamp(moment: datetime, unit: str) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * UNITS[unit] // 10**6


def table(**columns: pa.Array) -> pa.Table:
    """Rows as the dataset has them, some columns as given; every row has the key of its number."""
    rows = max([len(column) for column in columns.values()] or [ROWS])
    at = pa.array([GOOD] * rows, pa.timestamp("us", "UTC"))
    made = {"id": pa.array([f"{i:03}" for i in range(rows)]), "at": at, "known": at}
    return pa.table(made | columns)


def taken(tmp_path: Path, rows: pa.Table, spec: DatasetSpec = SPEC, **options: Any) -> Found:
    pq.write_table(rows, tmp_path / "orders_1.parquet", **options)
    return read(tmp_path / "orders_1.parquet", spec)


def filled(values: list[Any], kind: pa.DataType, rest: Any = None) -> pa.Array:
    """The values, then enough others that a few bad rows do not refuse the file."""
    return pa.array(values + [rest] * (ROWS - len(values)), kind)


def moment(number: int, unit: str) -> str:
    """The oracle: ISO 8601 of any number of seconds since 1970, by integers that have no end."""
    seconds, rest = divmod(number, UNITS[unit])
    days, second = divmod(seconds, 86_400)
    era, day = divmod(days + 719_468, 146_097)
    year_of_era = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day_of_year = day - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153
    date = day_of_year - (153 * month + 2) // 5 + 1
    year = year_of_era + era * 400 + (month >= 10)
    sign, digits = "-" * (year < 0), f"{abs(year):04}"
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    fraction = f".{rest:0{len(str(UNITS[unit])) - 1}}" if unit != "s" else ""
    return f"{sign}{digits}-{month + 3 if month < 10 else month - 9:02}-{date:02}T{clock}{fraction}"


FOR_EVER = {
    "ms": [
        253_402_300_800_000,
        stamp(datetime(2999, 1, 1, tzinfo=UTC), "ms"),
        stamp(GOOD, "ms") + 2**64 // 1000 + 1,
    ],
    "us": [253_402_300_800_000_000, stamp(datetime(1, 1, 1, tzinfo=UTC), "us")],
    "ns": [stamp(datetime(2150, 1, 1, tzinfo=UTC), "ns"), stamp(datetime(1800, 1, 1, tzinfo=UTC), "ns")],
}
"""Besides the largest and smallest: year 10000 and the like, and what would be January 2013 if 64 bits overflowed."""
ENDS = [2**63 - 1, -(2**63), -(2**63) + 1]


def told(number: int, unit: str, zone: str) -> str:
    return f"{number} {unit} from 1970" if number == -(2**63) else moment(number, unit) + zone


@pytest.mark.parametrize("name", ["at", "known", "seen"])
@pytest.mark.parametrize("unit", FOR_EVER)
def test_a_time_of_another_age_puts_its_row_into_quarantine_with_the_value_as_it_is(
    tmp_path: Path, name: str, unit: str
) -> None:
    odd = [*FOR_EVER[unit], *ENDS]
    numbers = filled(odd, pa.int64(), stamp(GOOD, unit))
    found = taken(tmp_path, table(**{name: numbers.view(pa.timestamp(unit, "UTC"))}))
    assert [(bad.line, bad.rule) for bad in found.bad] == [(i, "timestamp") for i in range(1, len(odd) + 1)]
    assert [json.loads(bad.raw)[name] for bad in found.bad] == [told(number, unit, "Z") for number in odd]
    assert all(bad.reason.startswith(f"{name}: ") for bad in found.bad)
    assert set(found.table[name].to_pylist()) == {GOOD}
    assert raw_lines(tmp_path / "orders_1.parquet", SPEC, {3}) == {3: found.bad[2].raw}


@pytest.mark.parametrize("zone", ["UTC", "No/Where", None])
@pytest.mark.parametrize("unit", FOR_EVER)
def test_a_time_of_another_age_in_an_unknown_column_is_kept_as_it_is(
    tmp_path: Path, unit: str, zone: str | None
) -> None:
    odd = [*FOR_EVER[unit], *ENDS]
    found = taken(tmp_path, table(more=pa.array([*odd, None]).view(pa.timestamp(unit, zone))))
    assert found.bad == []
    *kept, none = found.table["_rescued"].to_pylist()
    assert none is None
    told_ones = [told(number, unit, "Z" if zone else "") for number in odd]
    assert [json.loads(text)["more"] for text in kept] == told_ones


@hypothesis(max_examples=300)
@given(st.sampled_from(sorted(UNITS)), st.lists(st.integers(-(2**63) + 1, 2**63 - 1), min_size=1, max_size=4))
@example("s", [0, -1, 951_782_400, 2**63 - 1, -(2**63) + 1])
def test_a_time_of_any_size_is_written_as_big_integers_would_have_it(unit: str, numbers: list[int]) -> None:
    array = pa.array(numbers).view(pa.timestamp(unit))
    assert arrow_values.plain(array) == [moment(number, unit) for number in numbers]


NEAR = st.integers(-2_300_000_000, 4_300_000_000)


@hypothesis(max_examples=100)
@given(
    st.sampled_from(sorted(UNITS)),
    st.lists(
        st.one_of(st.integers(-(2**63), 2**63 - 1), st.tuples(NEAR, st.integers(0, 10**9 - 1))),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["UTC", "Asia/Tokyo", "No/Where", None]),
)
def test_a_time_is_taken_exactly_or_refused(unit: str, drawn: list[Any], zone: str | None) -> None:
    spec = changed("seen", timezone=None if zone else "UTC")
    numbers = [n if isinstance(n, int) else n[0] * UNITS[unit] + n[1] * UNITS[unit] // 10**9 for n in drawn]
    array = pa.array([n if -(2**63) <= n < 2**63 else 0 for n in numbers]).view(pa.timestamp(unit, zone))
    text, faults = converted(array, "seen", spec)
    one = spec.model_copy(update={"columns": {"seen": spec.columns["seen"]}})
    found, ill = values.typed(one, pa.table({"seen": text, "_index": range(len(text))}))
    fates = dict(zip(found["_index"].to_pylist(), found["seen"].cast(pa.int64()).to_pylist(), strict=True))
    for index, number in enumerate(array.view(pa.int64()).to_pylist()):
        microseconds, rest = divmod(number * 10**6, UNITS[unit])
        year = moment(number, unit).partition("T")[0][:-6]
        assert fates.get(index) == (microseconds if rest == 0 and 1900 <= int(year) <= 2100 else None)
        assert (index in ill) is (index not in fates)
    assert faults == {}


def test_every_type_in_unknown_columns_is_kept_as_json(tmp_path: Path) -> None:
    odd = {
        "day": pa.array([0, 2**31 - 1], pa.int32()).view(pa.date32()),
        "clock": pa.array([3_600_000_001, 10**15]).view(pa.time64("us")),
        "span": pa.array([1, 2**63 - 1]).view(pa.duration("us")),
        "exact": pa.array([Decimal("1E-7"), None], pa.decimal128(38, 10)),
        "wide": pa.array([Decimal(10**50), None], pa.decimal256(60, 0)),
        "wild": pa.array([float("nan"), float("-inf")]),
        "half": pa.array(np.array([1.5, np.nan], np.float16)),
        "raw": pa.array([b"a", b"\xff"]),
        "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0123456789abcdef"] * 2, pa.binary(16))),
        "list": pa.array([[1, None], None]),
        "map": pa.array([[("k", 2**63 - 1)], []], pa.map_(pa.string(), pa.timestamp("us"))),
        "deep": pa.array([{"a": [{"b": 2**63 - 1}]}, None], pa.struct([("a", pa.list_(pa.struct([("b", MILLI)])))])),
        "codes": pa.array(["x", None]).dictionary_encode(),
        "times": pa.array([2**63 - 1, 0]).view(pa.timestamp("us")).dictionary_encode(),
        "nothing": pa.nulls(2),
        "flag": pa.array([True, False]),
    }  # fmt: skip
    first = {
        "day": "1970-01-01", "clock": "01:00:00.000001", "span": "1 us", "exact": "0.0000001000", "wide": str(10**50),
        "wild": "nan", "half": "1.5", "raw": "a", "uuid": "30313233-3435-3637-3839-616263646566", "list": "[1, null]",
        "map": '[{"key": "k", "value": "294247-01-10T04:00:54.775807"}]',
        "deep": '{"a": [{"b": "292278994-08-17T07:12:55.807Z"}]}', "codes": "x",
        "times": "294247-01-10T04:00:54.775807", "nothing": None, "flag": "true",
    }  # fmt: skip
    found = taken(tmp_path, table(**odd))
    one, two = (json.loads(text) for text in found.table["_rescued"].to_pylist())
    assert one == first
    assert (two["day"], two["clock"], two["wild"], two["raw"]) == (
        "5881580-07-11",
        "1000000000000000 us",
        "-inf",
        "0xff",
    )
    refused = taken(tmp_path, table(**odd, count=pa.array(["x", "1"])))
    [bad] = refused.bad
    assert json.loads(bad.raw)["deep"] == json.loads(first["deep"] or "")


TYPES = {
    "text": (["ab", None, "{}"], [pa.string(), pa.large_string(), pa.string_view()]),
    "bytes": ([b"ab\xff", None, b"abc"], [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(3)]),
    "number": ([1, None, 2], [pa.int8(), pa.uint64(), pa.float32(), pa.decimal64(10, 2), pa.decimal256(70, 3)]),
    "short time": ([0, None, 86_399], [pa.date32(), pa.time32("s"), pa.time32("ms")]),
    "long time": ([0, None, 86_400_000], [pa.time64("ns"), pa.timestamp("s"), pa.timestamp("ns"), pa.duration("s")]),
    "flag": ([True, None, False], [pa.bool_()]),
}  # fmt: skip
CONTAINERS = {
    "plain": lambda a: a,
    "codes": lambda a: a.dictionary_encode(),
    "list": lambda a: pa.ListArray.from_arrays([0, 2, 2, 3], a),
    "large list": lambda a: pa.LargeListArray.from_arrays([0, 2, 2, 3], a),
    "list view": lambda a: pa.ListViewArray.from_arrays([0, 1, 2], [1, 1, 1], a),
    "fixed list": lambda a: pa.FixedSizeListArray.from_arrays(a, 1),
    "struct": lambda a: pa.StructArray.from_arrays([a, a], ["x", "x"]),
    "map": lambda a: pa.MapArray.from_arrays([0, 1, 2, 3], pa.array(["a", "b", "c"]), a),
}


def made(values: list[Any], kind: pa.DataType) -> pa.Array:
    """The values as this type, times by the numbers that lie under them."""
    if not pa.types.is_temporal(kind):
        return pa.array(
            [v if v is None or not pa.types.is_decimal(kind) else Decimal(v) for v in values], kind
        )
    return pa.array(values, pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("family", TYPES)
def test_any_type_in_any_container_is_read_kept_and_refused_with_its_row(
    tmp_path: Path, family: str, container: str
) -> None:
    """A column of each type, all in one file."""
    values, kinds = TYPES[family]
    columns = {
        str(kind): CONTAINERS[container](made(values, kind))
        for kind in kinds
        # Arrow does not write codes of decimals and of views.
        if container != "codes" or not (pa.types.is_decimal(kind) or "view" in str(kind))
    }
    rows = table(**columns, count=pa.array(["x", "1", "2"]))
    for stored in (True, False):
        found = taken(tmp_path, rows, store_schema=stored)
        assert (found.table.num_rows, [bad.line for bad in found.bad]) == (2, [1])
        raw = json.loads(found.bad[0].raw)
        assert [name for name in columns if raw[name] is None] == []
        assert raw_lines(tmp_path / "orders_1.parquet", SPEC, {1}) == {1: found.bad[0].raw}


def test_two_unknown_columns_of_one_name_both_lie_in_the_raw_row(tmp_path: Path) -> None:
    rows = table(count=filled(["x"], pa.string(), "1"))
    twice = pa.Table.from_arrays(
        [*rows.columns, rows["id"], rows["id"]], [*rows.column_names, "more", "more"]
    )
    [bad] = taken(tmp_path, twice).bad
    assert {"more", "more (2)"} <= set(json.loads(bad.raw))


WHOLE = {
    "doubles of pandas": (filled([7.0, None, -0.0, 2.0**53 - 1], pa.float64()), [7, None, 0, 2**53 - 1]),
    "floats": (filled([7.0, None, 2.0**24 - 1], pa.float32()), [7, None, 2**24 - 1]),
    "decimals of Snowflake": (filled([Decimal(7), None, Decimal(2**62)], pa.decimal128(38, 0)), [7, None, 2**62]),
    "decimals of Spark": (filled([Decimal("700"), None], pa.decimal128(38, 18)), [700, None]),
    "wide decimals": (filled([Decimal(-(2**63)), None], pa.decimal256(50, 0)), [-(2**63), None]),
    "unsigned": (filled([7, None, 2**63 - 1], pa.uint64()), [7, None, 2**63 - 1]),
    "codes": (filled([7, None, 8], pa.int64()).dictionary_encode(), [7, None, 8]),
    "texts": (filled(["7", None, "007"], pa.string()), [7, None, 7]),
    "bytes": (filled([b"7", None], pa.binary()), [7, None]),
}  # fmt: skip


@pytest.mark.parametrize(("column", "there"), WHOLE.values(), ids=WHOLE.keys())
def test_a_column_of_whole_numbers_is_one_of_integers(
    tmp_path: Path, column: pa.Array, there: list[int | None]
) -> None:
    found = taken(tmp_path, table(count=column))
    assert found.bad == []
    assert found.table["count"].to_pylist()[: len(there)] == there


NOT_WHOLE = {
    "a fraction": filled([7.5], pa.float64()),
    "not a number": filled([float("nan")], pa.float64()),
    "infinite": filled([float("inf")], pa.float64()),
    "beyond doubles": filled([2.0**53], pa.float64()),
    "beyond floats": filled([2.0**24], pa.float32()),
    "far beyond": filled([1e300], pa.float64()),
    "a decimal's fraction": filled([Decimal("7.50")], pa.decimal128(10, 2)),
    "beyond 64 bits": filled([Decimal(2**63)], pa.decimal128(38, 0)),
    "unsigned": filled([2**64 - 1], pa.uint64()),
    "a text's fraction": filled(["7.0"], pa.string()),
    "bytes": filled([b"\xff\xfe"], pa.binary()),
}


@pytest.mark.parametrize("column", NOT_WHOLE.values(), ids=NOT_WHOLE.keys())
def test_what_is_no_integer_is_its_rows_fault(tmp_path: Path, column: pa.Array) -> None:
    found = taken(tmp_path, table(count=column))
    assert [(bad.line, bad.rule) for bad in found.bad] == [(1, "integer")]
    assert found.table.num_rows == ROWS - 1


EXACT = {
    "decimal": (filled([Decimal("12.34"), None], pa.decimal128(38, 18)), [12.34, None]),
    "fifteen digits": (filled([Decimal("0.000123456789012345")], pa.decimal128(38, 18)), [0.000123456789012345]),
    "large and round": (filled([Decimal(12 * 10**30)], pa.decimal128(38, 0)), [12e30]),
    "integers": (filled([2**53, -(2**53)], pa.int64()), [2.0**53, -(2.0**53)]),
    "a float as the number it is": (filled([np.float32(0.1)], pa.float32()), [float(np.float32(0.1))]),
    "half": (pa.array(np.array([1.5] * ROWS, np.float16)), [1.5]),
}  # fmt: skip


@pytest.mark.parametrize(("column", "there"), EXACT.values(), ids=EXACT.keys())
def test_numbers_that_a_double_holds_are_taken(
    tmp_path: Path, column: pa.Array, there: list[float | None]
) -> None:
    found = taken(tmp_path, table(amount=column))
    assert found.bad == []
    assert found.table["amount"].to_pylist()[: len(there)] == there


INEXACT = {
    "sixteen digits": filled([Decimal("1.234567890123456")], pa.decimal128(38, 18)),
    "a large integer": filled([2**53 + 1], pa.int64()),
    "a small one": filled([-(2**53) - 1], pa.int64()),
    "an unsigned one": filled([2**64 - 1], pa.uint64()),
    "infinite": filled([float("inf")], pa.float64()),
}


@pytest.mark.parametrize("column", INEXACT.values(), ids=INEXACT.keys())
def test_numbers_that_a_double_would_change_are_their_rows_fault(tmp_path: Path, column: pa.Array) -> None:
    found = taken(tmp_path, table(amount=column))
    assert [(bad.line, bad.rule) for bad in found.bad] == [(1, "float")]


WORDS = {
    "binary": pa.array([b"Z\xc3\xbcrich"] * ROWS),
    "large": pa.array(["Zürich".encode()] * ROWS, pa.large_binary()),
    "fixed": pa.array(["Zürich".encode()] * ROWS, pa.binary(7)),
    "view": pa.array(["Zürich"] * ROWS, pa.string_view()),
    "codes": pa.array(["Zürich"] * ROWS).dictionary_encode(),
}


@pytest.mark.parametrize("column", WORDS.values(), ids=WORDS.keys())
def test_bytes_in_utf8_are_texts(tmp_path: Path, column: pa.Array) -> None:
    spec = SPEC.model_copy(
        update={"columns": SPEC.columns | {"name": Column(type="string", description="x")}}
    )
    found = taken(tmp_path, table(name=column), spec)
    assert (found.bad, set(found.table["name"].to_pylist())) == ([], {"Zürich"})


def test_bytes_that_are_no_text_are_their_rows_fault_and_a_uuid_is_a_text(tmp_path: Path) -> None:
    uuid = pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([bytes([i] * 16) for i in range(ROWS)], pa.binary(16))
    )
    assert (
        taken(tmp_path, table(id=uuid)).table["id"].to_pylist()[1] == "01010101-0101-0101-0101-010101010101"
    )
    odd = pa.array([b"\xffa", *(f"{i}".encode() for i in range(ROWS - 1))])
    [bad] = taken(tmp_path, table(id=odd)).bad
    assert (bad.line, bad.rule, json.loads(bad.raw)["id"]) == (1, "string", "0xff61")


def test_times_without_a_zone_are_taken_where_the_column_names_it(tmp_path: Path) -> None:
    naive = [datetime(2013, 7, 5, 10), datetime(2013, 3, 10, 2, 30), datetime(2013, 11, 3, 1, 30), None]  # noqa: DTZ001
    for column in (
        filled(naive, pa.timestamp("us")),
        filled([n and n.isoformat() for n in naive], pa.string()),
    ):
        found = taken(tmp_path, table(seen=column), LOCAL)
        assert found.table["seen"].to_pylist()[:2] == [datetime(2013, 7, 5, 14, tzinfo=UTC), None]
        assert [bad.line for bad in found.bad] == [2, 3]
        assert all("America/New_York" in bad.reason for bad in found.bad)
    with pytest.raises(Refused, match=r"seen.*timezone: UTC"):
        taken(tmp_path, table(seen=filled(naive, pa.timestamp("us"))))


@pytest.mark.parametrize("where", ["seen", "more", "deep"])
def test_the_96_bits_of_spark_are_read_exactly_however_far(tmp_path: Path, where: str) -> None:
    """Arrow makes nanoseconds of 64 bits of them, which wrap around without a word."""
    spec = changed("at", "known", "seen", timezone="UTC")
    numbers = [
        stamp(GOOD, "us") + 1,
        stamp(datetime(9999, 12, 31, tzinfo=UTC), "us"),
        253_402_300_800_000_000,
    ]
    values = filled(numbers, pa.int64()).view(pa.timestamp("us"))
    column = pa.StructArray.from_arrays([values], ["x"]) if where == "deep" else values
    found = taken(tmp_path, table(**{where: column}), spec, use_deprecated_int96_timestamps=True)
    if where == "seen":
        assert [(bad.line, bad.rule) for bad in found.bad] == [(2, "timestamp"), (3, "timestamp")]
        assert found.table["seen"].to_pylist()[0] == GOOD + timedelta(microseconds=1)
        return
    kept = [json.loads(text)[where] for text in found.table["_rescued"].to_pylist()[:3]]
    texts = [json.loads(text)["x"] if where == "deep" else text for text in kept]
    assert texts == ["2013-01-05T10:00:00.000001000", "9999-12-31T00:00:00", "10000-01-01T00:00:00"]


def test_nanoseconds_are_refused_unless_the_column_cuts_them(tmp_path: Path) -> None:
    usual = stamp(GOOD, "ns")
    array = filled([usual + 1, usual + 1000, -1], pa.int64(), usual).view(pa.timestamp("ns", "UTC"))
    found = taken(tmp_path, table(seen=array))
    assert [bad.line for bad in found.bad] == [1, 3]
    assert all("nanoseconds: cut" in bad.reason for bad in found.bad)
    spec = changed("seen", nanoseconds="cut")
    moments = taken(tmp_path, table(seen=array), spec).table["seen"].to_pylist()[:3]
    one = timedelta(microseconds=1)
    assert moments == [GOOD, GOOD + one, EPOCH - one]


def test_a_file_of_many_columns_in_columns_is_refused(tmp_path: Path) -> None:
    many = pa.StructArray.from_arrays([pa.nulls(3, pa.int64())] * 2000, [f"c{i}" for i in range(2000)])
    with pytest.raises(Refused, match="columns"):
        taken(tmp_path, table(more=many))
    deep = pa.array([1] * 3)
    for _ in range(60):
        deep = pa.StructArray.from_arrays([deep], ["x"])
    with pytest.raises(Refused, match="nested"):
        taken(tmp_path, table(more=deep))


def test_a_long_text_said_once_and_meant_often_is_worked_on_in_stretches(tmp_path: Path) -> None:
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(5000, np.int32)), pa.array(["x" * 100_000]))
    small = SPEC.model_copy(update={"max_bytes": 100_000_000})
    with pytest.raises(Refused, match="limit"):
        taken(tmp_path, table(more=long), small)
    huge = pa.DictionaryArray.from_arrays(pa.array(np.zeros(3, np.int32)), pa.array(["x" * 2_000_000]))
    with pytest.raises(Refused, match="above"):
        taken(tmp_path, table(more=huge))


def test_names_in_another_case_are_named_as_that_and_taken_by_a_setting(tmp_path: Path) -> None:
    rows = table(count=filled([7], pa.int64()))
    capitals = rows.rename_columns([name.upper() for name in rows.column_names])
    with pytest.raises(Refused, match=r"'id'.*only in case differs 'ID': `any_case: true`"):
        taken(tmp_path, capitals)
    spec = SPEC.model_copy(update={"any_case": True})
    found = taken(tmp_path, capitals, spec)
    assert (found.bad, found.note, found.table["count"].to_pylist()[0]) == ([], None, 7)
    kept = taken(tmp_path, table(count=filled([7], pa.int64()), COUNT=filled([8], pa.int64())), spec)
    assert kept.table["count"].to_pylist()[0] == 7
    assert json.loads(kept.table["_rescued"].to_pylist()[0]) == {"COUNT": "8"}
    with pytest.raises(Refused, match="twice"):
        taken(tmp_path, table(Count=filled([7], pa.int64()), COUNT=filled([8], pa.int64())), spec)
    assert "any_case" in str(taken(tmp_path, table(COUNT=filled([8], pa.int64()))).note)


def test_local_times_are_in_utc_wherever_the_clocks_are_clear() -> None:
    local = pa.array([0, -2_208_988_800_000_000, 4_133_894_400_000_000]).view(pa.timestamp("us"))
    assert times.instants(local, "UTC").to_pylist() == [t.replace(tzinfo=UTC) for t in local.to_pylist()]
