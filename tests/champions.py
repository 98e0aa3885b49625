"""A deployment with a champion, made once per test run; tests work on copies."""

import json
from pathlib import Path

import pytest

from pipelines.prove.promotion.world import World, built, tiny
from pipelines.stores import Stores
from pipelines.stores.audit.log import Entry
from tests.once import copied_home, once

FACTS = "world.json"


def crowned(factory: pytest.TempPathFactory) -> World:
    """1 and 2 passed, each against the other; 2 is champion, 3 was overridden once, 4 failed, 5 is unjudged."""
    home = once(factory, "champions", lambda home: (home / FACTS).write_text(_facts(built(home))))
    facts = json.loads((home / FACTS).read_text())
    allowed = {int(number): digest for number, digest in facts["allowed"].items()}
    return World(home, tiny(), allowed, tuple(facts["refused"]))


def _facts(world: World) -> str:
    return json.dumps({"allowed": world.allowed, "refused": world.refused})


def copied(world: World, to: Path) -> World:
    """A copy to work on; model files that are not there yet are fetched from the first home."""
    copied_home(world.home, to)
    return World(to, world.spec, world.allowed, world.refused)


def entries(world: World, stores: Stores) -> list[Entry]:
    """What the audit log says of the champion."""
    return stores.audit.entries(f"champion:{world.spec.name}")
