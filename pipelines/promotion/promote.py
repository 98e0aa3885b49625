"""Promotion: only the digest the gate passed, or a person took upon themselves, by one atomic write."""

from datetime import datetime

from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision, EvergreenError, Promotion, Verdict
from pipelines.gate import notary, record
from pipelines.promotion import approval, champions, feasibility
from pipelines.promotion.champions import PROMOTE, Move
from pipelines.stores import Stores
from pipelines.stores.audit.licences import Licence, verify_origin
from pipelines.stores.tracking.registry import CHAMPION, Version

PASSED, OVERRIDDEN = "PASS", "OVERRIDE"
OVERRIDE = "override"
SERVES = "serves"
"""How the rules begin that ask a model in the serving binary; no person can wish them away."""


def promote(
    spec: ModelSpec, version: int, stores: Stores, now: datetime, begun: datetime | None = None
) -> Promotion:
    """Make a version champion if its verdict is PASS and nothing changed since it was given.

    The notary looks before the champion is held: a rollback never waits for it. Of one that was rolled out the verdict
    had to be young when that was `begun`.
    """
    found = _there(spec, version, stores)
    reason = refused(spec, found, stores, begun or now)
    with champions.turn(spec.name, stores, now) as champion:
        if champion == version:
            reason = f"version {version} is champion already; nothing to do"
        elif reason is None:
            reason = changed(found, champion, stores)
        if reason is not None:
            return Promotion(spec.name, False, champion, None, reason)
        return _crown(spec, found, PASSED, "passed its gate", "", champion, stores, now)


def override(spec: ModelSpec, version: int, stores: Stores, now: datetime, reason: str) -> Promotion:
    """Make a version champion in spite of its verdict: a person's decision, with a reason, for everyone to see.

    It skips neither digest nor signature, and what cannot be served is not served.
    """
    why, found = approval.said_by_a_person("override", reason, stores), _there(spec, version, stores)
    verdict = record.read(found, stores)
    _must_serve(spec, found, verdict, stores)
    with champions.turn(spec.name, stores, now) as champion:
        if champion == version:
            raise EvergreenError(f"version {version} is champion already; there is nothing to override")
        if _judged(found) != _judged(_there(spec, version, stores)):
            raise EvergreenError(
                f"version {version} was judged again meanwhile; read its record and decide again"
            )
        said = {
            "digest": found.digest,
            "record": found.tags[record.DIGEST],
            "decision": verdict.decision.value,
        }
        stores.audit.append(now, stores.who, OVERRIDE, f"model:{spec.name}@{version}", why, said)
        return _crown(spec, found, OVERRIDDEN, f"overridden: {why}", why, champion, stores, now)


def _crown(
    spec: ModelSpec,
    found: Version,
    decision: str,
    reason: str,
    why: str,
    champion: int | None,
    stores: Stores,
    now: datetime,
) -> Promotion:
    """Move the champion, within its turn, with the licence to serve."""
    judged = found.tags[record.DIGEST]
    licence = Licence(spec.name, found.version, found.digest, decision, judged, stores.who, now, why)
    wanted = Move(spec.name, PROMOTE, found.version, champion, champion, found.digest, judged, decision)
    champions.move(wanted, licence, reason, stores, now)
    return Promotion(spec.name, True, found.version, champion, reason)


def _there(spec: ModelSpec, version: int, stores: Stores) -> Version:
    """The version as it is registered now; EvergreenError if it was retired."""
    found = stores.tracking.version(spec.name, version)
    feasibility.not_retired(found)
    return found


def refused(spec: ModelSpec, found: Version, stores: Stores, now: datetime) -> str | None:
    """Why a version may not become champion; None if it may. The cheap reasons come first."""
    champion = stores.tracking.named(spec.name, CHAMPION)
    if champion == found.version:
        return f"version {found.version} was champion a moment ago; judge again"
    verdict = record.read(found, stores)
    return (
        _not_passed(verdict)
        or _compared_with(verdict, champion)
        or _too_old(spec, verdict, now)
        or _not_approved(spec, found, stores)
        or _not_attested(spec, found, stores)
    )


def _not_passed(verdict: Verdict) -> str | None:
    if verdict.decision is Decision.PASS:
        return None
    return f"version {verdict.version} is {verdict.decision.value}; the champion stays"


def _compared_with(verdict: Verdict, champion: int | None) -> str | None:
    if champion == verdict.champion_version:
        return None
    return f"the champion is {champion} now, the gate compared with {verdict.champion_version}; judge again"


def _too_old(spec: ModelSpec, verdict: Verdict, now: datetime) -> str | None:
    valid = spec.promotion.verdict_valid
    if now - verdict.judged_at <= valid:
        return None
    at = f"{verdict.judged_at:%Y-%m-%d %H:%M} UTC"
    return f"version {verdict.version} was judged at {at}, more than {valid} ago; judge again"


def _not_approved(spec: ModelSpec, found: Version, stores: Stores) -> str | None:
    if not spec.promotion.approval or approval.approved(found, stores):
        return None
    return (
        f"version {found.version} passed, but its spec asks for a person's approval, and it has none; "
        f'`evergreen approve {spec.name}@{found.version} --reason "..."`'
    )


def _not_attested(spec: ModelSpec, found: Version, stores: Stores) -> str | None:
    try:
        notary.attested(spec, found.version, stores)
        verify_origin(found, stores.keys)
    except EvergreenError as error:
        return str(error)
    return None


def changed(before: Version, champion: int | None, stores: Stores) -> str | None:
    """What happened while the notary looked."""
    after = stores.tracking.version(before.model, before.version)
    feasibility.not_retired(after)
    if _judged(before) != _judged(after):
        return f"version {before.version} was judged again meanwhile; judge again"
    return _compared_with(record.read(after, stores), champion)


def _judged(version: Version) -> tuple[str, str | None]:
    return version.digest, version.tags.get(record.DIGEST)


def _must_serve(spec: ModelSpec, found: Version, verdict: Verdict, stores: Stores) -> None:
    """EvergreenError unless the version is ours, whole, loadable and able to answer where it serves."""
    reasons = feasibility.obstacles(spec, found, stores)
    reasons += [
        f"{rule.name}: {rule.explanation}"
        for rule in verdict.rules
        if rule.name.startswith(SERVES) and rule.decision is Decision.FAIL
    ]
    if reasons:
        raise EvergreenError(f"version {found.version} cannot serve, whoever wants it: {'; '.join(reasons)}")
    stores.tracking.load(spec.name, found.version)
