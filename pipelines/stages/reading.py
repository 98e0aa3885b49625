"""Strict reading of CSV: typed rows with their line, and the rows that are not what they should be."""

import csv
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from pipelines.catalog import Column, DatasetSpec
from pipelines.stages.records import Block, Refused, blocks
from pipelines.stores.tables import arrow_schema

MOST_COLUMNS = 1000
SMALL = 20
"""A file with fewer rows is refused for its bad rows only if all of them are bad."""

SOUND = rb'(?:"(?:[^"]++|"")*+"|[^",\r\n]*+)'
SOUND_RECORD = re.compile(SOUND + rb"(?:," + SOUND + rb")*+(?:\r?\n)?")
SUSPECT = re.compile(rb'["\0]|\r(?!\n)')
INTEGER = "regexp_full_match({0}, '-?[0-9]+')"
FLOAT = r"regexp_full_match({0}, '-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?')"
TIME = r"regexp_full_match({0}, '\d{{4}}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{{1,6}})?(Z|[+-][01]\d:[0-5]\d)')"
TYPES = {
    "string": ("true", "VARCHAR", "text"),
    "integer": (INTEGER, "BIGINT", "an integer of 64 bits"),
    "float": (FLOAT + " AND isfinite(TRY_CAST({0} AS DOUBLE))", "DOUBLE", "a finite decimal number"),
    "timestamp": (
        TIME + " AND year(TRY_CAST({0} AS TIMESTAMPTZ)) BETWEEN 1900 AND 2100",
        "TIMESTAMPTZ",
        "a time with its zone such as 2013-01-31T23:59:00Z",
    ),
}
"""Per type: when a text is one, what DuckDB calls it, and how a person would."""


class Bad(NamedTuple):
    """A refused row: its line (the header's is 1), the rule it broke, why, and its bytes."""

    line: int
    rule: str
    reason: str
    raw: bytes


@dataclass(frozen=True)
class Reading:
    """The rows of a file: typed ones with their `_line`, and refused ones. parsed = both together."""

    table: pa.Table
    bad: list[Bad]
    parsed: int
    note: str | None = None


@dataclass
class _Plan:
    """How one file's columns lie, and what was found in it so far."""

    spec: DatasetSpec
    names: list[str]
    tables: list[pa.Table] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    parsed: int = 0
    unfinished: int | None = None

    @property
    def note(self) -> str | None:
        extra = [name for name in self.names if name not in self.spec.columns]
        return f"columns ignored: {', '.join(map(repr, extra))}" if extra else None


def read(path: Path, spec: DatasetSpec) -> Reading:
    """The rows of a CSV file (plain or .gz) by the dataset's columns; Refused if it cannot be trusted."""
    records = blocks(path, spec)
    first = next(records, None)
    if first is None:
        raise Refused("the file is empty: 0 bytes")
    plan = _header(first, spec)
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for block in records:
            _take(plan, block, connection)
    if plan.bad and plan.bad[-1].line == plan.unfinished:
        raise Refused(f"cut off in its last row, line {plan.unfinished}: {plan.bad[-1].reason}")
    refuse_if_too_many(spec, plan.bad, plan.parsed)
    empty = arrow_schema(spec).append(pa.field("_line", pa.int64())).empty_table()
    return Reading(pa.concat_tables([empty, *plan.tables]), plan.bad, plan.parsed, plan.note)


def raw_lines(path: Path, spec: DatasetSpec, lines: set[int]) -> dict[int, bytes]:
    """The bytes of the records that begin on these lines."""
    found = {}
    for block in blocks(path, spec) if lines else ():
        for index in np.flatnonzero(np.isin(block.lines, list(lines))):
            found[int(block.lines[index])] = block.raw(index)
    return found


def refuse_if_too_many(spec: DatasetSpec, bad: list[Bad], parsed: int) -> None:
    """Raises Refused if the share of bad rows is above the dataset's limit."""
    if not bad or len(bad) / parsed <= spec.max_bad_share or (parsed < SMALL and len(bad) < parsed):
        return
    rule, count = Counter(row.rule for row in bad).most_common(1)[0]
    example = next(row for row in bad if row.rule == rule)
    raise Refused(
        f"{len(bad)} of {parsed} rows are bad, {count} by rule {rule!r};"
        f" for example line {example.line}: {example.reason}"
    )


def _header(block: Block, spec: DatasetSpec) -> _Plan:
    raw = block.raw(0)
    reason = _foreign(raw)
    names = [] if reason else next(csv.reader([raw.decode().rstrip("\r\n")]), [])
    reason = reason or _header_fault(raw.decode(), names, spec)
    if reason:
        raise Refused(reason)
    return _Plan(spec, names)


def _foreign(raw: bytes) -> str | None:
    """What a first line is if it is no CSV header at all."""
    if b"\0" in raw:
        return "the header holds NUL bytes: not CSV"
    if raw.lstrip()[:1] in (b"{", b"["):
        return "the file is JSON, not CSV"
    if re.search(rb"\r(?!\n)", raw):
        return "lines end in a lone carriage return; they must end in LF or CRLF"
    return None


def _header_fault(text: str, names: list[str], spec: DatasetSpec) -> str | None:
    """What is wrong with the header, in one sentence; None if nothing is."""
    missing = [name for name in spec.columns if name not in names]
    doubled = [name for name in spec.columns if names.count(name) > 1]
    if len(names) > MOST_COLUMNS:
        return f"{len(names)} columns; a {spec.name} file has {len(spec.columns)}"
    if doubled:
        return f"column {doubled[0]!r} stands twice in the header"
    for mark in ";\t|":
        if missing and set(spec.columns) <= {part.strip('"') for part in text.strip().split(mark)}:
            return f"the delimiter is {mark!r}; it must be a comma"
    if len(missing) == len(spec.columns):
        return f"no header: line 1 names none of {spec.name}'s columns"
    extra = [name for name in names if name not in spec.columns]
    also = f"; not known: {', '.join(map(repr, extra[:5]))}" if extra else ""
    return f"required column missing: {', '.join(map(repr, missing[:5]))}{also}" if missing else None


def _take(plan: _Plan, block: Block, connection: duckdb.DuckDBPyConnection) -> None:
    """Adds a block's records to the plan: typed rows, or refused ones with their reason."""
    block = _without_blanks(plan, block)
    if not len(block.starts):
        return
    faults = _unsound(block)
    sound = np.setdiff1d(np.arange(len(block.starts)), list(faults))
    texts, misfits = _parse(plan, block, sound)
    faults |= misfits
    kept = np.setdiff1d(sound, list(misfits))
    if len(kept) != texts.num_rows:
        raise Refused(f"the records near line {block.lines[0]} do not add up: check their quotes")
    typed, ill = _typed(plan, texts.append_column("_index", pa.array(kept)), block, connection)
    faults |= ill
    plan.tables.append(typed)
    plan.bad += [Bad(int(block.lines[i]), *faults[i], block.raw(i)) for i in sorted(faults)]
    plan.parsed += len(block.starts)
    plan.unfinished = None if block.raw(-1).endswith(b"\n") else int(block.lines[-1])


def _without_blanks(plan: _Plan, block: Block) -> Block:
    """Blank lines are no rows, except where one empty field is a row."""
    short: Any = np.flatnonzero(block.ends - block.starts <= 2) if len(plan.names) > 1 else []
    blank = [i for i in short if not block.raw(i).strip(b"\r\n")]
    return Block(block.data, *(np.delete(part, blank) for part in (block.starts, block.ends, block.lines)))


def _unsound(block: Block) -> dict[int, tuple[str, str]]:
    """Records with NUL, a stray quote or a stray carriage return, by index."""
    found = {}
    positions = [match.start() for match in SUSPECT.finditer(block.data, int(block.starts[0]))]
    for index in np.unique(np.searchsorted(block.ends, positions, side="right")):
        raw = block.raw(index)
        if b"\0" in raw:
            found[int(index)] = ("NUL byte", "a field holds a NUL byte")
        elif SOUND_RECORD.fullmatch(raw) is None:
            found[int(index)] = ("stray quote", "a quote or carriage return stands where none may")
    return found


def _parse(
    plan: _Plan, block: Block, sound: np.ndarray[Any, Any]
) -> tuple[pa.Table, dict[int, tuple[str, str]]]:
    """The dataset's columns as texts, and the records with another number of fields."""
    data = block.data[block.starts[0] : block.ends[-1]]
    if len(sound) != len(block.starts) or len(data) != (block.ends - block.starts).sum():
        data = b"".join(block.raw(i) for i in sound)
    misfits = {}

    def skip(row: Any) -> str:
        why = f"{row.actual_columns} fields where the header has {row.expected_columns}"
        misfits[int(sound[row.number - 1])] = ("column count", why)
        return "skip"

    columns = [str(plan.names.index(name)) for name in plan.spec.columns]
    if not data:
        return pa.table({name: pa.array([], pa.string()) for name in columns}), misfits
    table = pacsv.read_csv(
        pa.BufferReader(data),
        pacsv.ReadOptions(
            use_threads=False, block_size=len(data), column_names=[str(i) for i in range(len(plan.names))]
        ),
        pacsv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip),
        pacsv.ConvertOptions(include_columns=columns, column_types=dict.fromkeys(columns, pa.string())),
    )
    return table, misfits


def _typed(
    plan: _Plan, texts: pa.Table, block: Block, connection: duckdb.DuckDBPyConnection
) -> tuple[pa.Table, dict[int, tuple[str, str]]]:
    """Rows whose every value is of its type, and for the others the first that is not, by index."""
    names = [*plan.spec.columns, "_index"]
    texts = texts.rename_columns(names)
    connection.register("texts", texts)
    result = connection.sql(_query(plan.spec)).to_arrow_table()
    ill = result.filter(pc.is_valid(result["_rule"])).select(["_index", "_rule", "_reason"]).to_pylist()
    good = result.filter(pc.is_null(result["_rule"]))
    lines = pa.array(block.lines[good["_index"].to_numpy()], pa.int64())
    schema = arrow_schema(plan.spec).append(pa.field("_line", pa.int64()))
    typed = good.select(list(plan.spec.columns)).append_column("_line", lines).cast(schema)
    return typed, {row["_index"]: (row["_rule"], row["_reason"]) for row in ill}


def _query(spec: DatasetSpec) -> str:
    """SQL that types every column and names the first rule a row breaks."""
    nulls = ", ".join("'" + value.replace("'", "''") + "'" for value in spec.null_values) or "NULL"
    raw = ", ".join(f'CASE WHEN "{n}" IN ({nulls}) THEN NULL ELSE "{n}" END AS "{n}"' for n in spec.columns)
    typed = ", ".join(f'{_cast(n, c)} AS "t_{n}"' for n, c in spec.columns.items())
    rules = " ".join(part for n, c in spec.columns.items() for part in _cases(n, c, rule=True))
    reasons = " ".join(part for n, c in spec.columns.items() for part in _cases(n, c, rule=False))
    rule, reason = (f"CASE {text} END" if text else "NULL::VARCHAR" for text in (rules, reasons))
    out = ", ".join(f'"t_{n}" AS "{n}"' for n in spec.columns)
    return (
        f"WITH raw AS (SELECT _index, {raw} FROM texts), typed AS (SELECT *, {typed} FROM raw)"  # noqa: S608
        f" SELECT _index, {out}, {rule} AS _rule, {reason} AS _reason FROM typed ORDER BY _index"
    )


def _cast(name: str, column: Column) -> str:
    when, kind, _ = TYPES[column.type]
    return f"""CASE WHEN {when.format(f'"{name}"')} THEN TRY_CAST("{name}" AS {kind}) END"""


def _cases(name: str, column: Column, rule: bool) -> list[str]:
    null = "'not null'" if rule else f"'{name} is empty'"
    _, _, what = TYPES[column.type]
    wrong = f"'{column.type}'" if rule else f"""'{name}: ' || "{name}"[:80] || ' is not {what}'"""
    needed = [] if column.nullable else [f'WHEN "{name}" IS NULL THEN {null}']
    return [*needed, f'WHEN "{name}" IS NOT NULL AND "t_{name}" IS NULL THEN {wrong}']
