"""Real files, broken at random as transport, editors and half-written exporters break them."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from pipelines.prove.awkward.sheets import Sheet, columns_of, parquet

Mutation = Callable[[Random, bytes], bytes]
ODD = (
    b'"',
    b"\0",
    b"\r",
    b"\xef\xbb\xbf",
    b"\n",
    b",",
    b'""',
    b"\xff",
    b"\x1a",
    b"\xe2\x80\xa8",
    b"'",
    b"\\",
    b"\xc3",
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "cp037", "utf-7", "shift_jis", "utf-8-sig")
MISREAD = (
    b"NaN",
    b"1e400",
    b"-",
    b"0x1F",
    b"1,5",
    b"99999999999999999999",
    b"2013-02-30T00:00:00Z",
    b"",
    b" ",
    b"NULL",
)


@dataclass(frozen=True)
class Mutant:
    """A mutated file: what was done to it, the end of its name, and its bytes."""

    story: str
    end: str
    content: bytes


def _bit_flips(dice: Random, content: bytes) -> bytes:
    out = bytearray(content)
    for _ in range(dice.choice([1, 1, 2, 20])):
        out[dice.randrange(len(out))] ^= 1 << dice.randrange(8)
    return bytes(out)


def _truncation(dice: Random, content: bytes) -> bytes:
    return content[: dice.randrange(len(content))]


def _beginning_lost(dice: Random, content: bytes) -> bytes:
    return content[dice.randrange(len(content)) :]


def _line_splice(dice: Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    at, source = dice.randrange(len(lines)), dice.choice(lines)
    lines[at] = lines[at][: dice.randrange(len(lines[at]))] + source[dice.randrange(len(source)) :]
    return b"".join(lines)


def _lines_moved(dice: Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    if dice.random() < 0.5:
        lines.insert(dice.randrange(len(lines)), dice.choice(lines))
    else:
        del lines[dice.randrange(len(lines))]
    return b"".join(lines)


def _fields(dice: Random, content: bytes) -> bytes:
    """Fields of some lines deleted, doubled or misread."""
    lines = content.splitlines(keepends=True)
    for _ in range(dice.choice([1, 1, 3, 12])):
        at = dice.randrange(len(lines))
        fields = lines[at].split(b",")
        where = dice.randrange(len(fields))
        fields[where : where + 1] = dice.choice([[], [fields[where]] * 2, [dice.choice(MISREAD)]])
        lines[at] = b",".join(fields)
    return b"".join(lines)


def _inserted(dice: Random, content: bytes) -> bytes:
    out = content
    for _ in range(dice.choice([1, 1, 2, 8])):
        at = dice.randrange(len(out) + 1)
        out = out[:at] + dice.choice(ODD) + out[at:]
    return out


def _encoding(dice: Random, content: bytes) -> bytes:
    return content.decode("utf-8", "replace").encode(dice.choice(ENCODINGS), "replace")


def _huge_field(dice: Random, content: bytes) -> bytes:
    at = dice.randrange(len(content) + 1)
    filler = dice.choice([b"x", b"9", b'"', b'""', b"a\n", b",", b"\0", b"\n", b"\r\n", "é".encode()])
    return content[:at] + filler * dice.choice([1000, 70_000, 1_100_000]) + content[at:]


def _shuffled_columns(dice: Random, content: bytes) -> bytes:
    lines = [line.split(b",") for line in content.splitlines()]
    order = dice.sample(range(len(lines[0])), len(lines[0]))
    rows = [[row[i] for i in order] if len(row) == len(order) else row for row in lines]
    return b"".join(b",".join(row) + b"\n" for row in rows)


def _concatenated(dice: Random, content: bytes) -> bytes:
    other = dice.choice([content, content[dice.randrange(len(content)) :], content.replace(b"\n", b"\r\n")])
    return content + other


def _line_ends(dice: Random, content: bytes) -> bytes:
    ends = dice.choice([[b"\r\n"], [b"\r"], [b"\n", b"\r\n"], [b"\n", b"\r"], [b"\n\n"], [b"\n", b""]])
    return b"".join(line + dice.choice(ends) for line in content.splitlines())


def _gzip_broken(dice: Random, content: bytes) -> bytes:
    packed = gzip.compress(content, mtime=0)
    return dice.choice([_truncation, _bit_flips, _concatenated, _inserted])(dice, packed)


def _bytes_of(dice: Random, content: bytes) -> bytes:
    return dice.randbytes(dice.randrange(5000)) + content[dice.randrange(len(content)) :]


TEXT: tuple[Mutation, ...] = (
    _bit_flips, _truncation, _beginning_lost, _line_splice, _lines_moved, _fields, _fields, _inserted, _inserted,
    _encoding, _huge_field, _shuffled_columns, _concatenated, _line_ends, _bytes_of,
)  # fmt: skip
BINARY: tuple[Mutation, ...] = (_bit_flips, _truncation, _inserted, _concatenated, _bit_flips)


def mutant(dice: Random, sheet: Sheet) -> Mutant:
    """The sheet's file after one to three mishaps, as CSV, gzip or Parquet."""
    kind = dice.choices(["csv", "gz", "broken gz", "parquet"], [70, 8, 8, 14])[0]
    if kind == "parquet":
        options = {
            "compression": dice.choice(["snappy", "zstd", "none"]),
            "row_group_size": dice.choice([5, 1000]),
        }
        return _mutated(dice, "parquet", ".parquet", parquet(columns_of(sheet), **options), BINARY)
    found = _mutated(dice, "csv", ".csv", sheet.content, TEXT)
    if kind == "gz":
        return Mutant(f"{found.story}, packed", ".csv.gz", gzip.compress(found.content, mtime=0))
    if kind == "broken gz":
        return Mutant(f"{found.story}, packed and broken", ".csv.gz", _gzip_broken(dice, found.content))
    return found


def _mutated(dice: Random, kind: str, end: str, content: bytes, mutations: tuple[Mutation, ...]) -> Mutant:
    story = []
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        mutation = dice.choice(mutations)
        content = mutation(dice, content or b"\n")
        story.append(mutation.__name__.strip("_").replace("_", " "))
    return Mutant(f"{kind}: {', '.join(story)}", end, content)
