"""Why a version exists and what became of it: the story a person on call reads."""

import json
import tempfile
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision, EvergreenError, NothingToDo, as_json
from pipelines.monitoring import policy
from pipelines.promotion import champions
from pipelines.rollout import moves
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import Version


def why(asked: str, now: datetime, stores: Stores) -> dict[str, Any]:
    """The story of MODEL@VERSION, or of MODEL's champion, and what waits for the next training."""
    from pipelines.promotion.overview import overridden

    name, _, number = asked.partition("@")
    spec = catalog.model(name)
    versions = stores.tracking.versions(name)
    champion = stores.tracking.champion(name)
    found = _chosen(name, number, versions, champion)
    record = record_of(found, stores)
    return {
        "model": name,
        "version": found.version,
        "is_champion": champion is not None and champion.version == found.version,
        "trained": _trained(found, record, stores),
        "batches": record.get("batches", []),
        "gate": _gate(spec, found, stores),
        "override": overridden(found, stores),
        "rollout": _rollout(found, stores),
        "tenure": _tenure(found, stores),
        "asked_again": _asked_again(found, stores),
        "next": _next(spec, now, stores),
    }


def _chosen(name: str, number: str, versions: list[Version], champion: Version | None) -> Version:
    there = ", ".join(str(v.version) for v in reversed(versions))
    if not versions:
        raise EvergreenError(f"{name} has no version yet; `evergreen train {name}` makes one")
    if not number and champion is None:
        raise EvergreenError(f"{name} has no champion; name a version such as {name}@{versions[0].version}")
    wanted = number or str(champion.version if champion else "")
    if not wanted.isdigit():
        raise EvergreenError(f"{number!r} is no version of {name}; versions: {there}")
    for version in versions:
        if version.version == int(wanted):
            return version
    raise EvergreenError(f"{name}@{number} does not exist; versions: {there}")


def record_of(version: Version, stores: Stores) -> dict[str, Any]:
    """The plan the version was trained by; empty for one that was trained without a plan."""
    if "training" not in version.tags:
        return {}
    from pipelines.training.registration import RECORD

    with tempfile.TemporaryDirectory() as folder:
        found = stores.tracking.fetched(f"runs:/{version.run_id}/training/{RECORD}", Path(folder))
        return dict(json.loads(found.read_text()))


def _trained(version: Version, record: dict[str, Any], stores: Stores) -> dict[str, Any]:
    run = stores.tracking.run(version.run_id)
    return {
        "at": as_json(_from_millis(run.started)),
        "as_of": as_json(version.as_of),
        "woken_by": version.tags.get("trigger", "not recorded"),
        "forced": record.get("forced", False),
        "reasons": record.get("reasons", []),
        "policy": record.get("policy", {}),
        "waited": record.get("waited", []),
        "commit": run.tags.get("git_commit", "unknown"),
    }


def _from_millis(millis: int) -> datetime:
    from datetime import UTC

    return datetime.fromtimestamp(millis // 1000, UTC)


def _gate(spec: ModelSpec, version: Version, stores: Stores) -> dict[str, Any]:
    """What the gate said, rule by rule; or why that cannot be told."""
    from pipelines.gate import record

    try:
        verdict = record.read(version, stores)
    except EvergreenError as error:
        return {"decision": None, "explanation": str(error), "rules": []}
    compared = verdict.champion_version
    rules = [
        {"name": r.name, "decision": r.decision.value, "explanation": r.explanation} for r in verdict.rules
    ]
    worst = [r.name for r in verdict.rules if r.decision is verdict.decision is not Decision.PASS]
    return {
        "decision": verdict.decision.value,
        "explanation": f"because of: {', '.join(worst)}" if worst else "every rule passed",
        "rows": verdict.rows,
        "champion_then": compared,
        "rules": rules,
    }


def _rollout(version: Version, stores: Stores) -> list[dict[str, Any]]:
    """Each step that was taken with it beside a champion, and how that ended."""
    entries = stores.audit.entries(moves.subject(version.model))
    return [
        {
            "at": as_json(entry.at),
            "what": entry.action,
            "step": entry.evidence["step"] + 1,
            "champion": entry.evidence["champion"],
            "by": entry.who,
            "because": entry.why,
        }
        for entry in entries
        if entry.evidence["version"] == version.version
    ]


def _tenure(version: Version, stores: Stores) -> dict[str, Any]:
    """Since when it was champion the last time, whom it replaced, who replaced it, and who is behind that."""
    tenures = [
        tenure for tenure in champions.tenures(version.model, stores) if tenure.version == version.version
    ]
    if not tenures:
        return dict.fromkeys(("since", "replaced", "replaced_by", "until", "by", "because", "decision"))
    last = tenures[-1]
    return {
        "since": as_json(last.since),
        "replaced": last.replaced,
        "replaced_by": last.heir,
        "until": as_json(last.until),
        "by": last.who,
        "because": last.why,
        "decision": last.decision,
    }


def _asked_again(version: Version, stores: Stores) -> list[dict[str, Any]]:
    """Later trainings that asked the same question and got this version as their answer."""
    found = stores.signals.of_version(version.model, version.version)
    return [
        {"at": as_json(t.planned_at), "woken_by": t.record["trigger"]}
        for t in reversed(found)
        if t.key != version.tags.get("training")
    ]


def _next(spec: ModelSpec, now: datetime, stores: Stores) -> dict[str, Any]:
    """What is new since the last training, and what would hold one back now."""
    from pipelines.features.watermark import watermark

    needed = [catalog.dataset(name) for name in spec.datasets]
    try:
        as_of = watermark(stores, needed, spec.training.patience)
    except NothingToDo as nothing:
        return {
            "batches": 0,
            "rows": 0,
            "signals": [],
            "code": None,
            "waits": [],
            "explanation": str(nothing),
        }
    found = policy.facts(spec, as_of, stores)
    return {
        "batches": len(found.new),
        "rows": found.rows,
        "signals": [as_json(asdict(signal)) for signal in found.signals],
        "code": found.code,
        "waits": [as_json(asdict(wait)) for wait in policy.waits(spec, found.last, now)],
    }
