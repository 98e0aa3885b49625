"""Rollback: an earlier champion again, by one write, once it is sure that it can serve."""

from datetime import datetime

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError, Promotion
from pipelines.promotion import champions, feasibility
from pipelines.promotion.approval import said_by_a_person
from pipelines.promotion.champions import ROLLBACK, Move
from pipelines.stores import Stores
from pipelines.stores.audit.licences import Licence
from pipelines.stores.tracking.registry import ANCHOR, PREVIOUS, Version


def rollback(spec: ModelSpec, stores: Stores, now: datetime, reason: str, to: int | None = None) -> Promotion:
    """Make the previous champion, or the earlier one that is named, champion again; EvergreenError says why not.

    Afterwards `previous` names the champion before that one, so that a second rollback goes one further back.
    """
    why = said_by_a_person("roll back", reason, stores)
    with champions.turn(spec.name, stores, now) as champion:
        target = _target(spec, to, champion, stores)
        licence = _feasible(spec, target, stores)
        back = _back(spec, target.version, stores)
        wanted = Move(
            spec.name,
            ROLLBACK,
            target.version,
            champion,
            back,
            target.digest,
            licence.record,
            licence.decision,
        )
        champions.move(wanted, None, why, stores, now)
    return Promotion(spec.name, True, target.version, champion, f"rolled back: {why}")


def pin(spec: ModelSpec, version: int, stores: Stores, now: datetime, reason: str) -> None:
    """Make a version that may serve the anchor: the fixed star that candidates are held against."""
    why = said_by_a_person("pin", reason, stores)
    with champions.turn(spec.name, stores, now):
        found = stores.tracking.version(spec.name, version)
        feasibility.not_retired(found)
        stores.tracking.licence(found)
        champions.pin(spec.name, version, why, stores, now)


def possible(spec: ModelSpec, version: Version, stores: Stores) -> list[str]:
    """Every reason why one cannot roll back to a version; nothing if one can."""
    try:
        feasibility.not_retired(version)
        stores.tracking.licence(version)
    except EvergreenError as error:
        return [str(error)]
    return feasibility.obstacles(spec, version, stores)


def _target(spec: ModelSpec, to: int | None, champion: int | None, stores: Stores) -> Version:
    if to is None:
        to = stores.tracking.named(spec.name, PREVIOUS)
        if to is None:
            raise EvergreenError(
                f"{spec.name} has no previous champion{_deleted(spec, stores)}; name a version with "
                f"--to{_choice(spec, stores)}"
            )
    if to == champion:
        raise EvergreenError(
            f"version {to} is champion already; name another with --to{_choice(spec, stores)}"
        )
    return stores.tracking.version(spec.name, to)


def _choice(spec: ModelSpec, stores: Stores) -> str:
    """The versions that one can name, as the end of a sentence."""
    been = sorted({tenure.version for tenure in champions.tenures(spec.name, stores)})
    anchor, there = stores.tracking.named(spec.name, ANCHOR), stores.tracking.numbers(spec.name)
    said = f", such as the anchor, {anchor}" if anchor else ""
    told = [f"{number}" if number in there else f"{number} (deleted)" for number in been]
    return f"{said}; champions so far: {', '.join(told) or 'none'}"


def _deleted(spec: ModelSpec, stores: Stores) -> str:
    """The version that a rollback would go to, were it not deleted, as a part of a sentence."""
    number = champions.back(spec.name, stores)
    gone = number is not None and number not in stores.tracking.numbers(spec.name)
    return f" any more: version {number} was deleted in MLflow" if gone else ""


def _feasible(spec: ModelSpec, target: Version, stores: Stores) -> Licence:
    reasons = possible(spec, target, stores)
    if reasons:
        raise EvergreenError(
            f"cannot roll {spec.name} back to version {target.version}: {'; '.join(reasons)}. The champion stays"
        )
    return stores.tracking.licence(target)


def _back(spec: ModelSpec, version: int, stores: Stores) -> int | None:
    """Whom a rollback after this one goes to."""
    line = champions.cut(champions.line(spec.name, stores), version)
    there = stores.tracking.numbers(spec.name)
    return next((number for number in reversed(line[:-1]) if number in there), None)
