"""Days of generated flights through ingestion, Great Expectations, features and drift, in several sizes.

Prints rows a second of each stage, how time grows with rows (the slope on log-log axes; 1 is in proportion), and
the peak of memory. One size is also done by pandas, stock Great Expectations and Parquet, and by another commit's
ingestion, day by day by turns, each in a process of its own; what they accept and refuse must be equal. A run that was
ended goes on where it was when it is started again with the same folder.
"""

import argparse
import math
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import linear_regression
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.volume import flights
from benchmarks.volume.sides import Record, Side, checkout_of
from pipelines.settings import PROJECT

SIZES = (300_000, 1_000_000, 3_000_000)
STAGES = ("ingest", "features", "drift")
TOLD_SECONDS = 10.0


class Volume:
    """One size: its days, its sides, and what they took."""

    def __init__(self, rows: int, asked: argparse.Namespace, console: Console) -> None:
        self.rows, self._asked, self._console = rows, asked, console
        folder = asked.folder.resolve() / f"{rows}-{asked.day_rows}-{asked.seed}"
        self._files, self.record = folder / "files", Record(folder / "steps.jsonl")
        self._files.mkdir(parents=True, exist_ok=True)
        self.sides = [Side("ours", "steps.py", folder / "ours")]
        if rows in asked.against:
            self.sides.append(Side("stock", "stock.py", folder / "stock"))
            if asked.base:
                base = checkout_of(asked.base, asked.folder.resolve())
                self.sides.append(Side("base", "steps.py", folder / "base", base))

    def run(self) -> None:
        """Every day by every side, features and drift after each few days; what was done before is not done again."""
        pool, days = flights.pool(), flights.days(self.rows, self._asked.day_rows)
        begun, did, told, left = time.monotonic(), 0, 0.0, self.rows
        for number, (day, rows) in enumerate(days):
            fresh = self._undone(day)
            path = self._files / f"flights_{day}.csv"
            if fresh:
                flights.write(day, rows, self._asked.seed, path, pool)
            for side in self.sides if number % 2 == 0 else self.sides[::-1]:
                self.record.once(f"{side.name} ingest {day}", side, step="ingest", files=[str(path)])
            path.unlink(missing_ok=True)
            if (number + 1) % self._asked.every == 0 or number + 1 == len(days):
                self._after(number, day)
            did, left = did + (rows if fresh else 0), left - rows
            if did and time.monotonic() - told > TOLD_SECONDS:
                told = time.monotonic()
                self._say(day, left, (told - begun) / did * left)
        for side in self.sides:
            if len(self.sides) > 1 and side.name != "stock":
                self.record.once(f"{side.name} accepted", side, step="accepted")
            side.stop()

    def _undone(self, day: Any) -> list[Side]:
        return [side for side in self.sides if f"{side.name} ingest {day}" not in self.record.steps]

    def _after(self, number: int, day: Any) -> None:
        """Features and drift of the days since they were last asked for."""
        since = flights.FIRST + timedelta(days=number - number % self._asked.every)
        moments = [datetime(d.year, d.month, d.day, tzinfo=UTC) for d in (since, day + timedelta(days=1))]
        span = dict(zip(("since", "until"), map(datetime.isoformat, moments), strict=True))
        for stage in STAGES[1:]:
            self.record.once(f"ours {stage} {day}", self.sides[0], step=stage, **span)

    def _say(self, day: Any, left: int, seconds: float) -> None:
        done = 1 - left / self.rows
        self._console.print(
            f"{self.rows:,} rows: {done:.0%}, {day}; about {timedelta(seconds=round(seconds))} left",
            style="dim",
        )

    def total(self, side: str, stage: str, what: str) -> float:
        """What a stage took of a side in all: `wall`, `cpu`, or the part of Great Expectations of either."""
        found = [s for name, s in self.record.steps.items() if name.startswith(f"{side} {stage} ")]
        if stage == "validate":
            place = ("wall", "cpu").index(what)
            found = [s for name, s in self.record.steps.items() if name.startswith(f"{side} ingest ")]
            return float(sum(each["of it"]["validate"][place] for each in found))
        return float(sum(each[what] for each in found))

    def memory(self, side: str) -> tuple[float, float]:
        """The peak of a side's memory in MB, and what of it the libraries are before anything is done."""
        found = [s for name, s in self.record.steps.items() if name.startswith(f"{side} ") and "peak" in s]
        return max(each["peak"] for each in found), min(each["base"] for each in found)

    def answers(self) -> dict[str, tuple[Any, Any]]:
        """What each side accepted, and which lines it refused."""
        found = {}
        for side in self.sides:
            steps = self.record.steps
            if side.name == "stock":
                days = [s for name, s in steps.items() if name.startswith("stock ingest ")]
                sums = [sum(each) for each in zip(*(d["accepted"] for d in days), strict=True)]
                found["stock"] = sums, sorted(held for d in days for held in d["quarantined"])
            else:
                said = steps[f"{side.name} accepted"]
                found[side.name] = said["accepted"], said["quarantined"]
        return found


def rates(sizes: list[Volume]) -> Table:
    """Rows a second of each stage and size, the slope of its time, and memory."""
    shown = Table(title="ours: rows a second of wall time (of processor time)", title_justify="left")
    for name in ("", *(f"{size.rows:,}" for size in sizes), "slope, wall", "slope, cpu"):
        shown.add_column(name, justify="right" if name else "left")
    for stage in ("ingest", "validate", *STAGES[1:]):
        took = {what: [size.total("ours", stage, what) for size in sizes] for what in ("wall", "cpu")}
        cells = [
            f"{size.rows / wall:,.0f} ({size.rows / cpu:,.0f})" if wall and cpu else ""
            for size, wall, cpu in zip(sizes, took["wall"], took["cpu"], strict=True)
        ]
        title = "of it, validate" if stage == "validate" else stage
        shown.add_row(
            title, *cells, *(slope([s.rows for s in sizes], took[what]) for what in ("wall", "cpu"))
        )
    shown.add_row("peak MB (above the imports)", *(_memory(*size.memory("ours")) for size in sizes), "", "")
    return shown


def slope(rows: list[int], took: list[float]) -> str:
    """By how much the logarithm of time grows with that of rows; nothing below three sizes."""
    if len(rows) < 3 or not all(took):
        return ""
    return f"{linear_regression([math.log(n) for n in rows], [math.log(t) for t in took]).slope:.2f}"


def beside(size: Volume, console: Console) -> bool:
    """Print the sides of one size; whether they accepted and refused the same."""
    shown = Table(title=f"{size.rows:,} rows taken in, day by day by turns", title_justify="left")
    for name in ("", "seconds", "cpu s", "rows/s", "ours is faster", "of cpu", "peak MB (above the imports)"):
        shown.add_column(name, justify="right" if name else "left")
    mine = {what: size.total("ours", "ingest", what) for what in ("wall", "cpu")}
    for side in size.sides:
        took = {what: size.total(side.name, "ingest", what) for what in ("wall", "cpu")}
        ratios = [f"{took[what] / mine[what]:.2f}x" for what in ("wall", "cpu")]
        numbers = [f"{took['wall']:.1f}", f"{took['cpu']:.1f}", f"{size.rows / took['wall']:,.0f}"]
        shown.add_row(side.name, *numbers, *ratios, _memory(*size.memory(side.name)))
    console.print(shown)
    (accepted, held), *others = size.answers().values()
    equal = all((accepted, held) == each for each in others)
    word = f"Equal: {accepted[0]:,} rows accepted, {len(held):,} refused, the same lines." if equal else ""
    console.print(word or "THE ANSWERS DIFFER.", highlight=False)
    return equal and bool(held)


def _memory(peak: float, base: float) -> str:
    return f"{peak:,.0f} ({peak - base:,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES))
    parser.add_argument(
        "--against", type=int, nargs="*", help="the sizes that the others do too; the last if left out"
    )
    parser.add_argument("--base", help="a commit whose ingestion is run beside")
    parser.add_argument("--day-rows", type=int, default=100_000, help="rows in each day's file")
    parser.add_argument(
        "--every", type=int, default=10, help="days after which features and drift are computed"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=PROJECT / "var" / "bench-volume")
    asked = parser.parse_args()
    asked.against = asked.rows[-1:] if asked.against is None else asked.against
    console = Console(width=130)
    sizes = [Volume(rows, asked, console) for rows in asked.rows]
    for size in sizes:
        size.run()
    console.print(rates(sizes))
    found = [beside(size, console) for size in sizes if len(size.sides) > 1]
    if not all(found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
