"""From texts to typed values, strictly: a value is what its column says, or its row is bad."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.catalog import Column, DatasetSpec
from pipelines.reading.remedies import setting
from pipelines.reading.texts import answered
from pipelines.reading.times import FIRST_YEAR, LAST_YEAR, instant, iso, zoned
from pipelines.stores.tables import ARROW, arrow_schema

INTEGER = "regexp_full_match({0}, '-?[0-9]+')"
FLOAT = r"regexp_full_match({0}, '-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?')"
TYPES = {
    "string": ("true", "VARCHAR", "text"),
    "integer": (INTEGER, "BIGINT", "an integer of 64 bits"),
    "float": (FLOAT + " AND isfinite(TRY_CAST({0} AS DOUBLE))", "DOUBLE", "a finite decimal number"),
    "timestamp": (
        "true",
        "TIMESTAMPTZ",
        f"a time of {FIRST_YEAR} to {LAST_YEAR} with its zone such as 2013-01-31T23:59:00Z",
    ),
}
"""Per type: when a text is one, what DuckDB calls it, and how a person would."""
EARLIEST, LATEST = (np.datetime64(f"{year}-01-01", "us") for year in (FIRST_YEAR, LAST_YEAR + 1))
PLAINLY = {
    "string": "^[!-~]",  # of a key
    "integer": "^-?[0-9]{1,18}$",
    "float": r"^-?[0-9]+(\.[0-9]*)?$",
    "timestamp": "^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z$",
}
"""Texts that Arrow types as SQL does, or nearly all of them; whatever else is SQL's to judge."""
MOST_SUSPECTS = 0.25
"""The share of rows above which SQL is asked of all of them."""
CHARACTERS = {"integer": b"-0123456789", "float": b"+-.0123456789Ee"}
BLANK = r"[\s\p{Z}\p{Cf}\p{Cc}]+"
Faults = dict[int, tuple[str, str]]


def typed(spec: DatasetSpec, texts: pa.Table) -> tuple[pa.Table, Faults]:
    """The rows whose every value is of its type, with `_index`, and for the others the first rule they break.

    `texts` holds the dataset's columns as strings, null where empty, and `_index`.
    """
    for place, (name, column) in enumerate(spec.columns.items()):
        if column.timezone is not None:
            local = texts[name].combine_chunks()
            texts = texts.set_column(place, name, zoned(local, column.timezone, column.nanoseconds))
    fast = {n: _fast(column, texts[n], n in spec.key) for n, column in spec.columns.items()}
    if all(values is not None for values in fast.values()):
        return pa.Table.from_arrays([*fast.values(), texts["_index"]], schema=_schema(spec)), {}
    return _mixed(spec, texts, fast)


def _mixed(spec: DatasetSpec, texts: pa.Table, fast: dict[str, Any]) -> tuple[pa.Table, Faults]:
    """The rows of which every value is plain at once; SQL is asked of the others, and of the columns that are not."""
    left = [name for name, values in fast.items() if values is None]
    suspects = pa.array(np.any([_suspects(spec, name, texts[name]) for name in left], axis=0))
    if pc.mean(suspects).as_py() > MOST_SUSPECTS:
        return _slow(spec, texts, list(spec.columns))
    sound = pc.invert(suspects)
    plain = {n: _fast(spec.columns[n], texts[n].filter(sound), n in spec.key) for n in left}
    if any(values is None for values in plain.values()):
        return _slow(spec, texts, list(spec.columns))
    judged, faults = _slow(spec, texts.select([*left, "_index"]).filter(suspects), left)
    taken = pc.is_in(texts["_index"], judged["_index"])
    parts = [
        [plain[n] if n in left else fast[n].filter(sound) for n in fast] + [texts["_index"].filter(sound)],
        [judged[n] if n in left else fast[n].filter(taken) for n in fast] + [judged["_index"]],
    ]
    tables = [pa.Table.from_arrays(part, schema=_schema(spec)) for part in parts]
    return (pa.concat_tables(tables).sort_by("_index") if len(judged) else tables[0]), faults


def _suspects(spec: DatasetSpec, name: str, texts: pa.ChunkedArray) -> Any:
    """Which texts of a column may not be of its type."""
    column, found = spec.columns[name], np.zeros(len(texts), bool)
    if not column.nullable:
        found |= pc.is_null(texts).to_numpy()
    if column.type != "string" or name in spec.key:
        plain = pc.match_substring_regex(texts, PLAINLY[column.type])
        found |= pc.invert(pc.fill_null(plain, True)).to_numpy()
    return found


def _schema(spec: DatasetSpec) -> pa.Schema:
    return arrow_schema(spec).append(pa.field("_index", pa.int64()))


def _fast(column: Column, texts: pa.ChunkedArray, key: bool = False) -> pa.Array | None:
    """A whole column at once; None where any value is not plainly of its type: SQL then says which and why."""
    array = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    if array.null_count and not column.nullable:
        return None
    if column.type == "string":
        return None if key and _maybe_blank(array) else array
    if not _plain(column.type, array):
        array = iso(array, column.nanoseconds) if column.type == "timestamp" else None
    if array is None:
        return None
    try:
        values = array.cast(ARROW[column.type])
    except pa.ArrowInvalid:
        return None
    return values if _in_range(column.type, values) else None


def _plain(kind: str, array: pa.Array) -> bool:
    """Whether texts hold only what their type is written with. Arrow alone also takes hexadecimals and inf."""
    if kind == "timestamp":
        lengths = pc.min_max(pc.binary_length(array)).as_py()
        return lengths["min"] in (20, None) and lengths["max"] in (20, None)
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    found = np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]] if len(array) else np.array([], np.uint8)
    allowed = np.zeros(256, bool)
    allowed[list(CHARACTERS[kind])] = True
    return bool(allowed[found].all()) and not pc.any(pc.starts_with(array, "+"), min_count=0).as_py()


def _maybe_blank(array: pa.Array) -> bool:
    """Whether some text begins with white space or a letter beyond ASCII: then SQL looks closer."""
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return False
    starts = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array)]
    first = np.frombuffer(data, np.uint8)[np.minimum(starts, data.size - 1)]
    return bool(((first <= 32) | (first >= 128)).any())


def _in_range(kind: str, values: pa.Array) -> bool:
    if kind == "float":
        return bool(pc.all(pc.is_finite(values), min_count=0).as_py())
    if kind == "timestamp":
        span = pc.min_max(values)
        low, high = (np.datetime64(span[end].cast(pa.int64()).as_py() or 0, "us") for end in ("min", "max"))
        return bool(low >= EARLIEST and high < LATEST)
    return True


def _slow(spec: DatasetSpec, texts: pa.Table, names: list[str]) -> tuple[pa.Table, Faults]:
    """As `typed`, by SQL, of some columns."""
    result = answered(_query(spec, names), texts)
    ill = result.filter(pc.is_valid(result["_rule"])).select(["_index", "_rule", "_reason"])
    good = result.filter(pc.is_null(result["_rule"])).select([*names, "_index"])
    schema = _schema(spec)
    return good.cast(pa.schema([schema.field(name) for name in good.column_names])), {
        i: (rule, reason + setting(spec, rule, reason))
        for i, rule, reason in zip(*ill.to_pydict().values(), strict=True)
    }


def _query(spec: DatasetSpec, names: list[str]) -> str:
    """SQL that types some columns and names the first rule of theirs that a row breaks."""
    asked = {name: spec.columns[name] for name in names}
    typed = ", ".join(f'{_cast(n, c)} AS "t_{n}"' for n, c in asked.items())
    rules = " ".join(part for n, c in asked.items() for part in _cases(n, c, n in spec.key, rule=True))
    reasons = " ".join(part for n, c in asked.items() for part in _cases(n, c, n in spec.key, rule=False))
    rule, reason = (f"CASE {text} END" if text else "NULL::VARCHAR" for text in (rules, reasons))
    out = ", ".join(f'"t_{n}" AS "{n}"' for n in asked)
    return (
        f"WITH typed AS (SELECT *, {typed} FROM texts)"
        f" SELECT _index, {out}, {rule} AS _rule, {reason} AS _reason FROM typed ORDER BY _index"
    )


def _cast(name: str, column: Column) -> str:
    if column.type == "timestamp":
        return instant(f'"{name}"', column.nanoseconds)
    when, kind, _ = TYPES[column.type]
    return f"""CASE WHEN {when.format(f'"{name}"')} THEN TRY_CAST("{name}" AS {kind}) END"""


def _cases(name: str, column: Column, key: bool, rule: bool) -> list[str]:
    """The rules a column's texts may break; a key of nothing but white space is none."""
    null = "'not null'" if rule else f"'{name} is empty'"
    blank = f"""regexp_full_match("{name}", '{BLANK}')""" if key and column.type == "string" else "false"
    _, _, what = TYPES[column.type]
    wrong = f"'{column.type}'" if rule else f"""'{name}: ' || "{name}"[:80] || ' is not {what}'"""
    needed = [] if column.nullable else [f'WHEN "{name}" IS NULL OR {blank} THEN {null}']
    return [*needed, f'WHEN "{name}" IS NOT NULL AND "t_{name}" IS NULL THEN {wrong}']


def rescued(names: list[str], texts: list[Any], rows: int) -> pa.Array:
    """Columns the dataset does not know, as one JSON object a row; null where they are all empty."""
    if not names:
        return pa.nulls(rows, pa.string())
    columns = [f"c{i}" for i in range(len(names))]
    pairs = ", ".join(
        "'" + name.replace("'", "''") + f"', {c}" for name, c in zip(names, columns, strict=True)
    )
    empty = " AND ".join(f"{c} IS NULL" for c in columns)
    query = f"SELECT CASE WHEN {empty} THEN NULL ELSE json_object({pairs})::VARCHAR END AS j FROM texts"
    found = answered(query, pa.Table.from_arrays(texts, columns))
    return found["j"].combine_chunks().cast(pa.string())
