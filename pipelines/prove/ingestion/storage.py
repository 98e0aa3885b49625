"""A disk that reports errors or is full: nothing is silently accepted, and the next run recovers.

Each system call of a day's ingestion that changes the disk fails once with EIO, and with ENOSPC where
it takes space; each that opens or reads a landed file fails once with EIO; and a real file system of
20 MB runs full at many places. A run that met a fault must end exactly as if there had been none, or
say that it failed, in a way that is retried; the next run must leave what a clean run leaves.
"""

import errno
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from pipelines.contracts import EvergreenError, Say
from pipelines.prove import Proof
from pipelines.prove.exports import Export, Exporter
from pipelines.prove.forks import Home, Work, ingest_all
from pipelines.prove.ingestion import clean_run, landed, scratch, settle, spread
from pipelines.prove.ingestion.disks import SMALL, small_disk_run
from pipelines.prove.ingestion.homes import State, audit, differences, state, unsafe
from pipelines.prove.ingestion.syscalls import Call, Fault, Run, supervised

PROMISE = "a full disk or one that reports errors is never silently accepted, and the next run recovers"
ALLOCATING = {
    "write", "writev", "pwrite64", "pwritev", "sendfile", "copy_file_range", "ftruncate", "fallocate",
    "open", "openat", "mkdir", "mkdirat", "rename", "renameat", "renameat2", "link", "linkat", "fsync",
}  # fmt: skip
"""Calls that may find the disk full; fsync where space is taken late."""
LEVELS = 40
"""At how many levels of free space the small disk runs full, unless fewer are asked for."""


@dataclass
class Trial:
    """One fault, what the run said to it, and what was wrong then or after the next run."""

    fault: str
    where: str
    hit: bool
    said: bool
    waited: bool = False
    """Whether files stayed in the landing folder for the next run."""
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Day:
    """The files that land in each trial, and what a clean run makes of them."""

    files: list[Export]
    clean: State
    work: Work


def prove(points: int | None, say: Say, work: Work = ingest_all) -> Proof:
    """Breaks so many calls of each kind of fault (all if None), one in each run, and fills a disk."""
    files = list(islice(Exporter(0).files(), 4))
    with scratch() as folder:
        clean, writes = clean_run(folder, files, work)
        day = Day(files, clean, work)
        reads = supervised(work, landed(folder / "reads", files), reads=True).calls
        trials = _broken_calls(folder, day, writes, reads, points, say)
        trials += _full_disks(folder, day, points, say)
    rows = [_row(fault, trials) for fault in dict.fromkeys(trial.fault for trial in trials)]
    failures = [f"{t.fault} at {t.where}: {text}" for t in trials for text in t.failures]
    return Proof(PROMISE, rows, [*failures, *(_idle(row) for row in rows if not row["hit"])])


def _row(fault: str, trials: list[Trial]) -> dict[str, Any]:
    mine = [trial for trial in trials if trial.fault == fault]
    return {
        "fault": fault,
        "runs": len(mine),
        "hit": sum(trial.hit for trial in mine),
        "reported": sum(trial.said for trial in mine),
        "left for later": sum(trial.waited and not trial.said for trial in mine),
        "without effect": sum(trial.hit and not trial.said and not trial.waited for trial in mine),
        "broken": sum(bool(trial.failures) for trial in mine),
    }


def _idle(row: dict[str, Any]) -> str:
    return f"{row['fault']}: no run met it, so nothing is proven"


def _broken_calls(
    folder: Path, day: Day, writes: list[Call], reads: list[Call], points: int | None, say: Say
) -> list[Trial]:
    """One run per fault and chosen call, two at a time."""
    taking = [at for at, call in enumerate(writes) if call.name in ALLOCATING]
    plan = [("EIO on a change", Fault(at, errno.EIO), False) for at in spread(points, len(writes))]
    plan += [("ENOSPC", Fault(taking[i], errno.ENOSPC), False) for i in spread(points, len(taking))]
    plan += [("EIO on a landed file", Fault(at, errno.EIO), True) for at in spread(points, len(reads))]
    say(f"{len(writes)} calls change the disk and {len(reads)} read landed files; breaking {len(plan)}")

    def attempt(number: int) -> Trial:
        name, fault, reading = plan[number]
        return break_at(folder / f"trial{number}", day, name, fault, reading)

    with ThreadPoolExecutor(2) as pool:
        return list(_told(pool.map(attempt, range(len(plan))), len(plan), say))


def _told(trials: Iterable[Trial], count: int, say: Say) -> Iterable[Trial]:
    for number, trial in enumerate(trials, 1):
        if number % 25 == 0:
            say(f"{number} of {count} faults tried")
        yield trial


def break_at(folder: Path, day: Day, name: str, fault: Fault, reading: bool) -> Trial:
    """Breaks one call of a run, then runs again in peace."""
    home = landed(folder, day.files)
    run = supervised(day.work, home, fault, reading)
    call = run.calls[fault.at] if run.hit else Call("nothing", "")
    waiting = [file for file in day.files if (home.landing / file.name).exists()]
    trial = Trial(name, f"{call.name} {call.path}", run.hit, run.end != "done", bool(waiting))
    lying = unsafe(run.calls[: fault.at] + run.calls[fault.at + 1 :], home) if run.end == "done" else []
    trial.failures += [f"nobody complained, yet {text}" for text in lying if not reading]
    trial.failures += (
        _answer(run)
        + _then(home, day, trial.said, waiting)
        + _after(home, day, waiting if run.end == "done" else [])
    )
    shutil.rmtree(folder, ignore_errors=True)
    return trial


def _answer(run: Run) -> list[str]:
    """What is wrong with how a run ended: it must not hang, die, or say that no retry can help."""
    if run.end in ("died", "hung"):
        return [f"the run {run.end}"]
    if "EvergreenError" in run.kinds and "TransientError" not in run.kinds:
        return [f"it is taken for a mistake and never retried: {run.kinds[0]}: {run.said}"]
    return []


def _then(home: Home, day: Day, said: bool, waiting: list[Export]) -> list[str]:
    """What is wrong before the next run: what the ledger ended is whole, and so is all that left the landing folder."""
    if said:
        return [f"after the fault: {text}" for text in audit(day.files, home, ended=False)]
    gone = [file for file in day.files if file not in waiting]
    found = [*audit(gone, home)] if waiting else differences(state(home), day.clean)
    return [f"nobody complained, yet {text}" for text in found]


def _after(home: Home, day: Day, overtaken: list[Export]) -> list[str]:
    """What is wrong after the next run; with files that others overtook, other copies are superseded."""
    trouble = settle(day.work, home)
    found = [trouble] if trouble else []
    found += audit(day.files, home)
    found += differences(state(home), day.clean) if not overtaken else []
    return [f"after the next run: {text}" for text in found]


def _full_disks(folder: Path, day: Day, points: int | None, say: Say) -> list[Trial]:
    """Runs with ever more space free, from none to as much as the day takes."""
    try:
        used = small_disk_run(day.work, landed(folder / "roomy", day.files), day.files, SMALL).used
    except EvergreenError as error:
        return [Trial("full disk", "all levels", hit=False, said=False, failures=[str(error)])]
    levels = [used * at // LEVELS for at in spread(points, LEVELS)]
    say(
        f"a day takes {used >> 10} KiB of a disk of {SMALL >> 20} MiB; running it full at {len(levels)} levels"
    )
    return [_filled(folder / f"level{level}", day, level) for level in levels]


def _filled(folder: Path, day: Day, free: int) -> Trial:
    """Runs a day on a disk with so many bytes free, and again when there is room."""
    run = small_disk_run(day.work, landed(folder, day.files), day.files, free)
    first, second = (differences(state, day.clean) for state in run.states)
    trial = Trial("full disk", f"{free} bytes free", run.said is not None, run.said is not None)
    trial.failures += [f"after the fault: {text}" for text in run.first]
    trial.failures += [f"nobody complained, yet {text}" for text in first if run.said is None]
    trial.failures += [f"after the next run: {text}" for text in [*run.second, *second]]
    shutil.rmtree(folder, ignore_errors=True)
    return trial
