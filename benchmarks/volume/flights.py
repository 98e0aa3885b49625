"""Days of flights, as many rows as are asked for: drawn from the real ones by a seed, some broken or doubled."""

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.upstream import connect

if TYPE_CHECKING:
    import duckdb

FIRST = date(2013, 1, 1)
NUMBERS = 9999
"""So many flight numbers there are. The next as many rows of a day leave a minute later: each key comes once."""
MOST = NUMBERS * 60
"""So many rows a day have different keys."""
COPIED = 5000
"""Of so many rows one comes twice."""
BROKEN = {
    "departure_delay": (0, 10, "'9999'"),
    "distance": (10, 15, "'unknown'"),
    "origin": (15, 17, "'XXX'"),
}
"""Of ten thousand rows, those from and up to which get this value: two that break a rule, and one that is no number."""
TIMES = ("scheduled_departure", "scheduled_arrival", "available_at")


def pool() -> "duckdb.DuckDBPyConnection":
    """The real flights to draw from, numbered."""
    connection = connect(["flights"])
    connection.execute("CREATE TABLE pool AS SELECT row_number() OVER () - 1 AS k, * FROM flights")
    return connection


def write(day: date, rows: int, seed: int, path: Path, connection: "duckdb.DuckDBPyConnection") -> None:
    """The CSV file of a day, the same bytes for the same day, rows and seed."""
    if rows > MOST:
        raise SystemExit(f"a day has at most {MOST:,} flights with different keys; more rows need more days")
    copies = rows // COPIED
    (count,) = connection.execute("SELECT count(*) FROM pool").fetchone() or (0,)
    drawn = (
        f"SELECT p.*, i, hash(i, {seed}, DATE '{day}') % 10000 AS h FROM range({rows - copies}) r(i)"
        f" JOIN pool p ON p.k = hash({seed}, DATE '{day}', i) % {count}"
    )
    text = f"SELECT {_columns(day)}, i FROM ({drawn})"
    names = "* EXCLUDE (i, again)"
    connection.execute(
        f"COPY (WITH made AS MATERIALIZED ({text}) SELECT {names} FROM (SELECT *, 0 AS again FROM made UNION ALL"
        f" SELECT *, 1 FROM made WHERE i < {copies}) ORDER BY again, i) TO '{path}' (FORMAT csv, HEADER)"
    )


def _columns(day: date) -> str:
    """The file's columns as texts: the row's own clock on this day, a number of its own, here and there a fault."""
    leaves = (
        f"(TIMESTAMPTZ '{day}' + to_hours(hour(scheduled_departure)) + to_minutes((i // {NUMBERS})::INT))"
    )
    columns = {name: f'"{name}"' for name in ("carrier", "flight", "origin", "dest", "tailnum")}
    columns["flight"] = f"1 + i % {NUMBERS}"
    for name in TIMES:
        moved = f'{leaves} + ("{name}" - scheduled_departure)'
        columns[name] = f"strftime({moved}, '%Y-%m-%dT%H:%M:%SZ')"
    columns |= {name: f'"{name}"' for name in ("distance", "departure_delay", "arrival_delay")}
    for name, (low, high, value) in BROKEN.items():
        columns[name] = f"CASE WHEN h >= {low} AND h < {high} THEN {value} ELSE {columns[name]}::VARCHAR END"
    return ", ".join(f'{value} AS "{name}"' for name, value in columns.items())


def days(rows: int, each: int) -> list[tuple[date, int]]:
    """The days that hold so many rows, `each` a day, the last one what is left."""
    whole, rest = divmod(rows, each)
    return [(FIRST + timedelta(days=n), each) for n in range(whole)] + (
        [(FIRST + timedelta(days=whole), rest)] if rest else []
    )
