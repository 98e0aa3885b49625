"""A model's versions as the pages tell them: from the registry, the decision records and the audit log."""

from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision, EvergreenError, Verdict
from pipelines.gate import record
from pipelines.gate.record import VERDICT
from pipelines.monitoring.performance.days import metric_of
from pipelines.promotion import champions
from pipelines.promotion.champions import Tenure
from pipelines.promotion.overview import ALIASES, overridden
from pipelines.site.facts import History, VersionFacts
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import CHAMPION, RETIRED, Version

SHOWN = 30
"""So many of the newest versions, beside those with an alias."""


def history(spec: ModelSpec, stores: Stores) -> History:
    """The newest versions and those with an alias, and the tenures of them all."""
    named = {alias: stores.tracking.named(spec.name, alias) for alias in ALIASES}
    there, tenures = stores.tracking.versions(spec.name), champions.tenures(spec.name, stores)
    shown = [each for place, each in enumerate(there) if place < SHOWN or each.version in named.values()]
    found = tuple(_version(spec, each, named, tenures, stores) for each in shown)
    champion = next((each for each in found if each.version == named[CHAMPION]), None)
    last = tenures[-1] if tenures and tenures[-1].version == named[CHAMPION] else None
    return History(found, len(there), champion, last, tuple(reversed(tenures)))


def _version(
    spec: ModelSpec, each: Version, named: dict[str, int | None], tenures: list[Tenure], stores: Stores
) -> VersionFacts:
    verdict, why = _judged(each, stores)
    said = overridden(each, stores)
    by = {who: found.get(metric_of(spec)) for who, found in (verdict.metrics if verdict else {}).items()}
    return VersionFacts(
        version=each.version,
        as_of=each.as_of,
        digest=each.digest,
        run_id=each.run_id,
        aliases=tuple(alias for alias, number in named.items() if number == each.version),
        verdict=each.tags.get(VERDICT),
        judged_at=verdict.judged_at if verdict else None,
        rows=verdict.rows if verdict else None,
        why=why,
        loss=by.get("candidate"),
        before=by.get("champion"),
        baseline=by.get("baseline"),
        metrics=dict(verdict.metrics.get("candidate", {})) if verdict else {},
        tenures=tuple(tenure for tenure in tenures if tenure.version == each.version),
        override=f"{said['by']}: {said['why']}" if said else None,
        retired=each.tags.get(RETIRED),
    )


def _judged(each: Version, stores: Stores) -> tuple[Verdict | None, tuple[str, ...]]:
    """What the gate's own record says, and why; of one that is not as it was written nothing counts."""
    if VERDICT not in each.tags:
        return None, ()
    try:
        verdict = record.read(each, stores)
    except (EvergreenError, OSError, ValueError) as error:
        return None, (str(error) if isinstance(error, EvergreenError) else "its record could not be read",)
    return verdict, _reasons(verdict)


def _reasons(verdict: Verdict) -> tuple[str, ...]:
    """The rules that kept it from passing, those that failed first; or that every rule passed."""
    kept = [rule for rule in verdict.rules if rule.decision is not Decision.PASS]
    kept.sort(key=lambda rule: rule.decision is not Decision.FAIL)
    return tuple(f"{rule.name}: {rule.explanation}" for rule in kept) or ("every rule passed",)
