"""Files that are written unlike others and mean the same: accepted, normalised."""

import gzip
import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pipelines.contracts import IngestResult
from pipelines.prove.awkward.bench import Bench, Case, bad_rows, holds, must, taken
from pipelines.prove.awkward.rows import with_bytes
from pipelines.prove.awkward.sheets import Sheet, lines

BOM = b"\xef\xbb\xbf"
FORMULAS = ["=1+1", "@SUM(A1)", "+1", "-2+3", '=HYPERLINK("http://x","y")', "\t=1", "=cmd|' /C calc'!A0"]
QUOTED = [
    "two\nlines",
    "a\r\nb",
    "\n",
    'x\n"y"\nz',
    "end\n",
    "a,\nb",
    "\n\n\n",
    "\r",
    "a\u2028b",
    "x\u0085y\x0b\x1cz",
]
FREE = {"planes": "model", "orders": "note", "airports": "name"}
"""A free text column of datasets that have one."""


def _accept(bench: Bench, sheet: Sheet, content: bytes, end: str = ".csv") -> IngestResult:
    """Takes the content in and promises that silver holds exactly the sheet's rows."""
    result = taken(bench, sheet.spec, bench.name(sheet.spec, end), content)
    holds(bench, sheet.spec, result, sheet.expected)
    must(result.quarantined == result.superseded == 0, f"{result.name!r}: not every row is in silver")
    return result


def _each(bench: Bench, *writings: Callable[[Sheet], bytes], end: str = ".csv") -> str:
    told = []
    for write in writings:
        sheet = bench.sheet()
        result = _accept(bench, sheet, write(sheet), end)
        told.append(f"{result.silver} {sheet.spec.name}")
    return f"rows in silver as written: {', '.join(told)}"


def _bom(bench: Bench) -> str:
    quoted = lambda sheet: BOM + b'"' + sheet.content.replace(b",", b'",', 1)  # noqa: E731
    return _each(bench, lambda sheet: BOM + sheet.content, quoted)


def _crlf(bench: Bench) -> str:
    sheet = replace(bench.sheet(), end="\r\n")
    result = _accept(bench, sheet, sheet.content)
    return f"{result.silver} {sheet.spec.name} rows in silver as written"


def _mixed(bench: Bench) -> str:
    def write(sheet: Sheet) -> bytes:
        ends = ["\n", "\r\n"]
        return b"".join(
            replace(sheet, end=bench.dice.choice(ends)).record(row) for row in [sheet.names, *sheet.rows]
        )

    return _each(bench, write, write)


def _no_final_newline(bench: Bench) -> str:
    return _each(bench, lambda sheet: sheet.content[:-1], lambda sheet: BOM + sheet.content[:-1])


def _reordered(bench: Bench) -> str:
    def write(sheet: Sheet) -> bytes:
        return sheet.reordered(bench.dice).content

    told = []
    for _ in range(2):
        sheet = bench.sheet()
        content = write(sheet)
        result = taken(bench, sheet.spec, bench.name(sheet.spec), content)
        holds(bench, sheet.spec, result, sheet.expected)
        told.append(f"{result.silver} {sheet.spec.name}")
    return f"rows in silver by column name: {', '.join(told)}"


def _texts(bench: Bench, texts: list[str]) -> Sheet:
    """A sheet with these texts strewn over a free text column."""
    sheet = bench.sheet(*FREE)
    at = sheet.at(FREE[sheet.spec.name])
    rows = [[*row[:at], bench.dice.choice(texts), *row[at + 1 :]] for row in sheet.rows]
    return replace(sheet, rows=rows)


def _quoted_newline(bench: Bench) -> str:
    """Quoted newlines are text; the rows after them are told by the right line, good and bad."""
    sheet = _texts(bench, QUOTED)
    records, at = sheet.records, bench.dice.randrange(1, len(sheet.rows))
    records[at] = with_bytes(sheet, sheet.rows[at], sheet.some("timestamp")[0], b"noon")
    where = lines(sheet.header, records)
    result = taken(bench, sheet.spec, bench.name(sheet.spec), sheet.header + b"".join(records))
    holds(bench, sheet.spec, result, {where[i]: row for i, row in enumerate(sheet.rows) if i != at})
    bad_rows(bench, sheet.spec, result, {where[at]: ("timestamp", records[at])})
    return (
        f"{result.silver} {sheet.spec.name} rows in silver; a bad one after newlines told as line {where[at]}"
    )


def _leading_zeros(bench: Bench) -> str:
    keys = {"orders": "order_id", "planes": "tailnum", "airports": "faa"}
    sheet = bench.sheet(*keys)
    at = sheet.at(keys[sheet.spec.name])
    ids = [
        f"{number:0{bench.dice.randrange(4, 7)}}" for number in bench.dice.sample(range(999), len(sheet.rows))
    ]
    if sheet.spec.name == "airports":
        ids = [f"{number:03}" for number in bench.dice.sample(range(100), len(sheet.rows))]
    sheet = replace(sheet, rows=[[*row[:at], ids[i], *row[at + 1 :]] for i, row in enumerate(sheet.rows)])
    result = _accept(bench, sheet, sheet.content)
    found = [row[keys[sheet.spec.name]] for row in bench.silver(sheet.spec, result.digest)]
    must(found == ids, f"ids {ids[:3]} became {found[:3]}")
    return f"{len(ids)} ids such as {ids[0]} are text"


def _header_only(bench: Bench) -> str:
    """A file of no rows is in, and somebody is told that it has none."""
    for end in (b"\n", b"", b"\r\n", b"\n\n\n"):
        sheet = bench.sheet()
        result = taken(bench, sheet.spec, bench.name(sheet.spec), sheet.header[:-1] + end)
        must(result.parsed == result.silver == result.quarantined == 0, f"{result.name!r} has rows: {result}")
        told = " ".join([result.reason or "", *bench.alerts.said])
        must(re.search(r"\b(0|no) rows|volume", told), f"nobody was told that {result.name!r} has no rows")
    return f"0 rows in; told: {told[:80]}"


def _formula(bench: Bench) -> str:
    """Formulas are kept as they came, in silver and in quarantine, and no report or export runs them."""
    sheet = _texts(bench, FORMULAS)
    records, at = sheet.records, bench.dice.randrange(len(sheet.rows))
    first = sheet.some("string")[0]
    records[at] = with_bytes(sheet, sheet.rows[at], sheet.some("timestamp")[0], b"=NOW()")
    where = lines(sheet.header, records)
    result = taken(bench, sheet.spec, bench.name(sheet.spec), sheet.header + b"".join(records))
    holds(bench, sheet.spec, result, {where[i]: row for i, row in enumerate(sheet.rows) if i != at})
    bad_rows(bench, sheet.spec, result, {where[at]: ("timestamp", records[at])})
    must(first >= 0, "no text column")
    return f"kept verbatim; {_reports_are_inert(bench, result)}"


def _reports_are_inert(bench: Bench, result: IngestResult) -> str:
    """Promises that hostile text in a value shows in the report as text."""
    sheet = bench.sheet("flights")
    hostile = "<script>alert(1)</script>"
    records = sheet.records
    records[3] = with_bytes(sheet, sheet.rows[3], sheet.at("origin"), hostile.encode())
    other = taken(bench, sheet.spec, bench.name(sheet.spec), sheet.header + b"".join(records))
    page = Path(other.report or "").read_text()
    must(hostile not in page and html.escape(hostile) in page, "the report runs what a value says")
    return "reports escape it"


def _extra(bench: Bench) -> str:
    """Columns nobody knows are kept beside the row as JSON, and somebody is told their names."""
    sheet = bench.sheet()
    names = bench.dice.sample(
        ["gate", "Zürich", "a b", "temp°", "x" * 50, "from"], bench.dice.randrange(1, 4)
    )
    texts = [[bench.dice.choice(["", "007", 'a"b', "x\ny", "1,5", "é"]) for _ in names] for _ in sheet.rows]
    to = bench.dice.randrange(len(sheet.names) + 1)
    wide = [[*row[:to], *more, *row[to:]] for row, more in zip(sheet.rows, texts, strict=True)]
    records = [sheet.record(row) for row in wide]
    header = sheet.record([*sheet.names[:to], *names, *sheet.names[to:]])
    result = taken(bench, sheet.spec, bench.name(sheet.spec), header + b"".join(records))
    where = lines(header, records)
    holds(bench, sheet.spec, result, dict(zip(where, sheet.rows, strict=True)))
    _rescued(
        bench,
        sheet,
        result,
        {line: dict(zip(names, t, strict=True)) for line, t in zip(where, texts, strict=True)},
    )
    for name in names:
        must(name in (result.reason or ""), f"the note says nothing of {name!r}: {result.reason!r}")
    plain = bench.sheet(sheet.spec.name)
    _rescued(bench, plain, _accept(bench, plain, plain.content), {})
    return f"{len(names)} unknown columns of {len(records)} {sheet.spec.name} rows rescued"


def _rescued(bench: Bench, sheet: Sheet, result: IngestResult, wanted: dict[int, dict[str, str]]) -> None:
    """Promises that `_rescued` holds these texts as JSON by line, and null without any."""
    for row in bench.silver(sheet.spec, result.digest):
        must("_rescued" in row, "silver has no column _rescued for what nobody asked for")
        found = None if row["_rescued"] is None else json.loads(row["_rescued"])
        due = wanted.get(row["_line"])
        # An empty text may be kept as "", as null, or not at all: it says nothing.
        must(_said(found) == _said(due), f"line {row['_line']} rescued {found}, not {due}")


def _said(texts: Mapping[str, str | None] | None) -> dict[str, str]:
    return {name: text for name, text in (texts or {}).items() if text}


def _gzip(bench: Bench) -> str:
    def members(sheet: Sheet) -> bytes:
        cut = bench.dice.randrange(len(sheet.content))
        return gzip.compress(sheet.content[:cut]) + gzip.compress(sheet.content[cut:])

    padded = lambda sheet: gzip.compress(sheet.content) + b"\0" * 512  # noqa: E731
    return _each(bench, lambda sheet: gzip.compress(sheet.content), members, padded, end=".csv.gz")


CASES = [
    Case("byte-order mark", "ACCEPT", _bom),
    Case("CRLF", "ACCEPT", _crlf),
    Case("mixed line ends", "ACCEPT", _mixed),
    Case("no final newline", "ACCEPT", _no_final_newline),
    Case("reordered columns", "ACCEPT", _reordered),
    Case("quoted newline", "ACCEPT", _quoted_newline),
    Case("leading zeros of an id", "ACCEPT, as text", _leading_zeros),
    Case("header only", "ACCEPT, 0 rows, a volume alert", _header_only),
    Case("formula text", "ACCEPT, verbatim", _formula),
    Case("an extra column", "ACCEPT, rescued as JSON, an alert", _extra),
    Case("gzip", "ACCEPT", _gzip),
]
