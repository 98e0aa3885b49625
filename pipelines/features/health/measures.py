"""What computed feature rows are like: nulls and distributions, in one pass of DuckDB's aggregates."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from shutil import rmtree
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as pads

from pipelines.processes import identity
from pipelines.settings import Settings
from pipelines.stores.feature_store.health import Distribution

TIMES = ("event_timestamp", "created_timestamp")
COMPUTED = "computed"
EXACT = 200_000
"""Up to so many rows, quantiles and counts of distinct values are exact; beyond, DuckDB estimates them."""
TOP, SHOWN = 5, 80
"""How many of a text's values are kept, and how much of each."""
QUANTILES = {"p01": 0.01, "p25": 0.25, "median": 0.5, "p75": 0.75, "p99": 0.99}
SQUARABLE = 1e145
"""The squares of smaller numbers, however many, add up to a number."""
MOMENTS = ("min", "max", "mean")


class Loaded:
    """Feature rows as the table `computed` of a DuckDB database of their own, which others may open by `url`."""

    def __init__(self, rows: pa.Table | pads.Dataset, config: Mapping[str, Any]) -> None:
        import sqlalchemy as sa
        from sqlalchemy.pool import StaticPool

        self.schema, self.config = rows.schema, config
        self.url = f"duckdb:///:memory:{uuid4().hex}"
        # Opened as Great Expectations opens it: DuckDB shares a database only between equal configurations.
        self._engine = sa.create_engine(self.url, poolclass=StaticPool, connect_args={"config": dict(config)})
        driver: Any = self._engine.raw_connection().driver_connection
        self.connection = driver.execute("SET TimeZone = 'UTC'")
        self.connection.register("incoming", rows)
        self.connection.execute(f"CREATE TABLE {COMPUTED} AS FROM incoming")
        self.connection.unregister("incoming")
        [(self.rows,)] = self.ask(f"SELECT count(*) FROM {COMPUTED}")

    def close(self) -> None:
        """Ends the database."""
        self.connection.close()
        self._engine.dispose()

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """A query's rows."""
        return list(self.connection.execute(query).fetchall())


@contextmanager
def loaded(rows: pa.Table | pads.Dataset, settings: Settings) -> Iterator[Loaded]:
    """The rows in a database that spills to disk above the deployment's cap, and is gone afterwards."""
    folder = settings.home / "staging" / f"{identity()}~{uuid4().hex}"
    folder.mkdir(parents=True)
    limits = {"threads": settings.threads, "memory_limit": f"{settings.memory_mb}MB"}
    try:
        made = Loaded(rows, limits | {"temp_directory": str(folder)})
        try:
            yield made
        finally:
            made.close()
    finally:
        rmtree(folder, ignore_errors=True)


def measured(rows: Loaded) -> dict[str, Any]:
    """How many moments the rows speak of, the newest, and of each other column its nulls and distribution."""
    kinds = {f.name: f.type for f in rows.schema if f.name not in TIMES}
    numbers = [name for name, kind in kinds.items() if _numeric(kind)]
    told = _aggregates(rows, list(kinds), numbers)
    nulls = {name: told[f"{name} nulls"] / rows.rows for name in kinds}
    distributions = {name: _distribution(name, told, rows, kinds[name]) for name in kinds}
    newest: datetime | None = told.get("newest")
    return {
        "moments": told.get("moments", 0),
        "newest": newest,
        "nulls": nulls,
        "distributions": distributions,
    }


def _aggregates(rows: Loaded, names: list[str], numbers: list[str]) -> dict[str, Any]:
    """One pass over all columns; three if a column is so large that its standard deviation is no number."""
    import duckdb

    wanted = _wanted(rows, names, numbers)
    try:
        return _asked(rows, wanted)
    except duckdb.OutOfRangeException:
        told = _asked(rows, {key: sql for key, sql in wanted.items() if not key.endswith(" std")})
    small = [n for n in numbers if all(abs(told[f"{n} {end}"] or 0) < SQUARABLE for end in ("min", "max"))]
    return told | _asked(rows, {f"{name} std": wanted[f"{name} std"] for name in small})


def _wanted(rows: Loaded, names: list[str], numbers: list[str]) -> dict[str, str]:
    """The aggregates by name, over columns as `_columns` calls them."""
    exact, place = rows.rows <= EXACT, {name: n for n, name in enumerate(rows.schema.names)}
    different = "count(DISTINCT {})" if exact else "approx_count_distinct({})"
    wanted = {}
    if TIMES[0] in place:
        moment = f"c{place[TIMES[0]]}"
        wanted = {"moments": different.format(moment), "newest": f"max({moment})"}
    for name in names:
        wanted[f"{name} nulls"] = f"count(*) - count(c{place[name]})"
        wanted[f"{name} distinct"] = different.format(f"c{place[name]}")
    for name in numbers:
        number, finite = f"c{place[name]}", f"n{place[name]}"
        wanted[f"{name} nulls"] = (
            f"count(*) FILTER (WHERE {number} IS NULL OR isnan(CAST({number} AS DOUBLE)))"
        )
        wanted |= {f"{name} {m}": f"{'avg' if m == 'mean' else m}({finite})" for m in MOMENTS}
        wanted[f"{name} std"] = f"stddev_samp({finite})"
        quantile = "quantile_cont" if exact else "approx_quantile"
        wanted[f"{name} quantiles"] = f"{quantile}({finite}, {list(QUANTILES.values())})"
    return wanted


def _columns(rows: Loaded) -> str:
    """Each column as c<n>, and its finite numbers as n<n>."""
    columns = []
    for n, field in enumerate(rows.schema):
        column = _quoted(field.name)
        columns.append(f"{column} AS c{n}")
        if _numeric(field.type):
            number = f"CAST({column} AS DOUBLE)"
            columns.append(f"CASE WHEN isfinite({number}) THEN {number} END AS n{n}")
    return ", ".join(columns)


def _asked(rows: Loaded, wanted: Mapping[str, str]) -> dict[str, Any]:
    if not wanted:
        return {}
    [answer] = rows.ask(f"SELECT {', '.join(wanted.values())} FROM (SELECT {_columns(rows)} FROM {COMPUTED})")
    return dict(zip(wanted, answer, strict=True))


def _distribution(name: str, told: Mapping[str, Any], rows: Loaded, kind: pa.DataType) -> Distribution:
    quantiles = told.get(f"{name} quantiles") or [None] * len(QUANTILES)
    values = dict(zip(QUANTILES, quantiles, strict=True))
    values |= {each: told.get(f"{name} {each}") for each in (*MOMENTS, "std")}
    finite = {key: v if v is not None and math.isfinite(v) else None for key, v in values.items()}
    return Distribution(told[f"{name} distinct"], **finite, top=_top(name, rows) if _text(kind) else ())


def _top(name: str, rows: Loaded) -> tuple[tuple[str, int], ...]:
    """The most frequent values of a text, equal counts in the order of the alphabet."""
    column = _quoted(name)
    found = rows.ask(
        f"SELECT CAST({column} AS VARCHAR), count(*) AS n FROM {COMPUTED} WHERE {column} IS NOT NULL"
        f" GROUP BY {column} ORDER BY n DESC, 1 LIMIT {TOP}"
    )
    return tuple((value[:SHOWN], count) for value, count in found)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _numeric(kind: pa.DataType) -> bool:
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(check(kind) for check in checks)


def _text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _text(kind.value_type)
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(check(kind) for check in checks)
