"""What a table's columns are like: kind, distinct values, what is missing, from where to where."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from pipelines.contracts import EvergreenError
from pipelines.scaffold.data.sources import Source

Kind = Literal["string", "integer", "float", "timestamp"]
WHOLE = r"[+-]?(0|[1-9]\d{0,17})(\.0+)?"
NUMBER = r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?"
MISSING = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?", "-", "")
"""Texts that stand for no value where the rest of the column is numbers or times."""
ISO = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?( ?(Z|UTC|[+-]\d\d(:?\d\d)?))?)?"
FORMATS = (
    "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%d.%m.%Y",
    "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%b %d %Y", "%d %b %Y",
    "%B %d, %Y", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%m/%d/%y", "%d-%b-%Y", "%d-%b-%y",
)  # fmt: skip
"""How people write times beside ISO 8601; the first that reads every value counts."""


@dataclass(frozen=True)
class Facts:
    """One column: its place `c<n>`, header, kind and what its values are like. `value` is SQL that types it."""

    place: str
    header: str
    kind: Kind
    value: str
    rows: int
    missing: int
    distinct: int
    least: Any = None
    most: Any = None
    length: float = 0.0
    examples: tuple[str, ...] = ()
    note: str = ""
    marks: tuple[str, ...] = ()
    """What stands for no value in it, beside nothing."""

    @property
    def filled(self) -> int:
        return self.rows - self.missing


def profiled(source: Source) -> list[Facts]:
    """Every column's facts, in order; the table `typed` then holds the values as these kinds."""
    rows = source.one("select count(*) from given")
    found = [_typed(source, f"c{n}", header, rows) for n, header in enumerate(source.headers)]
    values = ", ".join(f"{each.value} as {each.place}" for each in found)
    source.connection.execute(f"create table typed as select {values} from given")
    return [_measured(source, each) for each in found]


def _typed(source: Source, place: str, header: str, rows: int) -> Facts:
    kind, value, note = _of_text(source, place) if source.is_text else _of_type(source, place, header)
    marks = _marks(source, place) if source.is_text and kind != "string" else ()
    return Facts(place, header, kind, value, rows, 0, 0, note=note, marks=marks)


def _marks(source: Source, place: str) -> tuple[str, ...]:
    known = ", ".join(f"'{mark}'" for mark in MISSING)
    found = source.connection.execute(
        f"select distinct {place} from given where {place} in ({known}) order by 1"
    )
    return tuple(row[0] for row in found.fetchall())


def _of_text(source: Source, place: str) -> tuple[Kind, str, str]:
    """A column of text as what all of its values can be read as."""
    text = f"trim({place})"
    marks = ", ".join(f"'{mark}'" for mark in MISSING)
    there = f"{place} is not null and {text} not in ({marks})"
    whole, number, iso = (
        source.one(f"select bool_and(regexp_full_match({text}, '{form}')) from given where {there}")
        for form in (WHOLE, NUMBER, ISO)
    )
    known = f"case when {there} then {text} end"
    if whole:
        return "integer", f"cast(try_cast({known} as double) as bigint)", ""
    if number:
        return "float", f"try_cast({known} as double)", ""
    if iso and source.one(
        f"select bool_and(try_cast({text} as timestamptz) is not null) from given where {there}"
    ):
        return "timestamp", f"try_cast({known} as timestamptz)", ""
    written = _format(source, place, text, there)
    if written:
        moment = f"cast(try_strptime({known}, '{written}') as timestamptz)"
        return (
            "timestamp",
            moment,
            f"written as {written}; later files must write ISO 8601, such as 2026-01-31",
        )
    return "string", f"nullif({place}, '')", ""


def _format(source: Source, place: str, text: str, there: str) -> str:
    sample = f"(select {place} from given where {there} limit 1000)"
    for form in FORMATS:
        reads = f"select count(*) > 0 and bool_and(try_strptime({text}, '{form}') is not null) from"
        if source.one(f"{reads} {sample}") and source.one(f"{reads} given where {there}"):
            return form
    return ""


def _of_type(source: Source, place: str, header: str) -> tuple[Kind, str, str]:
    """A typed column as one of the kinds that are kept."""
    kind = str(source.one(f"select typeof({place}) from given limit 1")).split("(")[0]
    if kind in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"):
        return "integer", f"cast({place} as bigint)", ""
    if kind in ("FLOAT", "DOUBLE", "DECIMAL", "HUGEINT", "UBIGINT", "UHUGEINT"):
        return "float", f"case when isfinite(cast({place} as double)) then cast({place} as double) end", ""
    if kind.startswith(("TIMESTAMP", "DATE")):
        return "timestamp", f"cast({place} as timestamptz)", ""
    if kind in ("VARCHAR", "ENUM", "BOOLEAN", "UUID", '"NULL"', "NULL"):
        return "string", f"nullif(cast({place} as varchar), '')", ""
    raise EvergreenError(
        f"column {header!r} holds {kind}, which is no text, number or time; leave it out or make plain columns of it"
    )


def _measured(source: Source, facts: Facts) -> Facts:
    place = facts.place
    length = f"avg(length({place}))" if facts.kind == "string" else "0"
    found = source.connection.execute(
        f"select count(*) - count({place}), count(distinct {place}), min({place}), max({place}), {length} from typed"
    ).fetchone() or (0, 0, None, None, 0.0)
    examples = source.connection.execute(
        f"select cast({place} as varchar) from typed where {place} is not null"
        " group by 1 order by count(*) desc, 1 limit 12"
    ).fetchall()
    missing, distinct, least, most, mean = found
    return replace(
        facts, missing=missing, distinct=distinct, least=least, most=most, length=float(mean or 0),
        examples=tuple(row[0] for row in examples),
    )  # fmt: skip
