"""Every landed line ends in exactly one place, whoever else writes and wherever a writer is killed.

First two writers at once on one home, killed at random moments while files keep landing; then one
writer killed at each of its system calls that change the disk (pipelines.prove.ingestion.syscalls says which).
What they leave is held against the landed bytes, judged by plain Python, and against a clean run.
"""

import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from pipelines.contracts import BatchState, EvergreenError, Say
from pipelines.prove import Proof
from pipelines.prove.exports import Export, Exporter
from pipelines.prove.forks import Home, Work, errors, fresh, ingest_all, start, write
from pipelines.prove.ingestion.homes import Breaches, State, audit, differences, state, unsafe
from pipelines.prove.ingestion.syscalls import LONGEST_RUN, Call, Fault, supervised
from pipelines.prove.object_store import Store, opened

PROMISE = "every landed line is in exactly one place, whoever else writes and wherever a writer is killed"
KILLS = 25
"""Per campaign, so that a table's log stays short."""
PACE = 1.2
"""A writer lives at most so many times as long as a file takes it: most die in the middle of one."""
WAITING = 3
"""Files that lie in the landing folder while writers are killed."""
SETTLING = 3
"""Runs after which nothing may be left to take in: a second one takes the second name of the same bytes."""


def prove(
    kills: int, points: int | None, seed: int, say: Say, work: Work = ingest_all, asked: str | None = None
) -> Proof:
    """Kills so many writers at random, and one at each system call (all if `points` is None; 0: none).

    With a store (`s3`, or an address) the writers are two machines that share it and its database; of system calls
    that change a disk their promise has none.
    """
    with scratch() as folder, opened(asked, folder) as store:
        row, failures = _at_random(folder, kills, seed, say, work, store)
        alone = store is None and points != 0
        rows, more = _at_each_call(folder, points, seed, say, work) if alone else ([], [])
    return Proof(PROMISE, [row, *rows], [*failures, *more])


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for homes on the disk, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="evergreen-prove-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


def settle(work: Work, home: Home) -> str | None:
    """Runs in peace until nothing is left to take in; why it did not come to that, if it did not."""
    for _ in range(SETTLING):
        writer = start(write, work, home)
        writer.join(LONGEST_RUN)
        if writer.exitcode != 0:
            writer.kill()
            noted = errors(home).read_text().splitlines() if errors(home).exists() else []
            return f"a run in peace ended with {writer.exitcode}: {noted[-1] if noted else 'no error noted'}"
        if not any(home.landing.glob("[!.]*")):
            return None
    return None


def _at_random(
    folder: Path, kills: int, seed: int, say: Say, work: Work, store: Store | None = None
) -> tuple[dict[str, Any], list[str]]:
    found, campaigns = Breaches(), list[Campaign]()
    done, stuck = 0, False
    while done < kills and not stuck:
        number = len(campaigns)
        shared = None if store is None else f"{store.address}/campaign{number}"
        known = store.environment if store else {}
        home = fresh(folder / f"campaign{number}", storage=shared, environment=known)
        campaign = Campaign(home, seed + number, work, store)
        found += campaign.run(min(KILLS, kills - done))
        campaigns.append(campaign)
        stuck, done = not campaign.kills, done + campaign.kills
        shutil.rmtree(campaign.home.folder.parent, ignore_errors=True)
        say(f"{done} of {kills} writers killed; {found}")
    files = [export for campaign in campaigns for export in campaign.exports]
    row = {
        "attack": "two machines on one store, killed at random" if store else "two writers, killed at random",
        **({} if store else {"calls": ""}),
        "kills": done,
        "holding a claim": sum(campaign.amid for campaign in campaigns),
        "homes": len(campaigns),
        **({"store killed": sum(campaign.outages for campaign in campaigns)} if store else {}),
        "files": len(files),
        "lines": sum(export.truth.lines for export in files),
    }
    return row | found.counts(), list(found)


@dataclass
class Campaign:
    """One home, two writers, files that keep landing, and somebody who kills the writers."""

    home: Home
    seed: int
    work: Work
    store: Store | None = None
    kills: int = 0
    amid: int = 0
    outages: int = 0

    def __post_init__(self) -> None:
        self.exports: list[Export] = []
        self._coming = Exporter(self.seed).files()
        self._rng = random.Random(self.seed)  # noqa: S311 - it plays, it keeps no secret

    def run(self, kills: int) -> Breaches:
        """Kills so many living writers, lets the last ones end in peace, and says what broke."""
        self._ledger = self.home.stores.ledger
        self._longest_wait = PACE * self._pace()
        self._land()
        homes = self.home.machines("ab" if self.store else ("", ""))
        writers = [start(write, self.work, home) for home in homes]
        while self.kills < kills and not errors(self.home).exists():
            chosen = self._rng.randrange(2)
            self._strike(writers[chosen])
            if self.store is not None and self.store.process is not None and self.kills == kills // 2:
                self._outage(self.store)
            self._land()
            writers[chosen] = start(write, self.work, homes[chosen])
        for writer in writers:
            writer.join(LONGEST_RUN)
        return self._verdict()

    def _pace(self) -> float:
        """Seconds one writer takes for one file, on this machine and under its load of now."""
        self.exports.append(next(self._coming))
        self.exports[-1].land(self.home.landing)
        start(int).join()  # the first one waits for the fork server
        begun = time.monotonic()
        writer = start(write, self.work, self.home)
        writer.join(LONGEST_RUN)
        return time.monotonic() - begun

    def _land(self) -> None:
        """Keeps enough files in the landing folder for both writers."""
        for _ in range(WAITING - len(list(self.home.landing.glob("[!.]*")))):
            self.exports.append(next(self._coming))
            self.exports[-1].land(self.home.landing)

    def _strike(self, writer: ForkServerProcess) -> None:
        """Kills a writer at a random moment, and counts it if it was still alive."""
        writer.join(self._rng.uniform(0, self._longest_wait))
        writer.kill()
        writer.join()
        if writer.exitcode == -signal.SIGKILL:
            self.kills += 1
            self.amid += self._held(writer)

    def _outage(self, store: Store) -> None:
        """Kills the store itself while a writer is at work, and starts it again."""
        store.kill()
        store.start()
        self.outages += 1

    def _held(self, writer: ForkServerProcess) -> bool:
        """Whether a writer died while it held the claim on a batch."""
        claimed = self._ledger.batches(state=BatchState.CLAIMED)
        steps = (self._ledger.history(batch.digest, batch.dataset)[-1] for batch in claimed)
        return any(f":{writer.pid}:" in step.who for step in steps)

    def _verdict(self) -> Breaches:
        trouble = settle(self.work, self.home)
        found = audit(self.exports, self.home)
        found.torn += [trouble] if trouble else []
        if errors(self.home).exists():
            found.torn += [f"a writer failed: {line}" for line in errors(self.home).read_text().splitlines()]
        return found


@dataclass(frozen=True)
class Trial:
    """One home whose only writer was killed at one call, and what was wrong after it ran again."""

    call: Call
    killed: bool
    found: Breaches
    unlike: list[str]
    unsafe: list[str]


def day(seed: int) -> list[Export]:
    """A day's files: good and bad rows of two datasets, a refused file, and old bytes under a new name."""
    files = list(islice(Exporter(seed).files(), 4))
    return [*files, Export(files[0].dataset, "flights_again.csv", files[0].content)]


def clean_run(folder: Path, files: list[Export], work: Work) -> tuple[State, list[Call]]:
    """What a run in peace leaves, and the calls it makes; an EvergreenError if it breaks the promise."""
    home = landed(folder / "clean", files)
    run = supervised(work, home)
    trouble = settle(work, home) or next(iter(audit(files, home)), None)
    if run.end != "done" or trouble:
        raise EvergreenError(f"ingestion fails without any fault ({run.said}, {trouble}); mend that first")
    return state(home), run.calls


def landed(folder: Path, files: list[Export], landing: Path | None = None) -> Home:
    """A new home with these files in its landing folder."""
    home = fresh(folder, landing)
    for export in files:
        export.land(home.landing)
    return home


def spread(points: int | None, count: int) -> list[int]:
    """So many numbers below `count`, evenly spread; every one if None."""
    wanted = count if points is None else min(points, count)
    return sorted({i * count // wanted for i in range(wanted)})


def _at_each_call(
    folder: Path, points: int | None, seed: int, say: Say, work: Work
) -> tuple[list[dict[str, Any]], list[str]]:
    files = day(seed)
    clean, calls = clean_run(folder, files, work)
    chosen = spread(points, len(calls))
    say(f"a day's ingestion makes {len(calls)} calls that change the disk; killing at {len(chosen)}")

    def attempt(at: int) -> Trial:
        return kill_at(folder / f"point{at}", files, clean, Fault(at), work)

    with ThreadPoolExecutor(2) as pool:
        trials = []
        for trial in pool.map(attempt, chosen):
            trials.append(trial)
            if len(trials) % 25 == 0:
                say(f"killed at {len(trials)} of {len(chosen)} calls")
    rows = [_row(name, count, trials) for name, count in Counter(call.name for call in calls).items()]
    return [row for row in rows if row["kills"]], [text for trial in trials for text in _breaches(trial)]


def kill_at(folder: Path, files: list[Export], clean: State, fault: Fault, work: Work) -> Trial:
    """Kills a lone writer at one call, runs it again, and compares with a run in peace."""
    home = landed(folder, files)
    first = supervised(work, home, fault)
    second = supervised(work, home)
    trouble = settle(work, home) or (
        f"the next run {second.end}: {second.said}" if second.end != "done" else None
    )
    found, unlike = audit(files, home), differences(state(home), clean)
    found.torn += [trouble] if trouble else []
    lying = unsafe(first.calls[:-1] + second.calls, home)
    shutil.rmtree(folder, ignore_errors=True)
    killed = first.hit and first.end == "died"
    return Trial(first.calls[-1], killed, found, unlike, lying)


def _row(name: str, calls: int, trials: list[Trial]) -> dict[str, Any]:
    mine = [trial for trial in trials if trial.call.name == name and trial.killed]
    found = sum((trial.found for trial in mine), Breaches())
    return {
        "attack": f"one writer, killed at {name}",
        "calls": calls,
        "kills": len(mine),
        **found.counts(),
        "unlike a clean run": sum(bool(trial.unlike) for trial in mine),
        "not on disk": sum(bool(trial.unsafe) for trial in mine),
    }


def _breaches(trial: Trial) -> list[str]:
    where = f"killed at {trial.call.name} {trial.call.path}"
    if not trial.killed:
        return [f"{where}: the writer outlived it"]
    return [f"{where}: {text}" for text in [*trial.found, *trial.unlike, *trial.unsafe]]
