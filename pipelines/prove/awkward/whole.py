"""Files that must be refused whole, each with one clear reason."""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa

from pipelines.catalog import DatasetSpec
from pipelines.prove.awkward.bench import ALL, Bench, Case, is_in, must, one, refused
from pipelines.prove.awkward.rows import with_bytes
from pipelines.prove.awkward.sheets import Sheet, columns_of, lines, parquet

Member = tuple[str, bytes, str]
"""The end of a file's name, its bytes, and a pattern of what the reason must mention."""
Maker = Callable[[Bench, Sheet], list[Member]]
FOREIGN_WORDS = {"integer": "12 min", "float": "warm", "timestamp": "last Tuesday"}


def _csv(content: bytes, mentions: str) -> Member:
    return ".csv", content, mentions


def _zero_bytes(bench: Bench, sheet: Sheet) -> list[Member]:
    return [
        _csv(b"", "empty"),
        (".csv.gz", gzip.compress(b""), "empty"),
        _csv(b"\xef\xbb\xbf", "empty|no header"),
    ]


def _no_header(bench: Bench, sheet: Sheet) -> list[Member]:
    rows = b"".join(sheet.records)
    return [_csv(rows, "header"), _csv(sheet.records[0], "header"), _csv(b"\n\r\n\n", "header|empty")]


def _cut(bench: Bench, sheet: Sheet) -> list[Member]:
    """Cut anywhere in the last row, whose last column is a time, so that a cut shows."""
    time = bench.dice.choice(sheet.some("timestamp"))
    order = [*(i for i in range(len(sheet.names)) if i != time), time]
    names = {sheet.names[i]: sheet.spec.columns[sheet.names[i]] for i in order}
    spec = sheet.spec.model_copy(update={"columns": names})
    last = replace(sheet, spec=spec, rows=[[row[i] for i in order] for row in sheet.rows])
    size, end = len(last.records[-1]), len(sheet.end)
    cuts = bench.dice.sample(range(end + 1, size), 3)
    whole = last.content
    found = [_csv(whole[:-cut], "cut off|unclosed|UTF-8") for cut in cuts]
    return [*found, (".csv.gz", gzip.compress(whole[: -cuts[0]]), "cut off|unclosed|UTF-8")]


def _one_too_many(bench: Bench, sheet: Sheet) -> list[Member]:
    fields = f"{len(sheet.names) + 1} fields"
    return [
        _csv(sheet.header + b"".join(sheet.record([*row, more]) for row in sheet.rows), fields)
        for more in ("", "1", "a,b")
    ]


def _missing(bench: Bench, sheet: Sheet) -> list[Member]:
    found = []
    for at in bench.dice.sample(range(len(sheet.names)), 3):
        rest = [sheet.record([*row[:at], *row[at + 1 :]]) for row in [sheet.names, *sheet.rows]]
        found.append(_csv(b"".join(rest), f"missing.*'{sheet.names[at]}'"))
    return found


def _doubled(bench: Bench, sheet: Sheet) -> list[Member]:
    found = []
    for at in bench.dice.sample(range(len(sheet.names)), 2):
        to = bench.dice.randrange(len(sheet.names) + 1)
        rest = [[*row[:to], row[at], *row[to:]] for row in [sheet.names, *sheet.rows]]
        found.append(_csv(b"".join(map(sheet.record, rest)), f"'{sheet.names[at]}'.*twice"))
    return found


def _renamed(bench: Bench, sheet: Sheet) -> list[Member]:
    found = []
    for change in (str.upper, "my_{}".format, "{} ".format, "{}\u200b".format, "{}(mph)".format):
        at = bench.dice.randrange(len(sheet.names))
        names = [*sheet.names[:at], change(sheet.names[at]), *sheet.names[at + 1 :]]
        found.append(_csv(sheet.record(names) + b"".join(sheet.records), f"'{sheet.names[at]}'"))
    return found


def _type_changed(bench: Bench, sheet: Sheet) -> list[Member]:
    found = []
    for at in sheet.some("integer", "float", "timestamp", filled=True):
        text = FOREIGN_WORDS[list(sheet.spec.columns.values())[at].type]
        rows = [[*row[:at], text, *row[at + 1 :]] for row in sheet.rows]
        found.append(_csv(replace(sheet, rows=rows).content, f"{sheet.names[at]}.*{text}"))
    return bench.dice.sample(found, min(3, len(found)))


def _delimiter(bench: Bench, sheet: Sheet) -> list[Member]:
    found = []
    for mark in (";", "\t", "|", "\x1f", "~"):
        text = "\n".join(mark.join(row) for row in [sheet.names, *sheet.rows]) + "\n"
        found.append(_csv(text.encode(), "delimiter" if mark in ";\t|" else "delimiter|header|column"))
    return found


def _preamble(bench: Bench, sheet: Sheet) -> list[Member]:
    more = "," * (len(sheet.names) - 1)
    texts = ("Report of 3 April", "# made by export 7", "sep=,", more, f"Report{more}", "a\n\nb", "")
    return [_csv(f"{text}\n".encode() + sheet.content, "header") for text in bench.dice.sample(texts, 4)]


def _unclosed(bench: Bench, sheet: Sheet) -> list[Member]:
    plain = replace(sheet, rows=[[text.replace('"', "") for text in row] for row in sheet.rows])
    plain = replace(plain, rows=[row for row in plain.rows if not re.search(r"[\n,]", "".join(row))])
    found = []
    for at in (0, len(plain.rows) - 1, bench.dice.randrange(len(plain.rows))):
        row, field = plain.rows[at], bench.dice.randrange(len(plain.names))
        records = plain.records
        records[at] = with_bytes(plain, row, field, b'"' + row[field].encode())
        found.append(_csv(plain.header + b"".join(records), "quote"))
    return [*found, _csv(b'"' + plain.content, "quote|header")]


def _not_utf8(bench: Bench, sheet: Sheet) -> list[Member]:
    found = []
    for raw in (b"\xff", b"\x80", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"):
        at = bench.dice.randrange(len(sheet.rows))
        records = sheet.records
        records[at] = with_bytes(sheet, sheet.rows[at], bench.dice.choice(sheet.some("string")), raw + b"x")
        found.append(_csv(sheet.header + b"".join(records), "UTF-8"))
    named = _csv(sheet.header[:-1] + b",\xe9\n", "UTF-8|column|header")
    return [*bench.dice.sample(found, 4), named, (".parquet", _misspelt(sheet), "UTF-8")]


def _misspelt(sheet: Sheet) -> bytes:
    """Parquet whose texts hold bytes that are no text."""
    table, name = columns_of(sheet), sheet.names[sheet.some("string")[0]]
    texts = [(text or "").encode() for text in table[name].to_pylist()[1:]]
    raw = pa.array([b"a\xff\xfe", *texts], pa.binary())
    at = table.schema.get_field_index(name)
    return parquet(table.set_column(at, name, pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())))


def _encoding(bench: Bench, sheet: Sheet) -> list[Member]:
    row = list(sheet.rows[0])
    row[sheet.some("string")[0]] = "Zürich"
    text = sheet.header.decode() + sheet.record(row).decode() + b"".join(sheet.records[1:]).decode()
    names = ("latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "mac_roman", "cp037", "cp500")
    mentions = r"UTF-(8|16|32)|encod|NUL"
    written = dict.fromkeys(text.encode(n, "replace") for n in bench.dice.sample(names, 5))  # some agree
    return [_csv(content, mentions) for content in written]


def _junk(bench: Bench, sheet: Sheet) -> list[Member]:
    heads = (
        b"\x89PNG\r\n\x1a\n",
        b"\x7fELF",
        b"%PDF-1.7\n",
        b"SQLite format 3\0",
        b"\x80\x04\x95",
        b"\xca\xfe",
        b"",
    )
    noise = [bench.dice.randbytes(bench.dice.choice([40, 3000, 200_000])) for _ in range(3)]
    found = [_csv(bench.dice.choice(heads) + noise_, ".") for noise_ in noise]
    return [*found, _csv(sheet.content + noise[0], "UTF-8|NUL|quote|bad|cut"), _csv(b"\0" * 5000, ".")]


def _json(bench: Bench, sheet: Sheet) -> list[Member]:
    rows = [dict(zip(sheet.names, row, strict=True)) for row in sheet.rows]
    by_line = "".join(json.dumps(row) + "\n" for row in rows)
    texts = (json.dumps(rows), json.dumps(rows, indent=2), by_line, json.dumps({"data": rows}), "[]", "{}\n")
    return [_csv(text.encode(), "JSON") for text in bench.dice.sample(texts, 3)]


def _gzip_cut(bench: Bench, sheet: Sheet) -> list[Member]:
    packed = gzip.compress(sheet.content)
    cuts = (bench.dice.randrange(20, len(packed) - 8), len(packed) - 4, len(packed) - 8, 9, 2)
    return [(".csv.gz", packed[:cut], "gzip|cut") for cut in cuts]


def _gzip_sum(bench: Bench, sheet: Sheet) -> list[Member]:
    packed = gzip.compress(sheet.content)
    found = []
    for at in (len(packed) - 8, len(packed) - 1, len(packed) // 2):
        broken = bytearray(packed)
        broken[at] ^= 1 << bench.dice.randrange(8)
        found.append((".csv.gz", bytes(broken), "gzip|cut off"))
    return [*found, (".csv.gz", packed + b"garbage after the end", "gzip")]


def _text_gz(bench: Bench, sheet: Sheet) -> list[Member]:
    return [(".csv.gz", sheet.content, "gzip"), (".csv.gz", b"hello\n", "gzip")]


def _zip(bench: Bench, sheet: Sheet) -> list[Member]:
    return [
        _csv(_zipped(sheet.content, zipfile.ZIP_DEFLATED), "zip"),
        (".csv.zip", _zipped(sheet.header, zipfile.ZIP_STORED), "zip"),
        (".csv.gz", _zipped(sheet.content, zipfile.ZIP_STORED), "gzip"),
        _csv(_zipped(b"", None), "zip"),
    ]


def _zipped(content: bytes, how: int | None) -> bytes:
    """A zip archive of one file; an empty archive if `how` is None."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how or zipfile.ZIP_STORED) as archive:
        if how is not None:
            archive.writestr("data.csv", content)
    return out.getvalue()


def _share(bench: Bench, sheet: Sheet) -> list[Member]:
    """Just above the dataset's share of bad rows, by one rule or by several."""
    count = int(len(sheet.rows) * sheet.spec.max_bad_share) + 1
    records = sheet.records
    for at in bench.dice.sample(range(len(records)), count):
        spoilt = [sheet.record(sheet.rows[at][:-1]), with_bytes(sheet, sheet.rows[at], 0, b'x"y')]
        records[at] = bench.dice.choice(spoilt)
    return [_csv(sheet.header + b"".join(records), f"{count} of {len(records)}")]


MAKERS: dict[str, tuple[Maker, tuple[str, ...]]] = {
    "0 bytes": (_zero_bytes, ALL),
    "no header": (_no_header, ALL),
    "cut in its last row": (_cut, ALL),
    "every row one field too many": (_one_too_many, ALL),
    "required column missing": (_missing, ALL),
    "required column doubled": (_doubled, ALL),
    "required column renamed": (_renamed, ALL),
    "a column's type changed": (_type_changed, ALL),
    "another delimiter": (_delimiter, ALL),
    "a preamble above the header": (_preamble, ALL),
    "unclosed quote": (_unclosed, ALL),
    "invalid UTF-8": (_not_utf8, ALL),
    "another encoding": (_encoding, ALL),
    "binary junk": (_junk, ALL),
    "JSON named .csv": (_json, ALL),
    "gzip truncated": (_gzip_cut, ALL),
    "gzip with a bad CRC": (_gzip_sum, ALL),
    "text named .gz": (_text_gz, ALL),
    "zip": (_zip, ALL),
    "too large a share of bad rows": (_share, ALL),
}


def refuse_each(bench: Bench, spec: DatasetSpec, members: list[Member], good: Sheet | None) -> str:
    """Lands the members and a good file together: each is refused for its reason, and the good one is in."""
    named = [(bench.name(spec, end), content, mentions) for end, content, mentions in members]
    for name, content, _ in named:
        bench.land(name, content)
    fine = bench.name(spec)
    if good is not None:
        bench.land(fine, good.content)
    bench.take(spec)
    reasons = [refused(bench, spec, name, mentions) for name, _, mentions in named]
    if good is not None:
        must(is_in(one(bench.batches(spec), fine)), "a good file beside them was not taken in")
    return f"{len(reasons)} {spec.name} files refused, such as: {reasons[0][:90]}"


def _refuse(bench: Bench, make: Maker, names: tuple[str, ...]) -> str:
    sheet = bench.sheet(*names)
    good = bench.sheet(sheet.spec.name)
    return refuse_each(bench, sheet.spec, make(bench, sheet), good)


def _case(name: str, make: Maker, names: tuple[str, ...]) -> Case:
    return Case(name, "REFUSE FILE", lambda bench: _refuse(bench, make, names))


def _at_the_limit(bench: Bench) -> str:
    """Above the share the file is refused; at the share its bad rows are, and no more."""
    sheet = bench.sheet(rows=50)
    above = _share(bench, sheet)
    told = refuse_each(bench, sheet.spec, above, None)
    other = bench.sheet(sheet.spec.name, rows=50)
    from pipelines.prove.awkward.rows import land_planted

    planted, records = {}, other.records
    for at in bench.dice.sample(range(50), int(50 * sheet.spec.max_bad_share)):
        records[at], planted[at] = other.record(other.rows[at][:-1]), "column count"
    must(lines(other.header, records), "no rows")
    land_planted(bench, other, records, planted)
    return f"{told}; at the share: in"


CASES = [_case(name, make, names) for name, (make, names) in MAKERS.items()]
CASES = [replace(c, act=_at_the_limit) if c.name.startswith("too large a share") else c for c in CASES]
