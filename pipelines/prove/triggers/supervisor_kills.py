"""The supervisor of a live task is killed: the orphaned task and its retry work on one batch at once."""

import random
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.contracts import EvergreenError
from pipelines.prove.triggers.once import ENDED, Landed, Supply, breaches, committed, land, whole
from pipelines.prove.triggers.site import DATASETS, Process, Site, look, processes

TASK = re.compile(r"^airflow worker -- ([0-9a-f-]{36})$")
SUPERVISOR = "airflow worker -- LocalExecutor: {}"
TRIES = 4
"""Tasks that end before they are caught are let go; so often another file is tried."""


@dataclass(frozen=True)
class Hit:
    """One task whose supervisor was killed: how far it was, and what it and its retry did afterwards."""

    landed: tuple[Landed, ...]
    at_work: bool
    overlap: float
    ended_by: str


def kill_supervisors(site: Site, supply: Supply, kills: int, failures: list[str]) -> dict[str, Any]:
    """Hits `kills` tasks, as many at a time as there are datasets, and counts double effects.

    In parallel, for finding a dead supervisor takes Airflow a heartbeat time-out.
    """
    hits: list[Hit] = []
    seeds = iter(range(kills))
    with ThreadPoolExecutor(len(DATASETS)) as pool:
        while len(hits) < kills:
            datasets = DATASETS[: kills - len(hits)]
            files = {name: [supply.take(name) for _ in range(TRIES)] for name in datasets}
            futures = [pool.submit(_hit, site, name, files[name], next(seeds)) for name in datasets]
            try:
                hits += [future.result() for future in futures]
            except BaseException:
                site.closing = True
                raise
            site.say(f"{len(hits)} of {kills} supervisors killed")
    landed = [file for hit in hits for file in hit.landed]
    broken = breaches(site.stores, landed, "supervisor killed")
    failures += broken
    return _row(hits, landed, broken)


def _row(hits: list[Hit], landed: list[Landed], broken: list[str]) -> dict[str, Any]:
    overlapped = [hit.overlap for hit in hits if hit.overlap > 0]
    by_orphan = sum(hit.ended_by == "orphan" for hit in hits)
    return {
        "case": "supervisor of a live task killed",
        "tried": f"{len(hits)} kills, {sum(hit.at_work for hit in hits)} amid a batch; orphan and retry ran at once"
        f" {len(overlapped)} times, {sum(overlapped):.1f} s in all; the orphan ended the batch {by_orphan} times",
        "expected": f"{len(landed)} in silver once",
        "got": whole(landed, broken),
    }


def _hit(site: Site, dataset: str, files: list[Path], seed: int) -> Hit:
    """Kills the supervisor of a task amid its work, stops the task, and lets it go on beside its retry."""
    chance = random.Random(seed)  # noqa: S311 - chooses moments
    landed: list[Landed] = []
    for file in files:
        landed.append(land(file, dataset, site.settings.landing_path))
        task = _caught(site, dataset, landed[-1], chance.uniform(0, 0.3))
        if task is not None:
            break
    else:
        raise EvergreenError(f"no task of ingest_{dataset} was caught alive with {len(files)} files")
    at_work = not _ended(site, landed[-1])
    retry = _retry(site, dataset, task)
    _wait(site, chance.uniform(0, 0.4))
    task.signal(signal.SIGCONT)
    overlap = _overlap(site, task, retry)
    site.until(lambda: committed(site.stores, landed), 120, f"{landed[-1].name} is in")
    return Hit(tuple(landed), at_work, overlap, _by(site, landed[-1]))


def _caught(site: Site, dataset: str, file: Landed, delay: float) -> Process | None:
    """The task that works on the file, orphaned and stopped; None if it ended too soon."""
    while not _ended(site, file):
        task = _worker(site, dataset) if _known(site, file) else None
        _wait(site, delay if task else 0.01)
        if task is not None:
            return task if _orphaned(site, task) else None
    return None


def _worker(site: Site, dataset: str) -> Process | None:
    """The process of the task of a dataset's ingestion that Airflow counts as running."""
    ids = {task["id"] for task in site.airflow.working(f"ingest_{dataset}")}
    return next((process for process in _tasks(site) if _identity(process) in ids), None)


def _known(site: Site, file: Landed) -> bool:
    return site.stores.ledger.result(file.digest, file.dataset) is not None


def _ended(site: Site, file: Landed) -> bool:
    result = site.stores.ledger.result(file.digest, file.dataset)
    return result is not None and result.state.value in ENDED


def _by(site: Site, file: Landed) -> str:
    """Whose claim counts: the first is the orphan's, a later one outranked it."""
    result = site.stores.ledger.result(file.digest, file.dataset)
    return "orphan" if result is not None and result.attempt <= 1 else "retry"


def _tasks(site: Site) -> Iterator[Process]:
    return (process for process in processes(site.sessions) if TASK.match(process.title))


def _orphaned(site: Site, task: Process) -> bool:
    """Kills the process that supervises a task, known by pid and title, and stops the task; whether it lives.

    In this order: a stopped process group that loses its parent is ended by the kernel, with SIGHUP.
    """
    parent, title = look(task.parent), SUPERVISOR.format(_identity(task))
    if parent is None or parent.title != title or parent.session not in site.sessions:
        return False
    parent.signal(signal.SIGKILL)
    site.until(lambda: not parent.lives(), 5, "the supervisor is gone")
    return task.signal(signal.SIGSTOP) and task.lives()


def _identity(task: Process) -> str:
    found = TASK.match(task.title)
    return found[1] if found else ""


def _retry(site: Site, dataset: str, task: Process) -> Process:
    """The process of the same task's next try, once Airflow has started it."""
    found: list[Process] = []

    def begun() -> bool:
        worker = _worker(site, dataset)
        found.extend([worker] if worker and _identity(worker) != _identity(task) else [])
        return bool(found)

    site.until(begun, 120, f"Airflow starts the retry of ingest_{dataset}", every=0.03)
    return found[0]


def _overlap(site: Site, task: Process, retry: Process) -> float:
    """Seconds for which both ran; returns when both have ended."""
    begun, both = time.monotonic(), 0.0
    while task.lives() or retry.lives():
        if task.lives() and retry.lives():
            both = time.monotonic() - begun
        if time.monotonic() - begun > 120:
            raise EvergreenError(f"a task of {retry.title} does not end")
        _wait(site, 0.01)
    return both


def _wait(site: Site, seconds: float) -> None:
    if site.closing:
        raise EvergreenError("the proof was ended")
    time.sleep(seconds)
