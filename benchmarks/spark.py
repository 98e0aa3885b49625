"""DuckDB against Spark: a view's SQL and a training set's join at growing sizes, every value compared.

Both sides read the same Delta table. Spark's start is shown apart. `--master` names a cluster; without it Spark has
this machine's cores.
"""

import argparse
import resource
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from rich.console import Console
from rich.table import Table

from pipelines.features import spark
from pipelines.features.engines import DuckDB, Spark
from pipelines.prove.features.engines import compared
from pipelines.settings import Settings
from pipelines.stores.offline import questions, store
from pipelines.stores.offline.sources import Source
from pipelines.stores.offline.store import DeltaOfflineStoreConfig, Lookup

SIZES = (100_000, 1_000_000, 10_000_000)
HEADINGS = (
    "work",
    "rows",
    "values",
    "equal bits",
    "DuckDB s",
    "Spark s",
    "Spark / DuckDB",
    "this process MB",
)
KEYS, SPAN = 1000, 365 * 86_400 * 10**6
CHUNK = 1_000_000
START = datetime(2013, 1, 1, tzinfo=UTC)
VIEW = """
    select key, time_bucket(interval 1 hour, event_timestamp) + interval 1 hour as moment, count(*) as seen,
        count(x) as known, max(x) as most, min(n) as least, cast(sum(n) as bigint) as total
    from history where event_timestamp > $start and event_timestamp <= $end group by all
"""


def make(where: Path, rows: int) -> None:
    """Rows over a year, each known up to ten days after it happened, a million a file."""
    rng = np.random.default_rng(7)
    zoned = pa.timestamp("us", "UTC")
    for first in range(0, rows, CHUNK):
        many = min(CHUNK, rows - first)
        event = rng.integers(0, SPAN, many) + int(START.timestamp()) * 10**6
        late = rng.integers(0, 10 * 86_400 * 10**6, many)
        columns = {
            "key": pa.array(rng.integers(0, KEYS, many)),
            "event_timestamp": pa.array(event).cast(zoned),
            "created_timestamp": pa.array(event + late).cast(zoned),
            "x": pa.array(rng.random(many), mask=rng.random(many) < 0.01),
            "n": pa.array(rng.integers(0, 1000, many)),
        }
        write_deltalake(str(where), pa.table(columns), mode="append")


def asked(rows: int) -> pa.Table:
    """One question for ten rows of the history."""
    rng = np.random.default_rng(8)
    moments = rng.integers(0, SPAN, rows // 10) + int(START.timestamp()) * 10**6
    times = pa.array(moments).cast(pa.timestamp("us", "UTC"))
    return pa.table({"key": pa.array(rng.integers(0, KEYS, rows // 10)), "event_timestamp": times})


def timed(work: Callable[[], pa.Table]) -> tuple[pa.Table, float]:
    begun = time.monotonic()
    found = work()
    return found, time.monotonic() - begun


def viewed(engine: Any, where: Path) -> pa.Table:
    with closing(engine):
        engine.register("landed", DeltaTable(str(where)))
        engine.view(
            "history", "select key, cast(event_timestamp as timestamp) as event_timestamp, x, n from landed"
        )
        window = {
            "start": START.replace(tzinfo=None),
            "end": (START + timedelta(days=400)).replace(tzinfo=None),
        }
        return engine.query(VIEW, window)


def joined(folder: Path, where: Path, rows: pa.Table, settings: Settings, far: bool) -> pa.Table:
    own = DeltaOfflineStoreConfig(
        lake=str(folder), threads=settings.threads, engine="spark", spark_master=settings.spark_master,
        spark_conf=settings.spark_settings,
    )  # fmt: skip
    place = Source("history", str(where), True)
    lookup = Lookup(
        place, {"key": "key"}, "event_timestamp", "created_timestamp", timedelta(days=30),
        {"x": "x", "n": "n", "seen": "event_timestamp"},
    )  # fmt: skip
    question = questions.Questions(rows.schema, "event_timestamp", lambda: rows)
    values = store._values(own, question, lookup, 1, far)
    return pa.table(
        {"row": pa.array(range(len(rows))), **dict(zip(values.column_names, values.columns, strict=True))}
    )


def sides(folder: Path, size: int, settings: Settings) -> list[tuple[Any, ...]]:
    """A line for the view and one for the join; AssertionError names the first value that differs."""
    where, rows = folder / f"history{size}", asked(size)
    make(where, size)
    works: dict[str, tuple[Callable[[], pa.Table], Callable[[], pa.Table]]] = {
        "view": (lambda: viewed(DuckDB(settings), where), lambda: viewed(Spark(settings), where)),
        "join": (
            lambda: joined(folder, where, rows, settings, False),
            lambda: joined(folder, where, rows, settings, True),
        ),
    }
    lines = []
    for name, (ours, theirs) in works.items():
        duck, first = timed(ours)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        far, second = timed(theirs)
        found = compared(name, duck, far)
        assert found.values, f"{name}: nothing to compare"
        assert not found.different, found.failures
        lines.append((name, size, found.values, found.equal, first, second, second / first, peak))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--master", default="local[*]")
    parser.add_argument("--conf", default="", help="as EVERGREEN_SPARK_CONF")
    given = parser.parse_args()
    console = Console()
    with TemporaryDirectory() as name:
        settings = Settings(
            _env_file=None, home=Path(name) / "home", spark_master=given.master, spark_conf=given.conf
        )
        begun = time.monotonic()
        spark.session(settings.spark_master, settings.spark_settings)
        console.print(f"Spark's start on {given.master}: {time.monotonic() - begun:.1f} s")
        table = Table(
            "work", "rows", "values", "equal bits", "DuckDB s", "Spark s", "Spark / DuckDB", "this process MB"
        )
        for size in given.sizes:
            for line in sides(Path(name), size, settings):
                kind, rows, values, equal, *seconds, peak = line
                table.add_row(
                    kind,
                    f"{rows:,}",
                    f"{values:,}",
                    f"{equal:,}",
                    *(f"{each:.2f}" for each in seconds),
                    f"{peak:.0f}",
                )
                console.print(*line)
        console.print(table)
    spark.stop()


if __name__ == "__main__":
    main()
