"""Ingest and validate: pandas + Great Expectations on pandas + Parquet, against ours, on the same real flights.

Each way runs in a process of its own, by turns; peak memory is the process's, the imports' share shown apart.
Ours does more: it claims, hashes, checks each value strictly, looks for copies, and commits durably to Delta.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.catalog import dataset
from pipelines.settings import PROJECT
from pipelines.upstream import connect

SIZES = (300_000, 3_000_000)
DATASET = "flights"


def make(rows: int, path: Path) -> None:
    """Writes real flights, repeated in earlier years as often as it takes, each key once."""
    spec = dataset(DATASET)
    columns = ", ".join(
        f"""strftime("{n}" - to_years(CAST(i AS INTEGER)), '%Y-%m-%dT%H:%M:%SZ') AS "{n}\""""
        if c.type == "timestamp"
        else f'"{n}"'
        for n, c in spec.columns.items()
    )
    with connect(["flights"]) as connection:
        # A leap day moved to another year would meet the 28th.
        days = (
            "strftime(scheduled_departure, '%m-%d') <> '02-28' AND strftime(available_at, '%m-%d') <> '02-28'"
        )
        (each,) = connection.sql(f"SELECT count(*) FROM flights WHERE {days}").fetchone() or (1,)
        copies = -(-rows // each)
        connection.execute(
            f"COPY (SELECT {columns} FROM flights, range({copies}) r(i) WHERE {days} LIMIT {rows})"
            f" TO '{path}' (FORMAT csv, HEADER)"
        )


def stock(path: Path, folder: Path) -> dict[str, Any]:
    """The usual way: read_csv, the same suite on the data frame, to_parquet."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    import pandas as pd

    base = _rss()
    begun = time.perf_counter()
    spec = dataset(DATASET)
    times = [name for name, column in spec.columns.items() if column.type == "timestamp"]
    frame = pd.read_csv(path, parse_dates=times)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = (
        context.data_sources.add_pandas("pandas")
        .add_dataframe_asset("landed")
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": frame})
    )
    outcome = batch.validate(_suite(gx), result_format="SUMMARY")
    frame.to_parquet(folder / "silver.parquet")
    seconds = time.perf_counter() - begun
    return {
        "rows": len(frame) if outcome.success else -1,
        "check": [int(frame["distance"].sum()), int(frame["arrival_delay"].sum())],
        "seconds": seconds, "base": base, "peak": _rss(),
    }  # fmt: skip


def ours(path: Path, folder: Path) -> dict[str, Any]:
    """`evergreen ingest`: from the landing folder to silver."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import duckdb_sqlalchemy
    import great_expectations

    from pipelines.ingestion.ingest import ingest_dataset
    from pipelines.settings import Settings
    from pipelines.stores import Stores

    del duckdb_sqlalchemy, great_expectations  # imported before the clock starts, as a warm worker has them
    base = _rss()
    stores = Stores(Settings(_env_file=None, home=folder))
    stores.settings.landing_path.mkdir(parents=True)
    os.link(path, stores.settings.landing_path / path.name)
    begun = time.perf_counter()
    [result] = ingest_dataset(dataset(DATASET).model_copy(update={"max_bytes": 10**12}), stores)
    seconds = time.perf_counter() - begun
    peak = _rss()
    import duckdb

    silver = stores.tables.silver(dataset(DATASET))
    check = duckdb.sql("SELECT sum(distance)::BIGINT, sum(arrival_delay)::BIGINT FROM silver").fetchone()
    assert silver is not None
    return {"rows": result.silver, "check": list(check or ()), "seconds": seconds, "base": base, "peak": peak}


def _suite(gx: Any) -> Any:
    """The dataset's suite, without the rules that need a history."""
    text = json.loads((PROJECT / "expectations" / f"{DATASET}.json").read_text())
    plain = [e for e in text["expectations"] if "$PARAMETER" not in json.dumps(e)]
    return gx.ExpectationSuite(name=DATASET, expectations=plain)


def _rss() -> float:
    """The process's peak of resident memory so far, in MB, not counting what its parent held."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(way: str, path: Path) -> dict[str, Any] | None:
    """One run in a process of its own; None if it did not survive."""
    with TemporaryDirectory(dir=path.parent) as folder:
        command = [sys.executable, __file__, "--way", way, "--file", str(path), "--folder", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        Console(stderr=True).print(f"{way}: ended with {done.returncode}\n{done.stderr[-500:]}", markup=False)
        return None
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(sizes: list[int], repeat: int, folder: Path) -> bool:
    """Prints both ways side by side for each size; whether the answers are equal."""
    console = Console(width=110)
    title = f"ingest + validate, best of {repeat} by turns; memory is the peak, in brackets above the imports"
    table = Table(title=title, title_justify="left")
    for name in ("rows", "stock", "ours", "faster", "ours rows/s", "stock MB", "ours MB", "leaner"):
        table.add_column(name, justify="right")
    equal = True
    for rows in sizes:
        path = folder / f"{DATASET}_{rows}.csv"
        console.print(f"{rows:,} rows ...")
        make(rows, path)
        found = [(measure("stock", path), measure("ours", path)) for _ in range(repeat)]
        path.unlink()
        theirs = min((f for f, _ in found if f), key=lambda f: f["seconds"], default=None)
        mine = min((f for _, f in found if f), key=lambda f: f["seconds"], default=None)
        same = bool(mine) and mine["rows"] == rows
        same &= theirs is None or (theirs["rows"], theirs["check"]) == (rows, mine and mine["check"])
        equal &= same
        table.add_row(f"{rows:,}", *_cells(theirs, mine))
    console.print(table)
    console.print("Equal rows and sums in both." if equal else "THE ANSWERS DIFFER.")
    return equal


def _cells(theirs: dict[str, Any] | None, mine: dict[str, Any] | None) -> list[str]:
    """The table's cells; a way that did not end says so."""
    if mine is None:
        return ["", "did not end"]
    rate = f"{mine['rows'] / mine['seconds']:,.0f}"
    if theirs is None:
        return ["did not end", f"{mine['seconds']:.1f} s", "", rate, "", _memory(mine), ""]
    leaner = theirs["peak"] / mine["peak"], (theirs["peak"] - theirs["base"]) / (mine["peak"] - mine["base"])
    times = (
        f"{theirs['seconds']:.1f} s",
        f"{mine['seconds']:.1f} s",
        f"{theirs['seconds'] / mine['seconds']:.1f}x",
    )
    return [*times, rate, _memory(theirs), _memory(mine), f"{leaner[0]:.1f}x ({leaner[1]:.1f}x)"]


def _memory(found: dict[str, Any]) -> str:
    return f"{found['peak']:,.0f} ({found['peak'] - found['base']:,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--way", choices=["stock", "ours"])
    parser.add_argument("--file", type=Path)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps({"stock": stock, "ours": ours}[asked.way](asked.file, asked.folder)))
        return
    with TemporaryDirectory() as folder:
        sys.exit(0 if compare(asked.rows, asked.repeat, Path(folder)) else 1)


if __name__ == "__main__":
    main()
