"""Promotion: only the digest the gate passed, by one atomic write."""

from datetime import datetime

from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision, EvergreenError, Promotion
from pipelines.stages.gate import notary, record
from pipelines.stores import Stores
from pipelines.stores.licences import Licence, licensed
from pipelines.stores.locks import exclusive
from pipelines.stores.tracking import CHAMPION, PREVIOUS


def promote(spec: ModelSpec, version: int, stores: Stores, now: datetime) -> Promotion:
    """Make a version champion if its verdict is PASS and nothing changed since it was given."""
    with exclusive(f"champion-{spec.name}", stores.settings):
        champion = stores.tracking.champion(spec.name)
        reason = _refused(spec, version, stores, champion.version if champion else None)
        if reason is not None:
            return Promotion(spec.name, False, champion.version if champion else None, None, reason)
        return _move(spec, version, stores, now, champion.version if champion else None)


def _refused(spec: ModelSpec, version: int, stores: Stores, now: int | None) -> str | None:
    """Why a version does not become champion; None if it may."""
    if now == version:
        return f"version {now} is champion already; nothing to do"
    verdict = record.read(stores.tracking.version(spec.name, version), stores)
    if verdict.decision is not Decision.PASS:
        return f"version {version} is {verdict.decision.value}; the champion stays"
    if now != verdict.champion_version:
        return f"the champion is {now} now, the gate compared with {verdict.champion_version}; judge again"
    try:
        notary.attested(spec, version, stores)
    except EvergreenError as error:
        return str(error)
    return None


def _move(spec: ModelSpec, version: int, stores: Stores, now: datetime, before: int | None) -> Promotion:
    tags = stores.tracking.version(spec.name, version).tags
    licence = Licence(spec.name, version, tags["digest"], "PASS", tags[record.DIGEST], stores.who, now)
    stores.tracking.tag(spec.name, version, licensed(licence, stores.keys))
    if before is not None:
        stores.tracking.set_alias(spec.name, PREVIOUS, before)
    stores.tracking.set_alias(spec.name, CHAMPION, version)
    return Promotion(spec.name, True, version, before, "passed its gate")
