"""Drift of many rows: ours in one pass over a Parquet file, and Evidently's preset on the same, verdict by verdict.

Each side runs in a process of its own, which says its seconds and its peak of memory.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pipelines.monitoring.drift.reference import made
from pipelines.monitoring.drift.sketch import Sketches, taken
from pipelines.monitoring.drift.verdict import look

DAYS, WINDOW, BLOCK = 84, 14, 50_000
LEAST = 0.01
SEEN = 25
"""A shift, in deviations times the root of the rows, that has to be seen: 0.05 of 300,000 rows."""
MOVED = 10
"""Of the columns every tenth moves in the window, by so much more as it comes later."""


def shifts(columns: int) -> list[float]:
    """By how many deviations each column moves in the window."""
    some = range(0, columns, MOVED)
    moved = {n: 0.05 + 0.45 * place / max(1, len(some) - 1) for place, n in enumerate(some)}
    return [moved.get(n, 0.0) for n in range(columns)]


def written(path: Path, rows: int, columns: int, kind: str) -> None:
    """Rows of 84 days in order; in the last 14 every tenth column is moved by 0.05 to 0.5 deviations."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    chance, writer = np.random.default_rng(0), None
    moved = np.asarray(shifts(columns))
    for start in range(0, rows, BLOCK):
        many = min(BLOCK, rows - start)
        day = (np.arange(start, start + many) * DAYS) // rows
        values = chance.standard_normal((columns, many), dtype=kind)
        values += moved[:, None].astype(kind) * (day >= DAYS - WINDOW)
        block = pa.table({"day": day, **{f"c{n:03d}": values[n] for n in range(columns)}})
        writer = writer or pq.ParquetWriter(path, block.schema, compression="none", use_dictionary=False)
        writer.write_table(block)
    assert writer is not None
    writer.close()


def sketched(path: str, names: list[str], days: tuple[int, int]) -> Sketches:
    """Some columns of a file in one pass, of the days from the first up to the last."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps what it freed: a third more at the peak
    file, kinds = pq.ParquetFile(path), dict.fromkeys(names, "numeric")
    found = Sketches(kinds)
    for group in range(file.num_row_groups):
        seen = file.metadata.row_group(group).column(0).statistics
        if seen.max < days[0] or seen.min >= days[1]:
            continue
        for batch in file.iter_batches(BLOCK, row_groups=[group], columns=["day", *names]):
            day = np.from_dlpack(batch.column("day"))
            inside = slice(*np.searchsorted(day, days))
            columns = {n: np.asarray(np.from_dlpack(batch.column(n))[inside], "float64") for n in names}
            found.merge(taken(kinds, columns, day[inside]))
    return found


def judged(path: str, names: list[str]) -> dict[str, Any]:
    """What some columns of a file say, and how long it took to read and to judge them."""
    begun = time.perf_counter()
    whole = sketched(path, names, (0, DAYS))
    read = time.perf_counter()
    old, new = Sketches(whole.kinds), Sketches(whole.kinds)
    for part, kept in whole:
        (new if part.day >= DAYS - WINDOW else old).parts[part] = kept
    said = look(made(old, WINDOW), new, 2.0, LEAST)
    found = {each.column: [each.pvalue, each.effect, each.moved] for each in said}
    return {"read": read - begun, "judged": time.perf_counter() - read, "found": found, "peak_mb": peak()}


def peak() -> float:
    """The most memory that this process had, in MB; what rusage says holds that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def ours(path: str, columns: int) -> dict[str, Any]:
    """Half of the columns here, the other half in a process of its own, forked before anything was imported."""
    names = [f"c{n:03d}" for n in range(columns)]
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        other = pool.submit(judged, path, names[1::2])
        parts = [judged(path, names[::2]), other.result()]
    found = {name: said for part in parts for name, said in part["found"].items()}
    times = {name: max(part[name] for part in parts) for name in ("read", "judged")}
    return {**times, "found": found, "peak_mb": sum(part["peak_mb"] for part in parts)}


def stock(path: str, columns: int) -> dict[str, Any]:
    """Evidently's preset on the rows before the window and in it, all of them, as it comes."""
    os.environ["DO_NOT_TRACK"] = "1"
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    begun, names = time.perf_counter(), [f"c{n:03d}" for n in range(columns)]
    rows = pd.read_parquet(path)
    definition = DataDefinition(numerical_columns=names)
    inside = rows["day"] >= DAYS - WINDOW
    new, old = (
        Dataset.from_pandas(rows.loc[of, names], data_definition=definition) for of in (inside, ~inside)
    )
    found = Report([DataDriftPreset()]).run(new, old).dict()
    said = {
        each["config"]["column"]: [
            float(each["value"]),
            None,
            bool(float(each["value"]) >= each["config"]["threshold"]),
        ]
        for each in found["metrics"]
        if "column" in each["config"]
    }
    return {"read": time.perf_counter() - begun, "judged": 0.0, "found": said, "peak_mb": peak()}


SIDES = {"ours": ours, "stock": stock}


def one(side: str, path: Path, columns: int) -> dict[str, Any]:
    """What a side says in a process of its own, with its seconds, processor seconds and the peak of its processes."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.drift",
        "--side",
        side,
        "--path",
        str(path),
        "--columns",
        str(columns),
    ]
    begun = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "wall": time.perf_counter() - begun}


def side(name: str, path: str, columns: int) -> None:
    """One side in this process; prints what it found, and the processor seconds of it and its children."""
    found = SIDES[name](path, columns)
    used = [resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({**found, "cpu": sum(each.ru_utime + each.ru_stime for each in used)}))


def compared(path: Path, rows: int, columns: int) -> None:
    """Both sides on the same file, and column by column what they say."""
    mine, theirs = one("ours", path, columns), one("stock", path, columns)
    for name, found in (("ours", mine), ("Evidently", theirs)):
        print(f"{name:>10}: {found['wall']:8.1f} s, {found['cpu']:8.1f} CPU s, {found['peak_mb']:8,.0f} MB")
    print(
        f"{theirs['wall'] / mine['wall']:.0f} times as fast, {mine['peak_mb'] / theirs['peak_mb']:.2f} of the memory"
        f" at {rows:,} rows x {columns} columns"
    )
    heads = ("column", "moved by", "p-value", "distance", "ours", "Wasserstein", "stock")
    print("".join(f"{head:>12}" for head in heads))
    shift = shifts(columns)
    for number in range(columns):
        ours_said, stock_said = (side["found"][f"c{number:03d}"] for side in (mine, theirs))
        own = f"{shift[number]:12.3f}{ours_said[0]:12.2g}{ours_said[1]:12.4f}{YES[ours_said[2]]:>12}"
        print(f"{f'c{number:03d}':>12}{own}{stock_said[0]:12.4f}{YES[stock_said[2]]:>12}")
    told = {n: mine["found"][f"c{n:03d}"][2] for n in range(columns)}
    wrong = [
        n
        for n in range(columns)
        if (told[n] and not shift[n]) or (not told[n] and shift[n] * rows**0.5 > SEEN)
    ]
    if wrong:
        raise SystemExit(f"ours says what is not so of {wrong}")


YES = {True: "moved", False: ""}


def increment(path: Path, columns: int) -> None:
    """A day's sketches and a verdict with a window of it, for histories of several lengths."""
    names = [f"c{n:03d}" for n in range(columns)]
    new = sketched(str(path), names, (DAYS - WINDOW, DAYS))
    for days in (14, 28, 70):
        old = sketched(str(path), names, (DAYS - WINDOW - days, DAYS - WINDOW))
        reference = made(old, 7)
        look(reference, new, 2.0, LEAST)  # what past windows show is found out once per reference
        begun = time.process_time()
        sketched(str(path), names, (DAYS - 1, DAYS))
        day = time.process_time()
        look(reference, new, 2.0, LEAST)
        judged, day = time.process_time() - day, day - begun
        print(f"history of {days} days: a day's rows {day:.2f} CPU s, the verdict {judged:.2f} CPU s")


def large(path: Path, rows: int, columns: int, seconds: float, megabytes: float) -> None:
    """Ours alone on many rows, within seconds and megabytes."""
    found = one("ours", path, columns)
    size = path.stat().st_size / 2**30
    print(
        f"{rows:,} rows x {columns} columns ({size:.1f} GiB): {found['wall']:.0f} s, {found['cpu']:.0f} CPU s,"
        f" {found['peak_mb']:,.0f} MB; {sum(f[2] for f in found['found'].values())} columns moved"
    )
    if found["wall"] > seconds or found["peak_mb"] > megabytes:
        raise SystemExit(f"more than {seconds:.0f} s or {megabytes:,.0f} MB")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=3_000_000, help="rows that both sides are asked of")
    asked.add_argument("--columns", type=int, default=20)
    asked.add_argument("--numbers", choices=["float64", "float32"], default="float64")
    asked.add_argument(
        "--large", default="10000000x200", help="rows x columns for ours alone; 0 leaves it out"
    )
    asked.add_argument("--side", choices=SIDES)
    asked.add_argument("--path")
    told = asked.parse_args()
    if told.side:
        return side(told.side, told.path, told.columns)
    with tempfile.TemporaryDirectory(prefix="evergreen-bench-") as folder:
        path = Path(folder) / "rows.parquet"
        written(path, told.rows, told.columns, told.numbers)
        compared(path, told.rows, told.columns)
        increment(path, told.columns)
        path.unlink()
        if told.large != "0":
            rows, columns = map(int, told.large.split("x"))
            written(path, rows, columns, "float32")
            large(path, rows, columns, 240, 2048)
    return None


if __name__ == "__main__":
    main()
