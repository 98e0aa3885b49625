"""Materialize: Feast as it comes (its file offline store, local engine and SQLite) against ours, on one Parquet file.

Each way runs in a process of its own; peak memory is the process's, the imports' share shown apart. Then both
answer the same questions: values of random keys, which must be equal, and the time of one row and of a hundred.
"""

import argparse
import json
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

START = datetime(2024, 1, 1, tzinfo=UTC)
STORES: dict[str, dict[str, Any]] = {
    "stock": {"online_store": {"type": "sqlite", "path": "stock.db"}},
    "ours": {
        "offline_store": {"type": "pipelines.stores.offline.DeltaOfflineStore", "lake": "."},
        "online_store": {"type": "pipelines.stores.online.store.SqliteOnlineStore", "path": "ours.db"},
        "batch_engine": {"type": "pipelines.stores.online.materialization.BulkComputeEngine"},
    },
}
CHECKED = 1000
"""Random keys whose values must be equal in both."""
QUESTIONS = {1: 2000, 100: 200}
"""Rows in a question, and how often it is asked."""


def make(entities: int, features: int, path: Path) -> None:
    """Writes one row of random floats for each entity, in random order."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    moments = int(START.timestamp() * 1e6) + rng.integers(0, 86_400_000_000, entities)
    columns = {
        "entity": pa.array(rng.permutation(entities)),
        "event_timestamp": pa.array(moments, pa.timestamp("us", "UTC")),
    }
    columns |= {f"f{i}": pa.array(rng.random(entities)) for i in range(features)}
    pq.write_table(pa.table(columns), path)


def opened(way: str, path: Path, features: int, folder: Path) -> Any:
    """A feature store of the given kind with one view on the file."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource
    from feast.repo_config import RepoConfig
    from feast.types import Float64, Int64
    from feast.value_type import ValueType

    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
    fields = [
        Field(name="entity", dtype=Int64),
        *(Field(name=f"f{i}", dtype=Float64) for i in range(features)),
    ]
    source = FileSource(name="source", path=str(path), timestamp_field="event_timestamp")
    view = FeatureView(name="view", entities=[entity], ttl=timedelta(0), schema=fields, source=source)
    options = {"project": "bench", "provider": "local", "registry": str(folder / "registry.db")}
    config = RepoConfig(
        **options, **STORES[way], repo_path=folder, entity_key_serialization_version=3
    )  # no other setting: as it comes
    store = FeatureStore(config=config)
    store.apply([entity, view])
    return store


def run(way: str, path: Path, entities: int, features: int, folder: Path) -> dict[str, Any]:
    """Materializes all rows and asks for some; seconds, memory in MB, answers and times in ms."""
    store = opened(way, path, features, folder)
    assert store._get_provider().batch_engine  # both import what they need before the clock starts
    base, begun, worked = _peak(), time.perf_counter(), time.process_time()
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        store.materialize(START - timedelta(days=1), START + timedelta(days=2))
    seconds, cpu, peak = time.perf_counter() - begun, time.process_time() - worked, _peak()
    names = [f"view:f{i}" for i in range(features)]
    rng = Random(0)  # noqa: S311 - the same keys for both, no secret
    keys = [rng.randrange(entities) for _ in range(CHECKED)]
    asked = store.get_online_features(features=names, entity_rows=[{"entity": k} for k in keys]).to_dict()
    answers = [asked[f"f{i}"] for i in range(features)]
    size = sum(file.stat().st_size for file in folder.glob(f"{way}.db*")) / 1e6
    found = {"seconds": seconds, "cpu": cpu, "base": base, "peak": peak, "answers": answers, "size": size}
    return found | {str(n): _times(store, names, n, entities, rng) for n in QUESTIONS}


def _times(store: Any, names: list[str], rows: int, entities: int, rng: Random) -> list[float]:
    """The 50th and 99th percentile of a question's time in ms."""
    times = []
    for _ in range(QUESTIONS[rows]):
        asked = [{"entity": rng.randrange(entities)} for _ in range(rows)]
        begun = time.perf_counter()
        store.get_online_features(features=names, entity_rows=asked)
        times.append((time.perf_counter() - begun) * 1000)
    times.sort()
    return [times[len(times) // 2], times[len(times) * 99 // 100]]


def _peak() -> float:
    """The process's peak of resident memory so far, in MB."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(way: str, path: Path, entities: int, features: int) -> dict[str, Any] | None:
    """One run in a process of its own; None if it did not survive."""
    size = ["--entities", str(entities), "--features", str(features)]
    with TemporaryDirectory(dir=path.parent) as folder:
        command = [sys.executable, "-m", "benchmarks.materialize", "--way", way, "--file", str(path)]
        command += ["--folder", folder, *size]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        Console(stderr=True).print(f"{way}: ended with {done.returncode}\n{done.stderr[-500:]}", markup=False)
        return None
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(entities: int, features: int, folder: Path) -> bool:
    """Prints both ways side by side; whether both ended with equal answers."""
    console, path = Console(width=110), folder / "rows.parquet"
    console.print(f"materialize {entities:,} entities x {features} float features ...")
    make(entities, features, path)
    found = {way: measure(way, path, entities, features) for way in STORES}
    path.unlink()
    title = f"materialize {entities:,} rows of {features} features, then get_online_features"
    table = Table(title=title, title_justify="left")
    for name in ("", *STORES, "ratio"):
        table.add_column(name, justify="right" if name else "left")
    for name, cells in _lines(found, entities):
        table.add_row(name, *cells)
    console.print(table)
    stock, ours = found["stock"], found["ours"]
    assert ours is None or any(value is not None for value in ours["answers"][0]), "nothing is online"
    equal = bool(stock and ours and stock["answers"] == ours["answers"])
    console.print(
        "Equal answers for 1,000 random keys." if equal else "THE ANSWERS DIFFER, or one did not end."
    )
    return equal


def _lines(found: dict[str, dict[str, Any] | None], entities: int) -> list[tuple[str, list[str]]]:
    """The table's lines: what is compared, both ways, and how many times better ours is."""

    def line(name: str, value: Any, unit: str, digits: int = 2, more_is_better: bool = False) -> Any:
        values = [value(run) if run else None for run in found.values()]
        cells = ["did not end" if v is None else f"{v:,.{digits}f} {unit}".strip() for v in values]
        if None not in values and min(values) > 0:
            cells.append(f"{values[1] / values[0] if more_is_better else values[0] / values[1]:.1f}x")
        return name, cells

    lines = [
        line("time", lambda run: run["seconds"], "s", 1),
        line("processor time", lambda run: run["cpu"], "s", 1),
        line("rows a second", lambda run: entities / run["seconds"], "", 0, more_is_better=True),
        line("peak memory", lambda run: run["peak"], "MB", 0),
        line("peak memory above the imports", lambda run: run["peak"] - run["base"], "MB", 0),
        line("size on disk", lambda run: run["size"], "MB", 0),
    ]
    for rows in QUESTIONS:
        for at, percentile in enumerate(("p50", "p99")):
            lines.append(
                line(f"read {rows} rows, {percentile}", lambda run, r=rows, a=at: run[str(r)][a], "ms", 3)
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=10)
    parser.add_argument("--way", choices=list(STORES))
    parser.add_argument("--file", type=Path)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(run(asked.way, asked.file, asked.entities, asked.features, asked.folder)))
        return
    with TemporaryDirectory() as folder:
        sys.exit(0 if compare(asked.entities, asked.features, Path(folder)) else 1)


if __name__ == "__main__":
    main()
