"""Files that claim to be huge, and Parquet, sound, broken and monstrous: memory stays bounded."""

import gzip
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.prove.awkward.bench import ALL, LONG_AGO, Bench, Case, holds, must, refused, taken
from pipelines.prove.awkward.rows import with_bytes
from pipelines.prove.awkward.sheets import Sheet, columns_of, parquet
from pipelines.prove.awkward.whole import Member, refuse_each

MEGA = 1 << 20
LIMIT = 16 * MEGA
BOMB_ROWS = 50_000_000


def _repeated(path: Path, head: bytes, body: bytes, size: int) -> None:
    """A gzip file of a head and `size` bytes of repeated body; small, and written without holding it."""
    one = gzip.compress(body * max(1, MEGA * 8 // len(body)))
    unpacked = len(body) * max(1, MEGA * 8 // len(body))
    with path.open("wb") as file:
        file.write(gzip.compress(head))
        for _ in range(size // unpacked + 1):
            file.write(one)


BOMBS: dict[str, Callable[[Sheet], tuple[bytes, bytes]]] = {
    "zeros": lambda sheet: (b"", b"\0"),
    "lines": lambda sheet: (sheet.header, b"\n"),
    "rows": lambda sheet: (sheet.header, b"".join(sheet.records)),
    "commas": lambda sheet: (sheet.header, b"," * 999 + b"\n"),
    "bad": lambda sheet: (sheet.header, b'"x"y\n'),
    "field": lambda sheet: (sheet.header + b'"', b"a\n"),
}


def _lay_bombs(bench: Bench) -> None:
    sheet = bench.sheet()
    for kind, make in BOMBS.items():
        path = bench.landing / f"{sheet.spec.name}_{kind}.csv.gz"
        _repeated(path, *make(sheet), 4 * LIMIT)
        _age(path)


def _age(path: Path) -> None:
    import os

    os.utime(path, (LONG_AGO, LONG_AGO))


def _expands(bench: Bench) -> str:
    """Small gzip files of hundreds of megabytes, and Parquet files of gigabytes, above a limit of 100 MB."""
    sheet = bench.sheet()
    spec = sheet.spec.model_copy(update={"max_bytes": LIMIT})
    bench.take(spec)
    reasons = [
        refused(bench, spec, f"{spec.name}_{kind}.csv.gz", r"limit|larger|bytes|quote|header|bad|column")
        for kind in BOMBS
    ]
    return f"{len(reasons)} bombs of {4 * LIMIT // MEGA} MB refused, such as: {reasons[2][:70]}"


def _lay_parquet_bomb(bench: Bench) -> None:
    """One row group of fifty million rows that are all alike: some kilobytes that claim gigabytes."""
    sheet = bench.sheet("flights", "weather", "planes")
    path = bench.landing / f"{sheet.spec.name}_bomb.parquet"
    step = BOMB_ROWS // 50
    table = _constant(sheet, step)
    with pq.ParquetWriter(path, table.schema, use_dictionary=True, write_batch_size=1 << 16) as writer:
        for batch in [table.combine_chunks().to_batches()[0]] * 50:
            writer.write_batch(batch, row_group_size=BOMB_ROWS)
    _age(path)


def _constant(sheet: Sheet, rows: int) -> pa.Table:
    """So many copies of one row, each column a dictionary of one value."""
    one = columns_of(replace(sheet, rows=sheet.rows[:1]))
    codes = pa.array(np.zeros(rows, np.int32))
    columns = [
        pa.DictionaryArray.from_arrays(codes, column.combine_chunks())
        if column.null_count == 0
        else pa.nulls(rows, column.type)
        for column in one.columns
    ]
    return pa.table(columns, names=one.column_names)


def _parquet_bomb(bench: Bench) -> str:
    sheet = bench.sheet("flights", "weather", "planes")
    spec = sheet.spec.model_copy(update={"max_bytes": LIMIT})
    size = (bench.landing / f"{spec.name}_bomb.parquet").stat().st_size
    bench.take(spec)
    reason = refused(bench, spec, f"{spec.name}_bomb.parquet", "limit|larger|rows|bytes")
    return f"{size // 1024} kB that claim {BOMB_ROWS:,} rows refused: {reason[:80]}"


def _columns(bench: Bench, sheet: Sheet) -> list[Member]:
    many = [f"c{number}" for number in range(100_000)]
    wide = b"".join(sheet.record([*row, *["1"] * 100_000]) for row in sheet.rows[:3])
    return [
        (".csv", sheet.record([*sheet.names, *many]) + wide, "column|bytes"),
        (".csv", sheet.record(many), "column|bytes|header"),
        (".csv", b"," * 100_000 + b"\n" + sheet.content, "column|bytes|header"),
        (".csv.gz", gzip.compress(sheet.header[:-1] + b",x" * 5_000_000 + b"\n"), "column|bytes"),
    ]


def _field(bench: Bench, sheet: Sheet) -> list[Member]:
    row, texts = sheet.rows[1], sheet.some("string")
    huge = (b"x" * 10 * MEGA, b'"%s"' % (b"a\n" * 5 * MEGA), b'"%s"' % (b'""' * 5 * MEGA))
    raws = [with_bytes(sheet, row, bench.dice.choice(texts), raw) for raw in huge]
    found = [
        (".csv", sheet.header + b"".join([*sheet.records, raw, *sheet.records[:1]]), "bytes|long")
        for raw in raws
    ]
    number = with_bytes(sheet, row, sheet.some("timestamp")[0], b"1" * 10 * MEGA)
    named = sheet.header[:-1] + b"," + b"x" * 200_000 + b"\n" + sheet.records[0]
    return [
        *found,
        (".csv.gz", gzip.compress(sheet.header + number), "bytes|long"),
        (".csv", huge[0], "bytes|long|header"),
        (".csv", named, "bytes|long|column|field"),
        (".parquet", parquet(_with_huge_text(sheet)), "bytes|long|field"),
    ]


def _with_huge_text(sheet: Sheet) -> pa.Table:
    """The sheet's columns, one text of ten megabytes in them."""
    table, name = columns_of(sheet), sheet.names[sheet.some("string")[0]]
    texts = ["x" * 10 * MEGA, *table[name].to_pylist()[1:]]
    return table.set_column(table.schema.get_field_index(name), name, pa.array(texts))


def _refuse(make: Callable[[Bench, Sheet], list[Member]]) -> Callable[[Bench], str]:
    def act(bench: Bench) -> str:
        sheet = bench.sheet(*ALL)
        return refuse_each(bench, sheet.spec, make(bench, sheet), bench.sheet(sheet.spec.name))

    return act


def _limit(bench: Bench) -> str:
    """A limit of the dataset's own: just above it a file is refused, at it the file is in."""
    for pack, end in ((bytes, ".csv"), (gzip.compress, ".csv.gz")):
        sheet = bench.sheet()
        limited = sheet.spec.model_copy(update={"max_bytes": len(sheet.content) - 1})
        told = refuse_each(bench, limited, [(end, pack(sheet.content), "limit|larger")], None)
        other = bench.sheet(sheet.spec.name)
        fits = sheet.spec.model_copy(update={"max_bytes": len(other.content)})
        result = taken(bench, fits, bench.name(fits, end), pack(other.content))
        holds(bench, fits, result, other.expected)
    return f"{told}; at the limit: in"


def _broken_footers(bench: Bench, sheet: Sheet) -> Iterator[bytes]:
    whole = parquet(columns_of(sheet))
    footer = int.from_bytes(whole[-8:-4], "little")
    yield whole[: bench.dice.randrange(8, len(whole) - 8)]
    yield whole[:-1]
    yield whole[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1"
    yield whole[:-8] + (0).to_bytes(4, "little") + b"PAR1"
    yield whole[: -8 - footer] + bench.dice.randbytes(footer) + whole[-8:]
    yield b"PAR1"
    yield b"PAR1PAR1"
    yield b"PAR1" + bench.dice.randbytes(2000) + (500).to_bytes(4, "little") + b"PAR1"
    yield sheet.content
    yield whole[:4] + bytes(len(whole) - 8 - footer - 4) + whole[-8 - footer :]


def _footer(bench: Bench, sheet: Sheet) -> list[Member]:
    return [(".parquet", content, "Parquet") for content in _broken_footers(bench, sheet)]


def _sound(bench: Bench) -> str:
    """Parquet with the dataset's columns is read like CSV, whatever its order, pages and row groups."""
    told = []
    for options in (
        {},
        {"row_group_size": 7, "compression": "zstd"},
        {"use_dictionary": False, "version": "1.0"},
    ):
        sheet = bench.sheet()
        table = columns_of(sheet).select(bench.dice.sample(sheet.names, len(sheet.names)))
        result = taken(bench, sheet.spec, bench.name(sheet.spec, ".parquet"), parquet(table, **options))
        holds(bench, sheet.spec, result, _numbered(bench, sheet, result.digest))
        told.append(f"{result.silver} {sheet.spec.name}")
    return f"rows in silver as written: {', '.join(told)}"


def _numbered(bench: Bench, sheet: Sheet, digest: str) -> dict[int, list[str]]:
    """The rows by the number that silver gives a Parquet file's rows, which must count up by one."""
    found = [int(row["_line"]) for row in bench.silver(sheet.spec, digest)]
    must(
        found == list(range(found[0] if found else 0, (found or [0])[0] + len(found))),
        f"rows are numbered {found}",
    )
    must(len(found) == len(sheet.rows), f"{len(found)} of {len(sheet.rows)} rows are in silver")
    return dict(zip(found, sheet.rows, strict=True))


def _parquet_types(bench: Bench, sheet: Sheet) -> list[Member]:
    """A column missing, or of a type that the dataset's is not."""
    table = columns_of(sheet)
    name = bench.dice.choice(sheet.names)
    times = [n for n, c in sheet.spec.columns.items() if c.type == "timestamp"]
    words = pa.array(["warm"] * table.num_rows)
    at = table.schema.get_field_index(times[0])
    return [
        (".parquet", parquet(table.drop_columns([name])), f"'?{name}"),
        (".parquet", parquet(table.set_column(at, times[0], words)), times[0]),
        (".csv", parquet(table), "Parquet"),
    ]


CASES = [
    Case("expands beyond the cap", "REFUSE FILE", _expands, lay=_lay_bombs),
    Case("100,000 columns", "REFUSE FILE", _refuse(_columns)),
    Case("a 10 MB field", "REFUSE FILE", _refuse(_field)),
    Case("larger than the dataset's limit", "REFUSE FILE", _limit),
    Case("corrupt Parquet footer", "REFUSE FILE", _refuse(_footer)),
    Case("Parquet that expands beyond the cap", "REFUSE FILE", _parquet_bomb, lay=_lay_parquet_bomb),
    Case("Parquet with a column missing or changed", "REFUSE FILE", _refuse(_parquet_types)),
    Case("Parquet", "ACCEPT", _sound),
]
