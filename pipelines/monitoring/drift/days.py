"""The sketches of the days that a monitor looked at, in the lake: drift of any range is told from them, without rows.

They merge, so a month costs as much as its days have columns, however many rows they had. Layer `drift`, a table per
model, a row per version, day, half of the labels and column.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.monitoring.drift.sketch import KINDS, Kind, Part, Sketches

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.stores.tables import Tables

LAYER = "drift"
EPOCH = date(1970, 1, 1)
FILES = 32
"""A table of more files than so many is brought into few."""


def keep(model: str, version: int, sketches: Sketches, since: date, tables: "Tables") -> int:
    """Put the days from `since` on in place of what was kept of the same days of a version; how many they are.

    A day is looked at again until it leaves the window: late rows and corrected labels count.
    """
    days = [day for day in sketches.days() if day >= _number(since)]
    if days:
        asked = f"version = {version} AND day >= {days[0]} AND day <= {days[-1]}"
        tables.replace(LAYER, model, _table(version, sketches, days[0]), asked)
        tables.compact(LAYER, model, FILES)
    return len(days)


def kept(model: str, version: int, since: date, until: date, tables: "Tables") -> Sketches:
    """The sketches of a version's days from `since` to `until`, both counted in; empty if none were kept."""
    import pyarrow.dataset as ds

    rows = tables.dataset(LAYER, model)
    if rows is None:
        return Sketches({})
    day = ds.field("day")
    asked = (ds.field("version") == version) & (day >= _number(since)) & (day <= _number(until))
    return _sketches(rows.to_table(filter=asked).to_pylist())


def spans(model: str, tables: "Tables") -> dict[int, tuple[date, date]]:
    """The first and the last day that is kept of each version."""
    rows = tables.dataset(LAYER, model)
    if rows is None:
        return {}
    found = rows.to_table(columns=["version", "day"]).group_by("version")
    told = found.aggregate([("day", "min"), ("day", "max")]).to_pylist()
    return {each["version"]: (_date(each["day_min"]), _date(each["day_max"])) for each in told}


def _number(day: date) -> int:
    return (day - EPOCH).days


def _date(number: int) -> date:
    return EPOCH + timedelta(days=number)


def _table(version: int, sketches: Sketches, since: int) -> "pa.Table":
    import pyarrow as pa

    return pa.Table.from_pylist(list(_rows(version, sketches, since)), _schema())


def _rows(version: int, sketches: Sketches, since: int) -> Iterator[dict[str, Any]]:
    for part, columns in sketches:
        if part.day >= since:
            for name, column in columns.items():
                yield {
                    "version": version,
                    "day": part.day,
                    "half": part.half,
                    "column": name,
                    "kind": sketches.kinds[name],
                    "rows": column.rows,
                    "missing": column.missing,
                    "sketch": column.kept.serialize(),
                }


def _schema() -> "pa.Schema":
    import pyarrow as pa

    numbers = {name: pa.int64() for name in ("version", "day", "half", "rows", "missing")}
    return pa.schema(numbers | {"column": pa.string(), "kind": pa.string(), "sketch": pa.binary()})


def _sketches(rows: list[dict[str, Any]]) -> Sketches:
    """The rows as sketches; where a column was of two kinds, that of the newest day counts, and other days lack it."""
    rows = sorted(rows, key=lambda each: each["day"])
    kinds: dict[str, Kind] = {each["column"]: each["kind"] for each in rows}
    found = Sketches(kinds)
    for each in rows:
        if each["kind"] == kinds[each["column"]]:
            column = KINDS[each["kind"]].kept_as(each["rows"], each["missing"], each["sketch"])
            found.parts.setdefault(Part(each["day"], each["half"]), {})[each["column"]] = column
    return found
