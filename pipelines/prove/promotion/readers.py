"""Readers that look at the champion as serving does, and what they saw of it while others move it."""

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from pipelines.contracts import EvergreenError
from pipelines.prove.promotion.world import World
from pipelines.stores import Stores

READERS = 4
POLITE = 10
"""Readers leave the processors to the writers; so they are stopped in the middle of a read all the more often."""
TORN, NONE, UNGATED, BUSY = "torn", "without champion", "ungated", "busy"


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
    except (EvergreenError, DBAPIError) as error:
        if "locked" in str(error):
            seen.note(BUSY, "the database was locked for longer than a reader waits")
        elif isinstance(error, EvergreenError):
            seen.note(TORN, str(error))
        else:
            raise


def _seen_by(world: World, number: int) -> Path:
    return world.home / f"reader.{number}.json"


def _keep(seen: Seen, path: Path) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"reads": seen.reads, "wrong": seen.wrong, "examples": seen.examples}))
    part.replace(path)


def collected(world: World) -> Seen:
    """What all readers saw, as far as they have written it down."""
    found = Seen()
    for number in range(READERS):
        path = _seen_by(world, number)
        if path.exists():
            said = json.loads(path.read_text())
            found.reads += said["reads"]
            found.wrong.update(said["wrong"])
            found.examples += said["examples"]
    return found


def breaches(seen: Seen, reads: int) -> list[str]:
    """What readers must not have seen, in sentences, and whether they read too little."""
    found = [f"readers saw: {example}" for example in seen.examples if not example.startswith(BUSY)]
    found += [f"{seen.wrong[kind]} reads {kind}" for kind in (TORN, NONE, UNGATED) if seen.wrong[kind]]
    return found + ([f"{seen.reads} reads, {reads} were wanted"] if seen.reads < reads else [])
