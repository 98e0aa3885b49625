"""What a file may be, and what becomes of the rows and files that are not that."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from pipelines.catalog import Column, dataset
from pipelines.contracts import TransientError
from pipelines.reading import values
from pipelines.reading.records import LONGEST_RECORD, Refused
from tests.staged import Found, raw_lines, read

SPEC = dataset("weather")
HEADER = ",".join(SPEC.columns)
ROW = "EWR,2013-01-01T06:00:00Z,39.02,26.06,59.37,270,10.3,,0,1012,10,2013-01-01T07:00:00Z"


def row(**change: str) -> str:
    values = dict(zip(SPEC.columns, ROW.split(","), strict=True)) | change
    return ",".join(values.values())


def file(tmp_path: Path, content: str | bytes, name: str = "weather_1.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def reading(tmp_path: Path, *rows: str) -> Found:
    return read(file(tmp_path, "\n".join([HEADER, *rows]) + "\n"), SPEC)


GOOD = {
    "plain": f"{HEADER}\n{ROW}\n".encode(),
    "byte-order mark": b"\xef\xbb\xbf" + f"{HEADER}\n{ROW}\n".encode(),
    "CRLF": f"{HEADER}\r\n{ROW}\r\n".encode(),
    "mixed line ends": f"{HEADER}\r\n{ROW}\n".encode(),
    "no final newline": f"{HEADER}\n{ROW}".encode(),
    "blank lines": f"{HEADER}\n\n{ROW}\n\r\n\n".encode(),
    "reordered": "\n".join(",".join(reversed(r.split(","))) for r in (HEADER, ROW)).encode(),
    "quoted": f"{HEADER}\n".encode() + ",".join(f'"{v}"' for v in ROW.split(",")).encode() + b"\n",
    "extra column": f"{HEADER},more\n{ROW},1\n".encode(),
}


@pytest.mark.parametrize("content", GOOD.values(), ids=GOOD.keys())
def test_ways_of_writing_the_same_row_are_read_alike(tmp_path: Path, content: bytes) -> None:
    found = read(file(tmp_path, content), SPEC)
    assert (found.parsed, found.bad, found.table.num_rows) == (1, [], 1)
    values = found.table.to_pylist()[0]
    assert values["observed_at"] == datetime(2013, 1, 1, 6, tzinfo=UTC)
    assert values["wind_gust"] is None
    assert values["temp"] == 39.02


def test_an_extra_column_is_kept_as_json_with_a_note_that_says_how_to_accept_it(tmp_path: Path) -> None:
    content = f'{HEADER},gate,"mo\'re ""x""",gate,\n{ROW},B7,"a ""b""",C,D\n{ROW},,,,\n'.encode()
    found = read(file(tmp_path, content), SPEC)
    kept, none = found.table["_rescued"].to_pylist()
    assert json.loads(kept) == {
        "gate": "B7", 'mo\'re "x"': 'a "b"', "gate (2)": "C", "column 16": "D",
    }  # fmt: skip
    assert none is None
    assert "evergreen schema add weather gate" in str(found.note)


def test_a_gzip_file_is_read_like_a_plain_one(tmp_path: Path) -> None:
    assert read(file(tmp_path, gzip.compress(GOOD["plain"]), "weather_1.csv.gz"), SPEC).table.num_rows == 1


def test_a_header_alone_is_a_file_without_rows(tmp_path: Path) -> None:
    found = read(file(tmp_path, HEADER + "\n"), SPEC)
    assert (found.parsed, found.table.num_rows) == (0, 0)


def test_text_is_kept_as_it_came(tmp_path: Path) -> None:
    spec = dataset("airports")
    line = '001,"=1+1, ""x""\nsecond line",1,2,3,,2013-01-01T00:00:00Z,2013-01-01T00:00:00+00:00'
    found = read(file(tmp_path, f"{','.join(spec.columns)}\n{line}\n002{line[3:]}\n"), spec)
    assert found.table["faa"].to_pylist() == ["001", "002"]
    assert found.table["name"].to_pylist() == ['=1+1, "x"\nsecond line'] * 2
    assert found.table["_line"].to_pylist() == [2, 4]


BAD_ROWS = {
    "too short": (ROW.rsplit(",", 1)[0], "column count"),
    "too long": (ROW + ",1", "column count"),
    "stray quote": (row(origin='E"R'), "stray quote"),
    "text after a quote": (row(origin='"EW"R'), "stray quote"),
    "NUL": (row(origin="E\0R"), "NUL byte"),
    "decimal comma in quotes": (row(temp='"39,02"'), "float"),
    "thousands separator": (row(temp='"1,039.02"'), "float"),
    "currency": (row(temp="$39"), "float"),
    "infinite": (row(temp="inf"), "float"),
    "not a number": (row(temp="nan"), "float"),
    "too large": (row(temp="1e400"), "float"),
    "blank before": (row(temp=" 39"), "float"),
    "no such day": (row(observed_at="2026-02-30T00:00:00Z"), "timestamp"),
    "ambiguous day": (row(observed_at="03/04/26"), "timestamp"),
    "far future": (row(observed_at="2999-01-01T00:00:00Z"), "timestamp"),
    "no zone": (row(observed_at="2013-01-01T06:00:00"), "timestamp"),
    "empty key": (row(origin=""), "not null"),
}


@pytest.mark.parametrize(("broken", "rule"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_broken_row_is_refused_with_line_rule_and_bytes(tmp_path: Path, broken: str, rule: str) -> None:
    found = reading(tmp_path, *[ROW] * 5, broken, *[ROW] * 5)
    assert (found.parsed, found.table.num_rows) == (11, 10)
    [bad] = found.bad
    assert (bad.line, bad.rule, bad.raw) == (7, rule, broken.encode() + b"\n")
    assert bad.reason
    assert found.table["_line"].to_pylist() == [2, 3, 4, 5, 6, 8, 9, 10, 11, 12]


@pytest.mark.parametrize(
    "value", ["1.0", "1e3", "9223372036854775808", "--1", "+1", "1_000"], ids=lambda value: value
)
def test_an_integer_is_digits_that_fit(tmp_path: Path, value: str) -> None:
    spec = dataset("planes")
    line = "{},2004,jet,EMBRAER,E1,2,{},2013-01-01T00:00:00Z,2013-01-01T00:00:00Z"
    rows = [line.format("N1", 55), line.format("N2", value), *(line.format(f"N{i}", 5) for i in range(3, 9))]
    found = read(file(tmp_path, "\n".join([",".join(spec.columns), *rows])), spec)
    assert [(bad.line, bad.rule) for bad in found.bad] == [(3, "integer")]


PLAIN = GOOD["plain"]
BAD_FILES = {
    "0 bytes": (b"", "empty"),
    "no header": (f"{ROW}\n{ROW}\n".encode(), "no header"),
    "preamble": (b"Weather report\n" + PLAIN, "no header"),
    "missing column": (PLAIN.replace(b",temp,", b",", 1), "'temp'"),
    "renamed column": (PLAIN.replace(b",temp,", b",temperature,", 1), "'temperature'"),
    "doubled column": (PLAIN.replace(b",temp,", b",temp,temp,", 1), "twice"),
    "semicolons": (PLAIN.replace(b",", b";"), "delimiter"),
    "tabs": (PLAIN.replace(b",", b"\t"), "delimiter"),
    "cut off": (f"{HEADER}\n{ROW}\n{ROW[:40]}".encode(), "cut off"),
    "all one too many": ((f"{HEADER}\n" + f"{ROW},1\n" * 3).encode(), "13 fields"),
    "a type changed": ((f"{HEADER}\n" + (row(temp="warm") + "\n") * 30).encode(), "warm"),
    "many bad rows": ((f"{HEADER}\n" + f"{ROW}\n" * 20 + f"{row(temp='x')}\n" * 10).encode(), "10 of 30"),
    "unclosed quote": (f'{HEADER}\n"{ROW}\n{ROW}\n'.encode(), "unclosed quote"),
    "latin-1": (PLAIN.replace(b"EWR", b"\xe9WR"), "UTF-8"),
    "UTF-16": (PLAIN.decode().encode("utf-16"), "UTF-16"),
    "binary junk": (bytes(range(256)) * 40, "UTF-8"),
    "zip": (b"PK\x03\x04" + PLAIN, "zip"),
    "parquet": (b"PAR1" + PLAIN, "Parquet"),
    "JSON": (b'{"origin": "EWR"}\n', "JSON"),
    "lone carriage returns": (PLAIN.replace(b"\n", b"\r"), "carriage return"),
    "gzip without .gz": (gzip.compress(PLAIN), ".gz"),
    "many columns": (HEADER.encode() + b",x" * 100_000 + b"\n", "columns"),
    "long field": (f"{HEADER}\n{'x' * (LONGEST_RECORD * 10)}".encode(), "bytes"),
}


@pytest.mark.parametrize(("content", "reason"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_cannot_be_trusted_is_refused_with_one_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(Refused, match=reason.replace("'", ".")):
        read(file(tmp_path, content), SPEC)


BAD_GZIP = {
    "truncated": (gzip.compress(PLAIN * 50)[:-20], "cut off"),
    "bad checksum": (gzip.compress(PLAIN)[:-8] + b"\0" * 8, "gzip"),
    "text named gz": (PLAIN, "gzip"),
    "bomb": (gzip.compress(b"x" * 30_000_000), "limit"),
}


@pytest.mark.parametrize(("content", "reason"), BAD_GZIP.values(), ids=BAD_GZIP.keys())
def test_a_broken_gzip_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    small = SPEC.model_copy(update={"max_bytes": 1_000_000})
    with pytest.raises(Refused, match=reason):
        read(file(tmp_path, content, "weather_1.csv.gz"), small)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = file(tmp_path, PLAIN, "elsewhere")
    (tmp_path / "weather_1.csv").symlink_to(target)
    with pytest.raises(Refused, match="opened"):
        read(tmp_path / "weather_1.csv", SPEC)


def test_a_file_that_vanished_may_come_again(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="vanished"):
        read(tmp_path / "weather_1.csv", SPEC)


def test_lines_hold_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.reading import records

    monkeypatch.setattr(records, "CHUNK", 200)
    rows = [row(temp="x" if i == 77 else str(i)) for i in range(200)]
    found = reading(tmp_path, *rows)
    assert [bad.line for bad in found.bad] == [79]
    temps = dict(zip(found.table["_line"].to_pylist(), found.table["temp"].to_pylist(), strict=True))
    assert temps == {i + 2: float(i) for i in range(200) if i != 77}
    wanted = raw_lines(tmp_path / "weather_1.csv", SPEC, {2, 150})
    assert wanted == {2: f"{rows[0]}\n".encode(), 150: f"{rows[148]}\n".encode()}


@hypothesis(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 20 * len(ROW)),
    st.one_of(
        st.binary(max_size=6), st.sampled_from([b'"', b",", b"\n", b"\r", b"\0", b'""', b"\xc3", b"9"])
    ),
    st.integers(0, 3),
)
def test_every_row_of_a_damaged_file_is_read_or_refused(
    tmp_path: Path, at: int, put: bytes, cut: int
) -> None:
    content = (HEADER + "\n" + f"{ROW}\n" * 20).encode()
    at += len(HEADER)
    path = file(tmp_path, content[:at] + put + content[at + cut :])
    try:
        found = read(path, SPEC)
    except Refused:
        return
    assert found.parsed == found.table.num_rows + len(found.bad)
    lines = found.table["_line"].to_pylist() + [bad.line for bad in found.bad]
    assert len(set(lines)) == found.parsed
    assert raw_lines(path, SPEC, {bad.line for bad in found.bad}) == {b.line: b.raw for b in found.bad}


MOMENTS = st.datetimes(datetime(1890, 1, 1), datetime(2110, 1, 1))  # noqa: DTZ001 - the zone is written after
TEXTS = {
    "integer": st.one_of(
        st.integers(-(2**64), 2**64).map(str),
        st.sampled_from(["007", "-0", "0x1F", " 1", "1 ", "+1", "1.0", "-", "--1", "1e3", "9223372036854775807"]),
        st.text("-0123456789+ex.", min_size=1, max_size=6),
    ),
    "float": st.one_of(
        st.floats().map(str),
        st.sampled_from(["1.", ".5", ".", "1e400", "-1e400", "1e-400", "inf", "nan", "1_0", "0x1p3", "1e5", "-.5E+3"]),
        st.text("-0123456789+eE.", min_size=1, max_size=8),
    ),
    "timestamp": st.one_of(
        MOMENTS.map(lambda t: t.isoformat() + "Z"),
        MOMENTS.map(lambda t: f"{t:%Y-%m-%dT%H:%M:%SZ}"),
        st.sampled_from(
            ["2013-02-30T00:00:00Z", "2013-01-01T24:00:00Z", "2013-01-01T23:59:60Z", "2013-01-01T05:00:00z",
             "2013-01-01 05:00:00Z", "2013-01-01T05:00+0100", "2013-1-01T05:00:00ZZ", "+013-01-01T05:00:00Z"]
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS)
@hypothesis(max_examples=100)
@given(st.data())
def test_the_fast_way_takes_only_what_the_strict_way_takes_with_the_same_values(kind: str, data: Any) -> None:
    """A column read at once must mean what each of its values means by the rules."""
    column = Column(type=kind, description="x", nullable=True)
    texts = data.draw(st.lists(st.one_of(st.none(), TEXTS[kind]), min_size=1, max_size=5))
    spec = SPEC.model_copy(update={"columns": {"x": column}})
    fast = values._fast(column, pa.chunked_array([pa.array(texts, pa.string())]))
    table = pa.table({"x": pa.array(texts, pa.string()), "_index": range(len(texts))})
    slow, ill = values._slow(spec, table, list(spec.columns))
    if fast is not None:
        assert ill == {}
        assert fast.to_pylist() == slow["x"].to_pylist()


PLAINLY = {"string": "EWR", "integer": "-42", "float": "4.2", "timestamp": "2013-01-01T05:00:00Z"}
ODD = {
    kind: st.one_of(st.none(), TEXTS.get(kind, st.sampled_from([" ", "\u3000", "Ä", "x\ty", "\t", "é "])))
    for kind in PLAINLY
}


@hypothesis(max_examples=200)
@given(st.data())
def test_odd_rows_among_plain_ones_are_typed_or_refused_as_the_strict_way_does_with_all(data: Any) -> None:
    """Only the rows and columns that are not plain are asked of SQL; what comes of them must not show that."""
    null = {kind: data.draw(st.booleans()) for kind in PLAINLY}
    columns = {kind: Column(type=kind, description="x", nullable=null[kind]) for kind in PLAINLY}
    spec = SPEC.model_copy(update={"columns": columns, "key": ["string"]})
    rows = [dict(PLAINLY) for _ in range(16)]
    for _ in range(data.draw(st.integers(1, 6))):
        kind = data.draw(st.sampled_from([*PLAINLY]))
        rows[data.draw(st.integers(0, 15))][kind] = data.draw(ODD[kind])
    texts = pa.table({kind: pa.array([row[kind] for row in rows], pa.string()) for kind in PLAINLY})
    texts = texts.append_column("_index", pa.array(range(3, 35, 2)))
    found, ill = values.typed(spec, texts)
    strictly, wrong = values._slow(spec, texts, [*PLAINLY])
    assert found.equals(strictly)
    assert ill == wrong
    assert found.num_rows + len(ill) == 16


def test_of_a_block_with_one_bad_row_sql_is_asked_of_that_row_and_column_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    slow = values._slow
    monkeypatch.setattr(
        values, "_slow", lambda *given: asked.append((len(given[1]), given[2])) or slow(*given)
    )
    found = reading(tmp_path, *[ROW] * 20, row(humid="wet"), *[ROW] * 20)
    assert asked == [(1, ["humid"])]
    assert (found.table.num_rows, [bad.line for bad in found.bad]) == (40, [22])


@pytest.mark.parametrize(
    ("kind", "text"), [("integer", "-42"), ("float", "4.2"), ("timestamp", "2013-01-01T05:00:00Z")]
)
def test_plain_values_go_the_fast_way(kind: str, text: str) -> None:
    column = Column(type=kind, description="x")
    assert values._fast(column, pa.chunked_array([pa.array([text] * 3)])) is not None
