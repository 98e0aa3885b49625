"""Promotion, rollback and override killed anywhere, while readers look: always one champion, whole and licensed.

Two writers at a time promote, roll back, override and pin on a real MLflow, and are killed at random moments; the next
one settles what they left. Readers do what serving does: ask for the champion, verify its licence, hash its file.
"""

import os
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from pipelines.catalog import REFERENCE
from pipelines.contracts import EvergreenError, Say
from pipelines.promotion import champions
from pipelines.promotion.champions import INTEND
from pipelines.prove import Proof
from pipelines.prove.forks import LEAKS
from pipelines.prove.ingestion import scratch
from pipelines.prove.promotion.ends import settled
from pipelines.prove.promotion.readers import (
    BUSY,
    NONE,
    READERS,
    TORN,
    UNGATED,
    Seen,
    breaches,
    collected,
    read,
)
from pipelines.prove.promotion.world import World, built
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import CHAMPION

PROMISE = "whoever is killed while the champion moves, readers see one champion, whole, licensed and judged"
WRITERS = 2
ROLLBACKS = 50
"""So many are timed in peace, but with the readers reading."""
LONGEST = 4.0
"""A writer is killed within about so many times what a rollback usually takes."""
AIMED, SOON = 0.5, 5.0
"""The share of writers that are killed once they intend a move, and for how many seconds that is waited for."""
MOVING = 0.1
"""The share of a rollback that lies between intending the move and telling what became of it."""
AFTER = 100
"""So many reads at least follow the last kill: what it left is seen."""
PATIENCE = 600
HEAVY = ("mlflow.tracking", "sklearn.ensemble", "skops.io", "cryptography.hazmat.primitives.asymmetric.ed25519",
         "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store",
         "pipelines.prove.promotion.world", f"pipelines.models.{REFERENCE}.estimator")  # fmt: skip
CONTEXT = get_context("forkserver")
Work = Callable[[World, int], None]
"""One writer's life; it must be importable by name."""


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
        _until(world, max(reads, collected(world).reads + AFTER), say)
        (world.home / "stop").touch()
        for reader in readers:
            reader.join(PATIENCE)
        seen = collected(world)
        failures = [*settled(world), *breaches(seen, reads), *_gone(readers)]
    return Proof(PROMISE, [_row(tally, seen, times)], failures)


def write(world: World, number: int) -> None:
    """One writer's life: it moves the champion in every way there is, until it is killed."""
    rng = random.Random(number)  # noqa: S311 - it plays, it keeps no secret
    stores = replace(world.stores, who=named(number))
    champions.tenures(world.spec.name, stores)  # opens what is opened once: few should die before they begin
    stores.tracking.named(world.spec.name, CHAMPION)
    (world.home / f"ready.{number}").touch()
    while True:
        act = rng.choices(ACTS, WEIGHTS)[0]
        try:
            act(world, stores, rng)
        except EvergreenError:
            continue  # refused, as many must be: nothing to roll back to, champion already


def _promote(world: World, stores: Stores, rng: random.Random) -> None:
    from pipelines.promotion.promote import promote

    promote(world.spec, rng.choice([1, 1, 2, 2, *world.refused]), stores, datetime.now(UTC))


def _override(world: World, stores: Stores, rng: random.Random) -> None:
    from pipelines.promotion.promote import override

    override(world.spec, max(world.allowed), stores, datetime.now(UTC), "to see what becomes of it")


def _roll_back(world: World, stores: Stores, rng: random.Random) -> None:
    from pipelines.promotion.rollback import rollback

    to = rng.choice([None, *world.allowed, *world.allowed, *world.refused])
    rollback(world.spec, stores, datetime.now(UTC), "to see what becomes of it", to)


def _pin(world: World, stores: Stores, rng: random.Random) -> None:
    from pipelines.promotion.rollback import pin

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
        longest = LONGEST * usual / WRITERS
        if rng.random() < AIMED:
            _intends(stores, world, mine, writer)
            longest = MOVING * usual
        writer.join(rng.uniform(0, longest))
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
    from pipelines.promotion.rollback import rollback

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
    while (done := collected(world).reads) < reads and time.monotonic() < end:
        say(f"{done} of {reads} reads")
        time.sleep(min(5.0, 0.5 + (reads - done) / 1000))


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
