"""What must hold of champion, aliases, licences and audit log once those who were killed have been cleaned up after."""

from datetime import UTC, datetime
from typing import Any

from pipelines.contracts import EvergreenError
from pipelines.promotion import champions
from pipelines.promotion.champions import INTEND, INTERRUPTED, MOVED
from pipelines.prove.promotion.world import World
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import ANCHOR, PREVIOUS


def settled(world: World) -> list[str]:
    """What is not in step after one more has had its turn in peace."""
    stores, name = world.stores, world.spec.name
    with champions.turn(name, stores, datetime.now(UTC)) as champion:
        pass
    entries = stores.audit.entries(champions.subject(name))
    found = [f"audit log: entry {f.number} {f.what}" for f in stores.audit.verify()]
    found += _told(entries)
    moves = [entry.evidence for entry in entries if entry.action in MOVED]
    if not moves or moves[-1]["champion"] != champion:
        found.append(f"the champion is {champion}, the log says {moves[-1]['champion'] if moves else None}")
    found += [
        f"alias {alias} names no version" for alias in (ANCHOR,) if stores.tracking.named(name, alias) is None
    ]
    if stores.tracking.named(name, PREVIOUS) == champion:
        found.append("a rollback would go to the champion itself")
    return found + _unlicensed(world, stores)


def _told(entries: list[Any]) -> list[str]:
    """Every intent has one outcome, and each move goes on where the one before ended."""
    found: list[str] = []
    now = waiting = None
    for entry in entries:
        said = entry.evidence
        if entry.action == INTEND:
            found += [f"entry {entry.number} begins before entry {waiting} ended"] if waiting else []
            waiting = entry.number
        elif entry.action in {*MOVED, INTERRUPTED}:
            found += [] if waiting else [f"entry {entry.number} is the outcome of nothing"]
            waiting = None
        if entry.action in MOVED:
            found += (
                []
                if said["previous"] == now
                else [f"entry {entry.number} replaced {said['previous']}, not {now}"]
            )
            now = said["champion"]
        elif entry.action not in {INTEND, INTERRUPTED}:
            found.append(f"entry {entry.number} is `{entry.action}`: {entry.why}")
    return found + ([f"entry {waiting} has no outcome"] if waiting else [])


def _unlicensed(world: World, stores: Stores) -> list[str]:
    found = []
    for version in stores.tracking.versions(world.spec.name):
        try:
            stores.tracking.licence(version)
            if version.version not in world.allowed:
                found.append(f"version {version.version} has a licence")
        except EvergreenError as error:
            found += [str(error)] if version.version in world.allowed else []
    return found
