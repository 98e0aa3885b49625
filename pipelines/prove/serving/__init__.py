"""The real prediction API under load while champions move, the server is killed, and what it leans on goes away."""

import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.contracts import Say
from pipelines.promotion.rollback import rollback
from pipelines.prove import Proof
from pipelines.prove.promotion.world import World, built
from pipelines.prove.serving.backends import MLFLOW, NAMES, site
from pipelines.prove.serving.server import (
    CROWD,
    PATIENCE,
    Callers,
    Reply,
    Server,
    asked,
    peak,
    question,
    told,
)
from pipelines.prove.serving.wire import Wire
from pipelines.serving.outages import remembered, spool
from pipelines.serving.served import UNREAD
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import CHAMPION

PROMISE = (
    "no request fails while champions move or back ends are gone, each answer is one version's,"
    " and every answer that left is in the log"
)
ENOUGH = 10  # answers at least of each outage, and of each life of the server
Outage = Callable[[World], Any]


def prove(
    moves: int,
    kills: int,
    seconds: float,
    seed: int,
    say: Say,
    world: World | None = None,
    workers: int = 1,
    servers: Collection[str] = NAMES,
    load: float = 0.7,
) -> Proof:
    """So many rollbacks under load, so many kills of the server, and each outage for so many seconds.

    While champions move the server has so many processes, else one, and `load` is the share of the most that it
    answers which it is asked. Its back ends are the files of a home, and then these `servers`, as in production, where
    this machine has them.
    """
    with tempfile.TemporaryDirectory(prefix="evergreen-prove-") as folder:
        found = world or built(Path(folder) / "home")
        with _served(Server(found.home, workers=workers)) as crew:
            moved = _moved(found, crew, moves, load, say)
        server = Server(found.home)
        server.start()
        try:
            parts = [
                moved,
                _killed(found, server, kills, random.Random(seed), say),  # noqa: S311 - when to kill, no secret
                *_at_home(found, server, seconds, say),
            ]
        finally:
            server.stop()
        if servers:
            parts += _in_production(Path(folder) / "site", world, servers, seconds, say)
    failures = [failure for _, broken in parts for failure in broken]
    return Proof(PROMISE, [row for row, _ in parts], failures)


@contextmanager
def _served(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        if server.process is not None:
            server.stop()


Part = tuple[dict[str, Any], list[str]]


def _moved(world: World, server: Server, moves: int, load: float, say: Say) -> Part:
    """Champions 1 and 2 take turns; every answer must be exactly what one of them says when it alone is asked."""
    stores = world.stores
    _take_over(world, stores, server, 2)
    most = peak(server.port, min(5.0, moves / 4))
    say(f"{most:.0f} answers a second at most, {load * most:.0f} are asked for")
    callers, moved = Callers(server.port, CROWD, per_second=load * most), list[tuple[float, int]]()
    with callers.asking():
        for number in range(moves):
            to = 1 + number % 2
            moved.append((time.monotonic(), to))
            _take_over(world, stores, server, to)
            if number % 25 == 0:
                say(f"{number} of {moves} moves, {len(callers.replies):,} answers")
    questions, known = {reply.question for reply in callers.replies}, {}
    for version in (1, 2):
        _take_over(world, stores, server, version)
        known[version] = {n: asked(server.port, question(n)).body["probability"] for n in questions}
    wrong = [r for r in callers.replies if r.status == 200 and not _is_one_versions(r, known)]
    back = _back(callers.replies, moved)
    of = f", {server.workers} processes" if server.workers > 1 else ""
    what = f"{moves} moves of the champion, each served{of}, at {load:.0%} of {most:.0f}/s"
    row = _row(what, callers.replies, wrong=len(wrong) + len(back))
    said = _said(wrong, "are no version's own") + _said(back, "went back to the version before")
    return row, _failed("while champions moved", callers.replies) + said


def _back(replies: Sequence[Reply], moved: Sequence[tuple[float, int]]) -> list[Reply]:
    """Answers by the version before to questions asked once somebody had been answered by the new one."""
    found, ends = list[Reply](), [*(begun for begun, _ in moved[1:]), float("inf")]
    good = [reply for reply in replies if reply.status == 200]
    for (begun, to), end in zip(moved, ends, strict=True):
        some = [r for r in good if r.at - r.seconds >= begun and r.at < end]
        first = min((r.at for r in some if r.body["version"] == to), default=end)
        found += [r for r in some if r.at - r.seconds > first and r.body["version"] != to]
    return found


def _is_one_versions(reply: Reply, known: Mapping[int, Mapping[int, float]]) -> bool:
    version = reply.body["version"]
    return version in known and reply.body["probability"] == known[version][reply.question]


def _take_over(world: World, stores: Stores, server: Server, to: int) -> None:
    """Makes a version champion and waits until it answers."""
    if stores.tracking.named(world.spec.name, CHAMPION) != to:
        rollback(world.spec, stores, datetime.now(UTC), "to and fro, to prove something", to)
    _until(lambda: asked(server.port, question(0)).body.get("version") == to)


def _killed(world: World, server: Server, kills: int, chance: random.Random, say: Say) -> Part:
    """The server is killed at a random moment under load, and started again; what was told must be in the log."""
    replies: list[Reply] = []
    for number in range(kills):
        callers = Callers(server.port, pause=0.0)
        with callers.asking():
            time.sleep(chance.uniform(0.05, 0.5))
            _answered(callers)
            server.kill()
        replies += callers.replies
        server.start()
        if number % 10 == 0:
            say(f"{number} of {kills} kills, {len(replies):,} answers")
    lost = _not_logged(world, replies)
    row = _row(f"{kills} kills of the server", [r for r in replies if r.status], lost=len(lost))
    return row, _said(lost, "left and are not in the log")


def _at_home(world: World, server: Server, seconds: float, say: Say) -> list[Part]:
    """Each file of the home that stands for a back end is locked, gone or tells what is not so."""
    parts = [_without(world, server, name, outage(world), seconds, say) for name, outage in OUTAGES.items()]
    before = _begun_without(server, _away(world.home / "mlflow.db"))
    return [*parts, _without(world, server, f"the registry {GONE}", nullcontext(), seconds, say, before)]


def _in_production(
    folder: Path, world: World | None, servers: Collection[str], seconds: float, say: Say
) -> list[Part]:
    """Each server that this machine has hangs, is gone and talks nonsense; what it has not is named."""
    say(f"with {', '.join(servers)} as servers")
    with site(folder, servers, world) as found, _served(Server(found.world.home, told=found.told)) as server:
        parts = [
            _without(found.world, server, f"{name} {what}", outage(wire), seconds, say)
            for name, wire in found.wires.items()
            for what, outage in ENDS.items()
        ]
        if (wire := found.wires.get(MLFLOW)) is not None:
            before = _begun_without(server, wire.gone())
            parts.append(
                _without(found.world, server, f"{MLFLOW} {GONE}", nullcontext(), seconds, say, before)
            )
        return parts + [({"what": f"not tried: {why}"}, []) for why in found.missing]


def _without(
    world: World, server: Server, name: str, outage: Any, seconds: float, say: Say, before: Any = None
) -> Part:
    """Nobody is refused while something is gone, which is noticed; afterwards all that was answered is in the log.

    What is gone `before` was gone when the server was started.
    """
    callers = Callers(server.port)
    say(f"without: {name}")
    with before or nullcontext(), callers.asking(), outage:
        time.sleep(seconds)
        noticed = _until(lambda: _without_something(server, callers.replies))
        enough = _answered(callers)
    back = _until(lambda: not _without_something(server, [asked(server.port, question(0))]))
    lost = _not_logged(world, callers.replies)
    row = _row(f"{name}, {seconds:g} s", callers.replies, lost=len(lost))
    broken = [] if noticed else [f"{name}: nothing said so, and nothing is proved"]
    broken += [] if enough else [f"{name}: so few asked that nothing is proved"]
    broken += [] if back else [f"{name}: it was over, and serving went on to say so"]
    return row, broken + _failed(name, callers.replies) + _said(lost, f"left and are not in the log ({name})")


def _without_something(server: Server, replies: Sequence[Reply]) -> bool:
    """Whether some of these answers, or what serving tells of the model, say what it does without."""
    said = {warning for reply in replies for warning in reply.body.get("warnings", ())}
    return bool({remembered.NOTE, spool.NOTE, UNREAD} & said) or bool(told(server.port).get("last_error"))


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Somebody holds the database and lets nobody write or read."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA busy_timeout=60000")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextmanager
def _away(file: Path) -> Iterator[None]:
    """The file is somewhere else, and nothing new takes its place; a folder does."""
    hidden = file.with_suffix(".away")
    file.rename(hidden)
    file.mkdir()
    try:
        yield
    finally:
        file.rmdir()
        hidden.rename(file)


@contextmanager
def _begun_without(server: Server, outage: Any) -> Iterator[None]:
    """The server is started again while something is gone. One that has a file open would not miss it."""
    with outage:
        server.kill()
        server.start()
        yield


@contextmanager
def _lying(world: World) -> Iterator[None]:
    """The registry names a champion that no gate ever passed."""
    tracking = world.stores.tracking
    before = tracking.named(world.spec.name, CHAMPION)
    tracking.set_alias(world.spec.name, CHAMPION, world.refused[0])
    try:
        yield
    finally:
        tracking.set_alias(world.spec.name, CHAMPION, before or 2)


GONE = "is gone as it starts"
OUTAGES: dict[str, Outage] = {
    "the log's database hangs": lambda world: _locked(world.home / "evergreen.db"),
    "the registry hangs": lambda world: _locked(world.home / "mlflow.db"),
    "the registry lies": _lying,
}


ENDS: dict[str, Callable[[Wire], Any]] = {
    "hangs": Wire.hung,
    "is gone": Wire.gone,
    "talks nonsense": Wire.garbled,
}


def _until(condition: Callable[[], bool]) -> bool:
    """Whether it came to be so."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def _answered(callers: Callers) -> bool:
    """Whether they were answered often enough to prove something."""
    return _until(lambda: len(callers.replies) >= ENOUGH)


def _not_logged(world: World, replies: Sequence[Reply]) -> list[Reply]:
    """Answers that left and that the log does not have, once what waited on the disk has come to it."""
    left = {r.body["prediction_id"]: r for r in replies if r.status == 200}
    _until(lambda: not list((world.home / "serving" / "answers").glob("*.jsonl")))
    log = world.stores.predictions
    return [reply for name, reply in left.items() if log.get(name) is None]


def _failed(when: str, replies: Sequence[Reply]) -> list[str]:
    failed = [reply for reply in replies if reply.status != 200]
    if not replies:
        return [f"nobody asked anything {when}"]
    return [f"{len(failed)} requests failed {when}: {failed[0].status} {failed[0].body}"] if failed else []


def _said(wrong: Sequence[Reply], what: str) -> list[str]:
    return [f"{len(wrong)} answers {what}, such as {wrong[0].body}"] if wrong else []


def _row(what: str, replies: Sequence[Reply], **more: Any) -> dict[str, Any]:
    times = sorted(reply.seconds for reply in replies) or [0.0]
    return {
        "what": what,
        "asked": len(replies),
        "failed": sum(reply.status != 200 for reply in replies),
        "p50 ms": round(times[len(times) // 2] * 1000),
        "p99 ms": round(times[int(len(times) * 0.99)] * 1000),
        "worst ms": round(times[-1] * 1000),
        "wrong": more.get("wrong", ""),
        "lost": more.get("lost", ""),
    }
