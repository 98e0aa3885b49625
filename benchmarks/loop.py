"""The whole loop, from a day's landed files to the new champion served: another commit against this checkout.

Both have their own checkout, environment, home and serving process, and get the same files. Each round begins with the
champion of January to March and the files of a quiet week, and times the day after that: a champion that has aged a
week gives way to a candidate that is not worse. The gate is the one of spec.yaml on both sides, and not every day's
candidate passes it; `--day` names another. Every step runs in a process forked from one that holds what Airflow's
scheduler holds, the ingestion of all datasets at once; Airflow's own bookkeeping is left out. Both must make the same
training set, byte for byte, and come to the same verdict.
"""

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.loop_sides import Side, Took, Unequal, worktree
from pipelines.catalog import datasets
from pipelines.loop.replay import replay
from pipelines.settings import PROJECT

BASE, MODEL = "c57b43e", "flight_delays"
FIRST, LAST = date(2013, 1, 1), date(2013, 3, 31)
DAY = date(2013, 4, 8)
"""The day that is timed: the first one on which the champion of March is stale."""
AFTER = "report, after that"
"""Plots, page and card, where they are a task of their own that nobody waits for."""
CLOSE = 1e-9
MEASURED = "serves: "
"""How the rules begin whose numbers are times and sizes on this machine."""


def landed(first: date, last: date, bulk: bool, folder: Path) -> list[Path]:
    """The real flights of some days as files, made once for both."""
    folder.mkdir(parents=True, exist_ok=True)
    return list(replay(MODEL, first, last, "bulk" if bulk else "1d", folder / f"{first}_{last}"))


def owner(file: Path) -> str:
    """The dataset of a landed file."""
    return file.name.rsplit("_", 2)[0]


def taken_in(side: Side, files: list[Path]) -> None:
    """Files land, are ingested by every dataset's task at once, and become features."""
    side.take(files)
    woken = sorted({owner(file) for file in files})
    side.run("ingest", *({"step": "ingest", "args": [name]} for name in woken))
    side.run("features", {"step": "features", "args": []})


def trained(side: Side, day: date) -> dict[str, Any]:
    """The retraining's tasks one after the other, until serving answers with what was promoted."""
    now = f"{day + timedelta(days=1)}T06:00:00+00:00"
    asked = {"woken": "data event", "reason": None, "now": now}
    (plan,) = side.run("plan", {"step": "plan", "args": [MODEL], "named": asked})
    (rows,) = side.run("training set", {"step": "training_set", "args": [MODEL, plan["as_of"]]})
    timed = {"now": now}
    fits = [{"step": "train", "args": [MODEL, rows, plan], "named": timed}]
    if "rebuild" in side.steps:  # a task beside the training
        fits.append({"step": "rebuild", "args": [MODEL, rows]})
    made, *_ = side.run("train", *fits)
    (verdict,) = side.run("evaluate", {"step": "evaluate", "args": [MODEL, made, rows], "named": timed})
    (moved,) = side.run("promote", {"step": "promote", "args": [MODEL, made["version"]], "named": timed})
    return {"as_of": plan["as_of"], "rows": rows, "verdict": verdict, "moved": moved}


def history(side: Side, files: list[Path], quiet: list[Path], kept: Path, reuse: bool) -> None:
    """Three months, their champion, and the days until the timed one, kept in a home of their own.

    `reuse` takes those of an earlier run.
    """
    shutil.rmtree(side.home, ignore_errors=True)
    side.start()
    if reuse and kept.exists():
        return
    taken_in(side, files)
    found = trained(side, LAST)
    if not found["moved"]["promoted"]:
        raise SystemExit(f"{side.name}: no first champion: {found['moved']['reason']}")
    taken_in(side, quiet)
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(side.home, kept, symlinks=True)


def round_of(side: Side, kept: Path, files: list[Path], day: date) -> dict[str, Any]:
    """The day that is timed, from a home as it was before it."""
    side.leave()
    shutil.rmtree(side.home, ignore_errors=True)
    shutil.copytree(kept, side.home, symlinks=True)
    side.serve()
    side.served(MODEL, 1)
    side.took.clear()
    taken_in(side, files)
    found = trained(side, day)
    if found["moved"]["promoted"]:
        side.served(MODEL, found["verdict"]["version"], "served")
    if "report" in side.steps:
        version = found["verdict"]["version"]
        side.run(AFTER, {"step": "report", "args": [MODEL, version, found["rows"]]})
    return found | {"took": dict(side.took), "kept": side.kept}


def same(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Both learned from the same bytes and came to the same verdict for the same reasons; Unequal says what differs."""
    for what in ("rows", "positives", "holdout_rows", "content"):
        if old["rows"][what] != new["rows"][what]:
            raise Unequal(f"training set: {what}: {old['rows'][what]} and {new['rows'][what]}")
    then, now = old["verdict"], new["verdict"]
    for what in ("decision", "rows", "champion_version", "anchor_version"):
        if then[what] != now[what]:
            raise Unequal(f"verdict: {what}: {then[what]} and {now[what]}")
    rules = {rule["name"]: rule for rule in now["rules"]}
    for rule in then["rules"]:
        _same_rule(rule, rules.get(rule["name"]))
    if old["moved"]["promoted"] is not new["moved"]["promoted"]:
        raise Unequal(f"promotion: {old['moved']['reason']} and {new['moved']['reason']}")


def _same_rule(old: dict[str, Any], new: dict[str, Any] | None) -> None:
    if new is None or new["decision"] != old["decision"]:
        raise Unequal(f"rule `{old['name']}`: {old['decision']} and {new and new['decision']}")
    if old["name"].startswith(MEASURED):
        return
    for number in ("value", "low", "high"):
        was, now = old[number], new[number]
        if (was is None) is not (now is None) or (was is not None and abs(was - now) > CLOSE):
            raise Unequal(f"rule `{old['name']}`: {number} {was} and {now}")


def rounds(
    count: int, sides: list[Side], folder: Path, files: list[Path], day: date, say: Any
) -> Iterator[dict[str, Any]]:
    """Each round's answers of both sides, which take turns at going first."""
    for number in range(count):
        found = {}
        for side in sides if number % 2 == 0 else sides[::-1]:
            found[side.name] = round_of(side, folder / f"history-{side.name}", files, day)
        same(found["old"], found["new"])
        verdict = found["new"]["verdict"]
        total = {name: _way(each["took"]) for name, each in found.items()}
        say(
            f"round {number + 1}, {day}: {verdict['decision']} in both, {total['old']:.1f} s and {total['new']:.1f} s"
        )
        yield found


def medians(found: list[dict[str, Any]], side: str) -> dict[str, Took]:
    """Each step's median over the rounds that promoted, and the median of their sums."""
    taken = [each[side]["took"] for each in found if "served" in each[side]["took"]]
    if not taken:
        raise SystemExit("no round's candidate was promoted; --day names another day")
    middle = {step: _median([each[step] for each in taken]) for step in taken[0]}
    way = [_sum([took for step, took in each.items() if step != AFTER]) for each in taken]
    whole = [_sum(list(each.values())) for each in taken]
    return middle | {"landed to served": _median(way), "the day's work": _median(whole)}


def _way(took: dict[str, Took]) -> float:
    """Seconds from landed files to the end of what is waited for."""
    return sum(each.wall for step, each in took.items() if step != AFTER)


def _median(of: list[Took]) -> Took:
    return Took(*(median(getattr(each, name) for each in of) for name in ("wall", "cpu", "peak")))


def _sum(of: list[Took]) -> Took:
    return Took(sum(t.wall for t in of), sum(t.cpu for t in of), max(t.peak for t in of))


NONE = Took(0.0, 0.0, 0.0)


def table(old: dict[str, Took], new: dict[str, Took], title: str) -> Table:
    shown = Table(title=title, title_justify="left")
    for name in ("", "old s", "new s", "old/new", "old cpu s", "new cpu s", "old/new", "old MB", "new MB"):
        shown.add_column(name, justify="right" if name else "left")
    for step, now in new.items():
        was = old.get(step, NONE)
        cells = [f"{was.wall:.2f}", f"{now.wall:.2f}", _ratio(was.wall, now.wall)]
        cells += [f"{was.cpu:.2f}", f"{now.cpu:.2f}", _ratio(was.cpu, now.cpu)]
        shown.add_row(step, *cells, f"{was.peak:,.0f}", f"{now.peak:,.0f}")
    return shown


def _ratio(was: float, now: float) -> str:
    return f"{was / now:.1f}x" if was and now else ""


def bare(side: Side, as_of: str, new: dict[str, Took]) -> dict[str, list[float]]:
    """What one warm process needs: ingestion and features as measured, and every other computation once."""
    (once,) = side.run("floor", {"step": "floor", "args": [MODEL, as_of]})
    steps = {step: [new[step].wall, new[step].cpu] for step in ("ingest", "features")}
    total = [sum(each[n] for each in (steps | once).values()) for n in (0, 1)]
    return steps | once | {"sum": total}


def compare(asked: argparse.Namespace, say: Any) -> dict[str, Any]:
    """Everything that is printed: per step old and new, and the floor."""
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    checkouts = {"old": worktree(PROJECT, asked.base, folder), "new": PROJECT}
    sides = [Side(name, checkout, folder / f"home-{name}") for name, checkout in checkouts.items()]
    day = asked.day
    try:
        files = landed(FIRST, LAST, True, folder / "files")
        quiet = landed(LAST + timedelta(days=1), day - timedelta(days=1), False, folder / "files")
        timed = [f for f in landed(day, day, False, folder / "files") if not datasets()[owner(f)].reference]
        for side in sides:
            say(f"{side.name}: January to March, the first champion, and the days until {day} ...")
            history(side, files, quiet, folder / f"history-{side.name}", asked.reuse)
        found = list(rounds(asked.rounds, sides, folder, timed, day, say))
        old, new = (medians(found, name) for name in ("old", "new"))
        kept = {side.name: median(each[side.name]["kept"] for each in found) for side in sides}
        promoted = sum("served" in each["new"]["took"] for each in found)
        return {
            "old": old,
            "new": new,
            "kept": kept,
            "floor": bare(sides[1], found[-1]["new"]["as_of"], new),
            "rounds": len(found),
            "promoted": promoted,
        }
    finally:
        for side in sides:
            side.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default=BASE, help="the commit that is compared with this checkout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--day", type=date.fromisoformat, default=DAY, help="the day that is timed")
    parser.add_argument("--folder", type=Path, default=PROJECT / "var" / "bench-loop")
    parser.add_argument(
        "--reuse", action="store_true", help="begin from the first champions of an earlier run"
    )
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs beside us is ended
    console = Console(width=120, stderr=asked.json)
    try:
        found = compare(asked, console.print)
    except Unequal as error:
        console.print(f"THE SIDES DIFFER. {error}", markup=False)
        sys.exit(1)
    if asked.json:
        print(json.dumps(found, default=vars, indent=2))
        return
    counted = f"{found['promoted']} of {found['rounds']} rounds, those that promoted"
    title = f"a day's files landed to the new champion served, median of {counted}, by turns"
    console.print(table(found["old"], found["new"], title))
    kept = " and ".join(f"{size:,.0f} MB ({name})" for name, size in found["kept"].items())
    console.print(f"What tasks leave running for the next one: {kept}.", highlight=False)
    console.print("Equal training sets, byte for byte, and equal verdicts in every round.")
    least = "\n".join(
        f"  {name:24} {wall:6.2f} s {cpu:6.2f} cpu s" for name, (wall, cpu) in found["floor"].items()
    )
    console.print(f"One warm process needs at least:\n{least}", markup=False)


if __name__ == "__main__":
    main()
