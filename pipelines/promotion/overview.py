"""Where a model's versions stand: who is champion, what a rollback goes to, and who let whom pass."""

from typing import Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError, as_json
from pipelines.gate.record import VERDICT
from pipelines.promotion import champions
from pipelines.promotion.promote import OVERRIDDEN
from pipelines.promotion.rollback import possible
from pipelines.stores import Stores
from pipelines.stores.audit.licences import LICENCE
from pipelines.stores.tracking.registry import ANCHOR, CHAMPION, PREVIOUS, RETIRED, Version

ALIASES = (CHAMPION, PREVIOUS, ANCHOR)


def overview(spec: ModelSpec, stores: Stores, newest: int = 20) -> dict[str, Any]:
    """Aliases, the tenure of now, the newest versions and those with an alias, and whether one can roll back."""
    named = {alias: stores.tracking.named(spec.name, alias) for alias in ALIASES}
    there = stores.tracking.versions(spec.name)
    shown = [v for place, v in enumerate(there) if place < newest or v.version in named.values()]
    tenures = champions.tenures(spec.name, stores)
    return {
        "model": spec.name,
        **named,
        "tenure": as_json(tenures[-1]) if tenures else None,
        "versions": [_version(version, named, stores) for version in shown],
        "rollback": _rollback(spec, named[PREVIOUS], there, stores),
    }


def overridden(version: Version, stores: Stores) -> dict[str, Any] | None:
    """Who let a version serve in spite of its gate, when and why; None if nobody did."""
    if LICENCE not in version.tags:
        return None
    try:
        licence = stores.tracking.licence(version)
    except EvergreenError as error:
        return {"by": "nobody this deployment knows", "why": str(error), "at": None}
    if licence.decision != OVERRIDDEN:
        return None
    return {"by": licence.by, "why": licence.why, "at": as_json(licence.at)}


def _version(version: Version, named: dict[str, int | None], stores: Stores) -> dict[str, Any]:
    return {
        "version": version.version,
        "as_of": as_json(version.as_of),
        "digest": version.digest,
        "verdict": version.tags.get(VERDICT),
        "aliases": [alias for alias, number in named.items() if number == version.version],
        "override": overridden(version, stores),
        "retired": version.tags.get(RETIRED),
    }


def _rollback(spec: ModelSpec, to: int | None, there: list[Version], stores: Stores) -> dict[str, Any]:
    """What a rollback goes to, and every reason why it cannot."""
    target = next((version for version in there if version.version == to), None)
    if target is None:
        return {"to": to, "obstacles": ["there is no previous champion; name a version"]}
    return {"to": to, "obstacles": possible(spec, target, stores)}
