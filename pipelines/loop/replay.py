"""Plays the upstream systems: what they had lands as files, each row when it could be known."""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import duckdb

from pipelines import upstream
from pipelines.catalog import dataset, model
from pipelines.contracts import EvergreenError

Every = Literal["1h", "1d", "bulk"]
STEPS = {"1h": timedelta(hours=1), "1d": timedelta(days=1)}


def replay(name: str, start: date, end: date, every: Every, landing: Path) -> Iterator[Path]:
    """Lands the rows of a model's datasets that became known from `start` to the end of `end` (UTC days).

    One file per dataset and window of `every`; the same call makes the same bytes. Yields each file
    once it lies in `landing`. Reference datasets land whole with the first window, and the label's dataset last in
    each, so that what a model needs is there when its labels wake it.
    """
    if every not in (*STEPS, "bulk"):
        raise EvergreenError(f"--every {every}: must be 1h, 1d or bulk")
    if end < start:
        raise EvergreenError(f"--to {end} lies before --from {start}")
    label = model(name).label.dataset
    names = sorted({*model(name).datasets, label}, key=lambda each: (each == label, each))
    with upstream.connect(names) as connection:
        landing.mkdir(parents=True, exist_ok=True)
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
        known = f't."{spec.available_at}"'
        rows += f" WHERE {known} >= TIMESTAMPTZ '{since}' AND {known} < TIMESTAMPTZ '{until}'"
    if connection.sql(f"SELECT 1 {rows} LIMIT 1").fetchone() is None:
        return False
    columns = ", ".join(
        f"""strftime("{n}", '%Y-%m-%dT%H:%M:%SZ') AS "{n}\"""" if c.type == "timestamp" else f'"{n}"'
        for n, c in spec.columns.items()
    )
    order = ", ".join((f't."{spec.available_at}"', *(f't."{key}"' for key in spec.key)))
    _export(connection, f"SELECT {columns} {rows} ORDER BY {order}", path)
    return True


def _export(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    beside = path.with_name(f".{path.name}.tmp")
    target = str(beside).replace("'", "''")
    connection.execute(f"COPY ({query}) TO '{target}' (FORMAT csv, HEADER)")
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)
