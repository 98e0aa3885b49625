"""A deployment with a champion, made once per test session; tests work on copies."""

import shutil
from functools import lru_cache
from pathlib import Path

from pipelines.prove.promotion_world import World, built
from pipelines.stores import Stores
from pipelines.stores.audit import Entry


@lru_cache(maxsize=1)
def crowned(home: Path) -> World:
    """1 and 2 passed, each against the other; 2 is champion, 3 was overridden once, 4 failed, 5 is unjudged."""
    return built(home)


def copied(world: World, to: Path) -> World:
    """A copy to work on; model files that are not there yet are fetched from the first home."""
    shutil.copytree(world.home, to, dirs_exist_ok=True)
    return World(to, world.spec, world.allowed, world.refused)


def entries(world: World, stores: Stores) -> list[Entry]:
    """What the audit log says of the champion."""
    return stores.audit.entries(f"champion:{world.spec.name}")
