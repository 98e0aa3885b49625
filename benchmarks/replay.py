"""The whole loop for thirty days, written from the tools' own tutorials (`stock_dag/`) and ours, on the same files.

Day by day each side ingests the day's files, computes features, trains, judges, promotes and reports, each task in a
process of its own as Airflow runs them, and by turns each goes first. Airflow's own bookkeeping is left out on both.
What is asserted each day: the same rows accepted, and the same labels for the same flights in the training sets and in
the held-out rows. An interrupted run goes on where it stopped.
"""

import argparse
import json
import shutil
import signal
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.loop_sides import Unequal
from benchmarks.replay_sides import LABELS, Day, Ours, Replayed, Stock, labels, reference_free
from pipelines.loop.replay import replay
from pipelines.settings import PROJECT

MODEL = "flight_delays"
BEGIN = date(2013, 4, 1)
BEFORE = 31
"""Days of history that both begin with."""
CLOSE = 1e-6
STEPS = ("ingest", "features", "plan", "training set", "train", "evaluate", "promote", "report")


def landed(first: date, last: date, every: Any, folder: Path) -> list[Path]:
    """The files of some days, made once."""
    folder.mkdir(parents=True, exist_ok=True)
    return list(replay(MODEL, first, last, every, folder))


def of_day(files: list[Path], day: date) -> list[Path]:
    """Those that became known on a day."""
    return [file for file in files if file.stem.rsplit("_", 2)[1].startswith(f"{day:%Y%m%d}")]


def same(stock: Day, ours: Day) -> dict[str, Any]:
    """How many labels are equal, and the share of feature values that are; Unequal if rows or labels differ."""
    for name, rows in stock["accepted"].items():
        if ours["accepted"].get(name) != rows:
            raise Unequal(
                f"{name}: {rows} rows accepted by the stock side and {ours['accepted'].get(name)} by ours"
            )
    theirs, mine = labels(stock), labels(ours)
    if not len(mine):
        raise Unequal("there is no label to compare")
    if len(theirs) != len(mine) or not theirs[LABELS].equals(mine[LABELS]):
        raise Unequal(f"labels: {len(theirs)} on the stock side and {len(mine)} on ours, and not the same")
    return {"labels": len(mine), "alike": alike(theirs, mine)}


def alike(theirs: pd.DataFrame, mine: pd.DataFrame) -> float:
    """The share of feature values that both sides have alike, missing ones among them."""
    names = [name for name in mine if "__" in name]
    if not names or not {*names} <= {*theirs}:
        raise Unequal("the sides have different features")
    old, new = (side[names].astype("float64") for side in (theirs, mine))
    return float((((old - new).abs() <= CLOSE) | (old.isna() & new.isna())).to_numpy().mean())


def total(found: Day) -> dict[str, float]:
    """Seconds, processor seconds and the largest process of a side's day."""
    took = found["took"].values()
    return {
        "wall": sum(each["wall"] for each in took),
        "cpu": sum(each["cpu"] for each in took),
        "peak": max(each["peak"] for each in took),
    }


class Run:
    """Both sides, and what was found until now; it lies in a folder, with both homes as the last day left them."""

    def __init__(self, folder: Path, before: int) -> None:
        self.folder, self.before = folder, before
        self.sides: dict[str, Replayed] = {
            "stock": Stock("stock", folder / "home-stock"),
            "ours": Ours("ours", folder / "home-ours"),
        }
        self.found: dict[str, Any] = {"before": before, "history": {}, "days": [], "begun": {}}

    def open(self) -> None:
        """Start both sides where the last run stopped, or from nothing."""
        kept = self.folder / "kept"
        state = kept / "found.json"
        if state.exists() and json.loads(state.read_text())["before"] == self.before:
            self.found = json.loads(state.read_text())
        else:
            shutil.rmtree(kept, ignore_errors=True)
        for name, side in self.sides.items():
            side.restore(kept / name)
            side.start()
        self.found["began"] = {name: side.began for name, side in self.sides.items()}

    def keep(self) -> None:
        """Both homes and what was found, whole or not at all."""
        new, kept, old = (self.folder / name for name in ("kept.new", "kept", "kept.old"))
        for path in (new, old):
            shutil.rmtree(path, ignore_errors=True)
        for name, side in self.sides.items():
            shutil.copytree(side.home, new / name, symlinks=True)
        (new / "found.json").write_text(json.dumps(self.found))
        if kept.exists():
            kept.rename(old)
        new.rename(kept)
        shutil.rmtree(old, ignore_errors=True)

    def history(self, first: date, say: Any) -> None:
        """What landed before the first day, on both sides, each unless an earlier run did it."""
        days = [first - timedelta(days=n) for n in range(self.before, 0, -1)]
        files = landed(days[0], days[-1], "bulk", self.folder / "history")
        done = self.found["history"]
        for name, side in self.sides.items():
            if name not in done:
                say(f"{name}: {days[0]} to {days[-1]} and a first champion ...")
                done[name] = side.history(files, days)
                say(f"{name}: {total(done[name])['wall']:.0f} s, {done[name]['said']}")
                self.keep()
        if not self.found["days"] and not self.found["begun"]:
            same(done["stock"], done["ours"])

    def day(self, day: date, files: list[Path], number: int) -> dict[str, Any]:
        """A day on both sides, by turns the one or the other first."""
        done: dict[str, Any] = self.found["begun"]
        for name in sorted(self.sides, reverse=number % 2 == 0):
            if name not in done:
                done[name] = self.sides[name].day(day, files)
                self.keep()
        done["equal"] = same(done["stock"], done["ours"])
        self.found["days"].append({"day": str(day), **done})
        self.found["begun"] = {}
        self.keep()
        return done

    def close(self) -> None:
        for side in self.sides.values():
            side.stop()


def line(day: str, done: dict[str, Any]) -> str:
    """A day in a line."""
    stock, ours, equal = total(done["stock"]), total(done["ours"]), done["equal"]
    ratio = f"{stock['cpu'] / ours['cpu']:.1f}x cpu {stock['wall'] / ours['wall']:.1f}x wall"
    each = [
        f"{name} {took['cpu']:5.1f} cpu s {took['wall']:5.1f} s ({done[name]['said']})"
        for name, took in (("stock", stock), ("ours", ours))
    ]
    alike = f"{equal['labels']:,} equal labels, features {equal['alike']:.1%} alike"
    return "; ".join([f"{day}: {each[0]}", each[1], ratio, alike])


def summed(found: dict[str, Any], side: str) -> dict[str, dict[str, float]]:
    """What each step of a side took over all days, the start of its scheduler, and all of it."""
    kept: dict[str, dict[str, float]] = {}
    for day in found["days"]:
        for step, took in day[side]["took"].items():
            so_far = kept.setdefault(step, {"wall": 0.0, "cpu": 0.0, "peak": 0.0})
            so_far["wall"] += took["wall"]
            so_far["cpu"] += took["cpu"]
            so_far["peak"] = max(so_far["peak"], took["peak"])
    kept["scheduler's start"] = {"wall": 0.0, "cpu": found["began"][side], "peak": 0.0}
    kept["all"] = {
        "wall": sum(each["wall"] for each in kept.values()),
        "cpu": sum(each["cpu"] for each in kept.values()),
        "peak": max(each["peak"] for each in kept.values()),
    }
    return kept


def table(found: dict[str, Any]) -> Table:
    """Step by step, both sides and their ratio."""
    days = len(found["days"])
    shown = Table(title=f"{days} days, each step's sum", title_justify="left")
    for name in ("", "stock cpu s", "our cpu s", "ratio", "stock s", "our s", "ratio", "stock MB", "our MB"):
        shown.add_column(name, justify="right" if name else "left")
    stock, ours = summed(found, "stock"), summed(found, "ours")
    for step in (*STEPS, "scheduler's start", "all"):
        cells = []
        old, new = stock.get(step, {}), ours.get(step, {})
        for what in ("cpu", "wall"):
            was, now = old.get(what, 0.0), new.get(what, 0.0)
            cells += [f"{was:,.1f}", f"{now:,.1f}", f"{was / now:.1f}x" if was and now else ""]
        shown.add_row(step, *cells, f"{old.get('peak', 0):,.0f}", f"{new.get('peak', 0):,.0f}")
    return shown


def compare(asked: argparse.Namespace, say: Any) -> dict[str, Any]:
    """Every day until the last one on both sides."""
    run = Run(asked.folder.resolve(), asked.before)
    last = BEGIN + timedelta(days=asked.days - 1)
    files = reference_free(landed(BEGIN, last, "1d", run.folder / "files"))
    try:
        if asked.fresh:
            shutil.rmtree(run.folder / "kept", ignore_errors=True)
        run.open()
        run.history(BEGIN, say)
        for number in range(asked.days):
            day = BEGIN + timedelta(days=number)
            if number < len(run.found["days"]):
                say(line(str(day), run.found["days"][number]) + " (kept)")
                continue
            say(line(str(day), run.day(day, of_day(files, day), number)))
    finally:
        run.close()
    return run.found | {"days": run.found["days"][: asked.days]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--before", type=int, default=BEFORE, help="days of history that both begin with")
    parser.add_argument("--folder", type=Path, default=PROJECT / "var" / "bench-replay")
    parser.add_argument("--fresh", action="store_true", help="begin anew, whatever an earlier run left")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs beside us is ended
    console = Console(width=140, stderr=asked.json)
    try:
        found = compare(
            asked, lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)
        )
    except Unequal as error:
        console.print(f"THE SIDES DIFFER. {error}", markup=False)
        sys.exit(1)
    if asked.json:
        print(json.dumps({side: summed(found, side) for side in ("stock", "ours")}, indent=2))
        return
    console.print(table(found))
    stock, ours = (summed(found, side)["all"] for side in ("stock", "ours"))
    equal = [day["equal"] for day in found["days"]]
    console.print(
        f"Processor seconds {stock['cpu']:,.0f} and {ours['cpu']:,.0f}: {stock['cpu'] / ours['cpu']:.2f}x. "
        f"Seconds {stock['wall']:,.0f} and {ours['wall']:,.0f}: {stock['wall'] / ours['wall']:.2f}x. "
        f"Largest process {stock['peak']:,.0f} MB and {ours['peak']:,.0f} MB.\n"
        f"Equal rows and equal labels on all {len(equal)} days, up to {max(e['labels'] for e in equal):,} labels; "
        f"of the feature values at least {min(e['alike'] for e in equal):.2%} alike.",
        highlight=False,
    )


if __name__ == "__main__":
    main()
