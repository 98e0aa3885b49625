"""Promotion, rollback and override killed anywhere, while readers look: always one champion, whole and licensed.

Two writers at a time promote, roll back, override and pin on a real MLflow, and are killed at random moments; the next
one settles what they left. Readers do what serving does: ask for the champion, verify its licence, hash its file.
"""

import json
import os
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from pipelines.contracts import EvergreenError
from pipelines.prove import Proof, Say
from pipelines.prove.forks import LEAKS
from pipelines.prove.ingestion import scratch
from pipelines.prove.promotion_ends import settled
from pipelines.prove.promotion_world import World, built
from pipelines.stages import champions
from pipelines.stages.champions import INTEND
from pipelines.stores import Stores
from pipelines.stores.tracking import CHAMPION

PROMISE = "whoever is killed while the champion moves, readers see one champion, whole, licensed and judged"
READERS, WRITERS = 4, 2
ROLLBACKS = 50
"""So many are timed in peace, but with the readers reading."""
LONGEST = 4.0
"""A writer is killed within about so many times what a rollback usually takes."""
AIMED, SOON = 0.5, 5.0
"""The share of writers that are killed once they intend a move, and for how many seconds that is waited for."""
POLITE = 10
"""Readers leave the processors to the writers; so they are stopped in the middle of a read all the more often."""
AFTER = 100
"""So many reads at least follow the last kill: what it left is seen."""
PATIENCE = 600
HEAVY = ("mlflow.tracking", "sklearn.ensemble", "skops.io", "cryptography.hazmat.primitives.asymmetric.ed25519",
         "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store",
         "pipelines.prove.promotion_world", "pipelines.models.flight_delays.estimator")  # fmt: skip
CONTEXT = get_context("forkserver")
TORN, NONE, UNGATED, BUSY = "torn", "without champion", "ungated", "busy"
Work = Callable[[World, int], None]
"""One writer's life; it must be importable by name."""


@dataclass
class Seen:
    """What readers saw: how many reads, and of what kind those were that must not be."""

    reads: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def note(self, kind: str, what: str) -> None:
        self.wrong[kind] += 1
        if len(self.examples) < 5:
            self.examples.append(f"{kind}: {what}")


def prove(
    kills: int,
    reads: int,
    seed: int,
    say: Say,
    work: "Work | None" = None,
    make: Callable[[Path], World] = built,
) -> Proof:
    """Kills so many writers, while four readers read at least so many times in all; `make` gives the deployment."""
    with scratch() as folder:
        say("making the deployment: five tiny versions, judged, promoted, overridden, rolled back")
        world = make(folder)
        readers = [start(read, world, number) for number in range(READERS)]
        times = _timed(world)
        say(
            f"rollback with readers: p50 {statistics.median(times) * 1000:.0f} ms, worst {max(times) * 1000:.0f} ms"
        )
        tally = _killed(world, kills, seed, statistics.median(times), say, work or write)
        _until(world, max(reads, _collected(world).reads + AFTER), say)
        (world.home / "stop").touch()
        for reader in readers:
            reader.join(PATIENCE)
        seen = _collected(world)
        failures = [*settled(world), *_breaches(seen, reads), *_gone(readers)]
    return Proof(PROMISE, [_row(tally, seen, times)], failures)


def read(world: World, number: int) -> None:
    """One reader's life: as serving does, until told to stop."""
    os.nice(POLITE)
    stores, seen = world.stores, Seen()
    stop, path = world.home / "stop", _seen_by(world, number)
    while not stop.exists():
        seen.reads += 1
        _look(world, stores, seen)
        if seen.reads % 50 == 0:
            _keep(seen, path)
    _keep(seen, path)


def _look(world: World, stores: Stores, seen: Seen) -> None:
    from mlflow.exceptions import MlflowException

    version = None
    try:
        version = stores.tracking.champion(world.spec.name)
        if version is None:
            return seen.note(NONE, "the alias names no version")
        if version.version not in world.allowed:
            return seen.note(UNGATED, f"version {version.version}")
        licence = stores.tracking.licence(version)
        stores.tracking.file(version)  # its digest is verified
        if not licence.digest == version.digest == world.allowed[version.version]:
            seen.note(TORN, f"version {version.version} with digest {version.digest}")
    except EvergreenError as error:
        seen.note(TORN, str(error))
    except MlflowException as error:
        if "locked" not in str(error):
            raise
        seen.note(BUSY, "the database was locked for longer than MLflow waits")


def write(world: World, number: int) -> None:
    """One writer's life: it moves the champion in every way there is, until it is killed."""
    rng = random.Random(number)  # noqa: S311 - it plays, it keeps no secret
    stores = replace(world.stores, who=named(number))
    champions.reigns(world.spec.name, stores)  # opens what is opened once: few should die before they begin
    stores.tracking.named(world.spec.name, CHAMPION)
    (world.home / f"ready.{number}").touch()
    while True:
        act = rng.choices(ACTS, WEIGHTS)[0]
        try:
            act(world, stores, rng)
        except EvergreenError:
            continue  # refused, as many must be: nothing to roll back to, champion already


def _promote(world: World, stores: Stores, rng: random.Random) -> None:
    from pipelines.stages.promote import promote

    promote(world.spec, rng.choice([1, 1, 2, 2, *world.refused]), stores, datetime.now(UTC))


def _override(world: World, stores: Stores, rng: random.Random) -> None:
    from pipelines.stages.promote import override

    override(world.spec, max(world.allowed), stores, datetime.now(UTC), "to see what becomes of it")


def _roll_back(world: World, stores: Stores, rng: random.Random) -> None:
    from pipelines.stages.rollback import rollback

    to = rng.choice([None, *world.allowed, *world.allowed, *world.refused])
    rollback(world.spec, stores, datetime.now(UTC), "to see what becomes of it", to)


def _pin(world: World, stores: Stores, rng: random.Random) -> None:
    from pipelines.stages.rollback import pin

    pin(world.spec, rng.choice([*world.allowed]), stores, datetime.now(UTC), "to see what becomes of it")


ACTS, WEIGHTS = (_promote, _override, _roll_back, _pin), (3, 2, 6, 1)


def _killed(world: World, kills: int, seed: int, usual: float, say: Say, work: Work) -> Counter[str]:
    """So many writers, each killed at a random moment of its work."""
    rng, tally, number = random.Random(seed), Counter[str](), seed  # noqa: S311 - as above
    stores, begun = world.stores, time.monotonic()
    writers: list[tuple[ForkServerProcess, int]] = []
    while tally["kills"] < kills:
        while len(writers) < WRITERS:
            number += 1
            writers.append((start(_quietly, work, world, number), number))
        writer, mine = writers.pop(0)
        if not _ready(world, mine, writer):
            raise EvergreenError(
                f"writer {mine} ended with {writer.exitcode} before it was killed: {_noted(world)}"
            )
        if rng.random() < AIMED:
            _intends(stores, world, mine, writer)
        writer.join(rng.uniform(0, LONGEST * usual / WRITERS))
        writer.kill()
        writer.join()
        tally["kills"] += writer.exitcode == -signal.SIGKILL
        tally["amid a move"] += _amid(stores, world, mine)
        if tally["kills"] % 100 == 0:
            say(f"{tally['kills']} of {kills} writers killed in {time.monotonic() - begun:.0f} s")
    for writer, _ in writers:
        writer.kill()
        writer.join()
    return tally


def _amid(stores: Stores, world: World, number: int) -> bool:
    """Whether the newest thing said of the champion is that this writer intends to move it."""
    newest = stores.audit.entries(champions.subject(world.spec.name), limit=1)[-1]
    return newest.action == INTEND and newest.who == named(number)


def _intends(stores: Stores, world: World, number: int, writer: ForkServerProcess) -> None:
    """Wait until a writer intends a move, but not for ever: others may be faster each time."""
    end = time.monotonic() + SOON
    while not _amid(stores, world, number) and writer.exitcode is None and time.monotonic() < end:
        writer.join(0.002)


def named(number: int) -> str:
    """In whose name a writer acts."""
    return f"prove: writer {number}"


def _quietly(work: Work, world: World, number: int) -> None:
    """A writer whose words and leavings stay in the home; what it did not survive is noted there."""
    import logging
    import tempfile

    logging.disable(logging.CRITICAL)
    folder = world.home / "temporary"
    folder.mkdir(exist_ok=True)
    tempfile.tempdir = str(folder)
    try:
        work(world, number)
    except Exception as error:
        (world.home / "errors.txt").open("a").write(
            f"{type(error).__name__}: {error}"[:500].replace("\n", " ") + "\n"
        )
        raise SystemExit(1) from None


def _noted(world: World) -> str:
    path = world.home / "errors.txt"
    return path.read_text().splitlines()[-1] if path.exists() else "no error noted"


def _ready(world: World, number: int, writer: ForkServerProcess) -> bool:
    """Wait until a writer is at work; whether it came to that."""
    mark, end = world.home / f"ready.{number}", time.monotonic() + PATIENCE
    while not mark.exists():
        if writer.exitcode is not None or time.monotonic() > end:
            return False
        writer.join(0.002)
    mark.unlink()
    return True


def start(target: Callable[..., object], *arguments: Any) -> ForkServerProcess:
    """A new process that runs the function, forked from one that has imported what it needs; it dies with this one."""
    import sys

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if LEAKS not in sys.warnoptions:
        sys.warnoptions.append(LEAKS)
    CONTEXT.set_forkserver_preload([*HEAVY])
    process = CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def _timed(world: World) -> list[float]:
    """How long rollbacks take in a process that is at work already, to and fro."""
    from pipelines.stages.rollback import rollback

    stores, found = world.stores, []
    for number in range(ROLLBACKS + 1):
        champion = stores.tracking.named(world.spec.name, CHAMPION)
        to = 2 if champion == 1 else 1
        begun = time.monotonic()
        rollback(world.spec, stores, datetime.now(UTC), f"timed, number {number}", to)
        found.append(time.monotonic() - begun)
    return found[1:]  # the first one opens connections


def _until(world: World, reads: int, say: Say) -> None:
    """Wait until the readers have read that much."""
    end = time.monotonic() + PATIENCE
    while (done := _collected(world).reads) < reads and time.monotonic() < end:
        say(f"{done} of {reads} reads")
        time.sleep(min(5.0, 0.5 + (reads - done) / 1000))


def _seen_by(world: World, number: int) -> Path:
    return world.home / f"reader.{number}.json"


def _keep(seen: Seen, path: Path) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"reads": seen.reads, "wrong": seen.wrong, "examples": seen.examples}))
    part.replace(path)


def _collected(world: World) -> Seen:
    found = Seen()
    for number in range(READERS):
        path = _seen_by(world, number)
        if path.exists():
            said = json.loads(path.read_text())
            found.reads += said["reads"]
            found.wrong.update(said["wrong"])
            found.examples += said["examples"]
    return found


def _breaches(seen: Seen, reads: int) -> list[str]:
    found = [f"readers saw: {example}" for example in seen.examples if not example.startswith(BUSY)]
    found += [f"{seen.wrong[kind]} reads {kind}" for kind in (TORN, NONE, UNGATED) if seen.wrong[kind]]
    return found + ([f"{seen.reads} reads, {reads} were wanted"] if seen.reads < reads else [])


def _gone(readers: list[ForkServerProcess]) -> list[str]:
    return [f"reader {n} ended with {r.exitcode}" for n, r in enumerate(readers) if r.exitcode != 0]


def _row(tally: Counter[str], seen: Seen, times: list[float]) -> dict[str, Any]:
    return {
        "kills": tally["kills"],
        "amid a move": tally["amid a move"],
        "reads": seen.reads,
        TORN: seen.wrong[TORN],
        NONE: seen.wrong[NONE],
        UNGATED: seen.wrong[UNGATED],
        BUSY: seen.wrong[BUSY],
        "rollback p50 ms": round(statistics.median(times) * 1000),
        "rollback worst ms": round(max(times) * 1000),
    }
