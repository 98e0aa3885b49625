"""Point-in-time joins: Feast's own DuckDB store, ours, and DuckDB's bare ASOF JOIN, on the same files.

Each way runs in a process of its own; peak memory is the process's, what lay there before the clock started shown
apart. The bare join is a floor, not a rival: it knows nothing of late rows, ties, TTLs or the order of its questions.
"""

import argparse
import hashlib
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.settings import PROJECT
from pipelines.upstream import connect

FEATURES = ("f0", "f1", "f2")
GROWTH = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
SPAN = 365 * 86_400
CAP_GB = 20
PATIENCE = {"random": 900.0, "flights": 240.0}
"""What Feast's store may take: gigabytes of address space, and seconds."""


def make(folder: Path, labels: int, features: int, keys: int, late: bool = False) -> None:
    """Random rows over a year, no two at one moment; with `late`, each is known up to ten days after it happened."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(7)
    event = rng.permutation(features) * (SPAN * 10**6 // features)
    created = event + (rng.integers(0, 10 * 86_400 * 10**6, features) if late else 0)
    columns = {"key": rng.integers(0, keys, features), "event_timestamp": _times(event)}
    columns |= {"created_timestamp": _times(created)} | {name: rng.random(features) for name in FEATURES}
    asked = {"label_id": np.arange(labels), "key": rng.integers(0, keys, labels)}
    asked["event_timestamp"] = _times(rng.integers(0, SPAN * 10**6, labels))
    _write(folder, pa.table(columns), pa.table(asked))


def make_flights(folder: Path, share: float = 1.0) -> None:
    """Every flight of 2013 (or a share of them) asks for its carrier's last full hour."""
    with connect(["flights"]) as connection:
        hours = connection.execute("""
            select carrier as key, hour + interval 1 hour as event_timestamp, hour + interval 1 hour as
                created_timestamp, count(f.carrier)::double as f0, avg(arrival_delay) as f1, sum(distance)::double as f2
            from (from (select distinct carrier from flights),
                (select unnest(generate_series(timestamptz '2012-12-31', '2014-01-01', interval 1 hour)) as hour))
            left join (select *, date_trunc('hour', scheduled_departure) as hour from flights) f using (carrier, hour)
            group by carrier, hour
        """).to_arrow_table()
        asked = connection.execute(f"""
            select row_number() over () - 1 as label_id, carrier as key, scheduled_departure as event_timestamp
            from flights qualify label_id % {round(1 / share)} = 0
        """).to_arrow_table()
    _write(folder, hours, asked)


def _times(numbers: Any) -> Any:
    import pyarrow as pa

    return pa.array(numbers).cast(pa.timestamp("us", "UTC"))


def _write(folder: Path, rows: Any, asked: Any) -> None:
    import pyarrow.parquet as pq
    from deltalake import write_deltalake

    write_deltalake(str(folder / "table"), rows, mode="overwrite")
    pq.write_table(asked, folder / "labels.parquet")


def stock(folder: Path) -> Callable[[], Any]:
    """Feast's DuckDB store; late rows are kept out, as ours always does."""
    from feast.data_format import ParquetFormat

    store = _store(folder, {"type": "duckdb"}, str(folder / "table" / "*.parquet"), ParquetFormat())
    return lambda labels: _asked(store, labels, filter_by_created_timestamp=True)


def ours(folder: Path) -> Callable[[], Any]:
    """This project's store, on the Delta table."""
    from feast.data_format import DeltaFormat

    place = {"type": "pipelines.stores.offline.DeltaOfflineStore", "lake": str(folder)}
    store = _store(folder, place, "table", DeltaFormat())
    return lambda labels: _asked(store, labels)


def bare(folder: Path) -> Callable[[], Any]:
    """One ASOF JOIN on the later of both times."""
    import duckdb

    names = ", ".join(FEATURES)

    def run(labels: Any) -> Any:
        with duckdb.connect(config={"threads": 2}) as connection:
            connection.execute("set TimeZone = 'UTC'")
            connection.register("labels", labels)
            return connection.execute(f"""
                select labels.*, {names} from labels
                asof left join read_parquet('{folder}/table/*.parquet') f on labels.key = f.key
                    and labels.event_timestamp >= greatest(f.event_timestamp, f.created_timestamp)
            """).df()

    return run


WAYS = {"stock": stock, "ours": ours, "bare": bare}


def _store(folder: Path, place: dict[str, Any], path: str, file_format: Any) -> Any:
    """A FeatureStore with one view, without a TTL, whose key is as the labels have it."""
    import pyarrow.parquet as pq
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource
    from feast.repo_config import RepoConfig
    from feast.types import Float64, Int64, String
    from feast.value_type import ValueType

    text = str(pq.read_schema(folder / "labels.parquet").field("key").type) == "string"
    key = Entity(name="key", join_keys=["key"], value_type=ValueType.STRING if text else ValueType.INT64)
    source = FileSource(
        name="source", path=path, file_format=file_format, timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )  # fmt: skip
    schema = [
        Field(name="key", dtype=String if text else Int64),
        *(Field(name=n, dtype=Float64) for n in FEATURES),
    ]
    view = FeatureView(name="view", entities=[key], ttl=timedelta(0), schema=schema, source=source)
    config = RepoConfig(
        project="bench", provider="local", registry=str(folder / f"{place['type']}.db"), offline_store=place,
        online_store=None, entity_key_serialization_version=3, repo_path=folder,
    )  # fmt: skip
    store = FeatureStore(config=config)
    store.apply([key, view])
    return store


def _asked(store: Any, labels: Any, **options: Any) -> Any:
    return store.get_historical_features(labels, [f"view:{name}" for name in FEATURES], **options).to_df()


def run(way: str, folder: Path, cap_gb: float) -> dict[str, Any]:
    """Seconds and memory (MB) of one way, and a digest of its answer."""
    import pandas as pd

    if cap_gb:
        resource.setrlimit(resource.RLIMIT_AS, (int(cap_gb * 2**30), int(cap_gb * 2**30)))
    ask = WAYS[way](folder)
    labels = pd.read_parquet(folder / "labels.parquet")
    base, begun = _rss(), time.perf_counter()
    answer = ask(labels)
    seconds, peak = time.perf_counter() - begun, _rss()
    values = answer.sort_values("label_id")[["label_id", *FEATURES]].astype("float64").fillna(-1.0)
    digest = hashlib.sha256(values.to_numpy().tobytes()).hexdigest()
    filled = int((values["f0"] >= 0).sum())
    return {
        "seconds": seconds,
        "base": base,
        "peak": peak,
        "rows": len(answer),
        "filled": filled,
        "digest": digest,
    }


def _rss() -> float:
    """The process's peak of resident memory so far, in MB."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(way: str, folder: Path, repeat: int = 1, cap_gb: float = 0, patience: float | None = None) -> Any:
    """The fastest of some runs, each in a process of its own; text that says why if one did not end."""
    command = [sys.executable, "-m", "benchmarks.historical", "--way", way, "--folder", str(folder)]
    found = []
    for _ in range(repeat):
        try:
            done = subprocess.run(
                [*command, "--cap-gb", str(cap_gb)], cwd=PROJECT, capture_output=True, text=True, timeout=patience,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"not done in {patience:.0f} s"
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "Error" in line] or [""]
            return f"ended with {done.returncode}: {said[-1][:90]}"
        found.append(dict(json.loads(done.stdout.splitlines()[-1])))
    return min(found, key=lambda f: f["seconds"])


def compare(labels: int, features: int, keys: int, repeat: int = 1, with_stock: bool = True) -> bool:
    """Random rows on time and late, the three ways side by side; whether the answers are equal."""
    table = _table(f"{labels:,} labels x {features:,} feature rows, {keys:,} keys")
    equal = True
    for late in (False, True):
        with TemporaryDirectory() as folder:
            make(Path(folder), labels, features, keys, late)
            # The bare join answers from the row seen last, which is wrong where rows are late.
            name = "late rows" if late else "on time"
            equal &= _row(table, name, Path(folder), repeat, not late, PATIENCE["random"] * with_stock)
    return _told(table, equal)


def flights(repeat: int = 1, share: float = 0.02) -> bool:
    """Real flights as labels: all of them, and a share that Feast's store can do; whether the answers are equal."""
    table = _table("flights of 2013 as labels x hourly rows of 16 carriers")
    equal = True
    for part in (share, 1.0):
        with TemporaryDirectory() as folder:
            make_flights(Path(folder), part)
            name = "all" if part == 1 else f"1 in {round(1 / part)}"
            equal &= _row(table, name, Path(folder), repeat, True, PATIENCE["flights"])
    return _told(table, equal)


def growth(labels: int, sizes: tuple[int, ...], keys: int, repeat: int = 1) -> float:
    """Ours over more and more feature rows; the slope of seconds in a log-log plot."""
    table = _table(
        f"ours, {labels:,} labels over {keys:,} keys", ("feature rows", "seconds", "MB", "above start")
    )
    points = []
    for size in sizes:
        with TemporaryDirectory() as folder:
            make(Path(folder), labels, size, keys, late=True)
            found = measure("ours", Path(folder), repeat)
        table.add_row(f"{size:,}", *_cells(found))
        points.append((math.log(size), math.log(found["seconds"])))
    slope = _slope(points)
    Console(width=120).print(table, f"seconds grow with the {slope:.2f}th power of the feature rows")
    return slope


def _slope(points: list[tuple[float, float]]) -> float:
    """Of the line of least squares."""
    x, y = (sum(p[i] for p in points) / len(points) for i in (0, 1))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


def _table(title: str, names: tuple[str, ...] = ()) -> Table:
    table = Table(title=title, title_justify="left")
    for name in names or ("rows", "way", "seconds", "MB", "above start", "ours is faster", "leaner"):
        table.add_column(name, justify="left" if name in ("rows", "way") else "right")
    return table


def _row(table: Table, name: str, folder: Path, repeat: int, bare_is_right: bool, patience: float) -> bool:
    """Adds the ways, stock if it is given any time; whether those that answered and should be right agree."""
    found = {way: measure(way, folder, repeat) for way in ("bare", "ours")}
    if patience:
        found["stock"] = measure("stock", folder, cap_gb=CAP_GB, patience=patience)
    mine = found["ours"]
    for way in found:
        ratios = _ratios(found[way], mine) if way != "ours" else ["", ""]
        table.add_row(name if way == "bare" else "", way, *_cells(found[way]), *ratios)
    right = [f for way, f in found.items() if isinstance(f, dict) and (way != "bare" or bare_is_right)]
    if not isinstance(mine, dict) or (patience and len(right) < 2):
        return False
    return mine["filled"] > 0 and {f["digest"] for f in right} == {mine["digest"]}


def _cells(found: Any) -> list[str]:
    if not isinstance(found, dict):
        return [str(found), "", ""]
    return [f"{found['seconds']:.2f}", f"{found['peak']:,.0f}", f"{found['peak'] - found['base']:,.0f}"]


def _ratios(found: Any, mine: Any) -> list[str]:
    if not isinstance(found, dict) or not isinstance(mine, dict):
        return ["", ""]
    leaner = (
        found["peak"] / mine["peak"],
        (found["peak"] - found["base"]) / max(mine["peak"] - mine["base"], 1),
    )
    return [f"{found['seconds'] / mine['seconds']:.2f}x", f"{leaner[0]:.1f}x ({leaner[1]:.1f}x)"]


def _told(table: Table, equal: bool) -> bool:
    Console(width=120).print(
        table, "Equal answers." if equal else "NOT SHOWN EQUAL: an answer differs or is missing."
    )
    return equal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--growth", type=int, nargs="*", default=list(GROWTH))
    parser.add_argument("--only", choices=["compare", "flights", "growth"])
    parser.add_argument("--without-stock", action="store_true")
    parser.add_argument("--way", choices=list(WAYS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cap-gb", type=float, default=0)
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(run(asked.way, asked.folder, asked.cap_gb)))
        return
    good = True
    if asked.only in (None, "compare"):
        good &= compare(asked.labels, asked.features, asked.keys, asked.repeat, not asked.without_stock)
    if asked.only in (None, "flights"):
        good &= flights(asked.repeat)
    if asked.only in (None, "growth"):
        growth(asked.labels, tuple(asked.growth), asked.keys, asked.repeat)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
