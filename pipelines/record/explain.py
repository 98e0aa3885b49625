"""From a prediction back to all it stands on: version, licence, gate, training set, batches, files, commit.

A link that is missing, or that does not fit the one before it, is named; none is passed over.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from pipelines.contracts import BatchState, Decision, EvergreenError, as_json
from pipelines.gate import record
from pipelines.ingestion.arrivals import kept
from pipelines.record import champion_history
from pipelines.record.why import record_of
from pipelines.stores import Stores
from pipelines.stores.answers.predictions import Prediction
from pipelines.stores.audit.licences import verify_origin
from pipelines.stores.erasures import Erasures
from pipelines.stores.tracking.registry import Version, file_digest
from pipelines.training.training_set import path_of

T = TypeVar("T")
RUN_FACTS = ("git_commit", "uncommitted", "lock_digest", "delta_versions", "made_with")


@dataclass
class Chain:
    """Follows links; one that is missing is noted with the reason."""

    stores: Stores
    missing: list[str] = field(default_factory=list)

    def link(self, what: str, follow: Callable[[], T]) -> T | None:
        """What a link leads to; None if it is missing."""
        try:
            return follow()
        except (EvergreenError, SQLAlchemyError, OSError, ValueError, KeyError) as error:
            said = str(error) if isinstance(error, EvergreenError) else f"{type(error).__name__}: {error}"
            self.missing.append(f"{what}: {said.splitlines()[0]}")
            return None

    def hold(self, what: str, holds: bool) -> None:
        """Note it unless it holds."""
        if not holds:
            self.missing.append(what)


def logged(prediction_id: str, stores: Stores) -> Prediction:
    """The answer that has this id; EvergreenError if none has."""
    asked = stores.predictions.get(prediction_id)
    if asked is None:
        raise EvergreenError(
            f"no prediction {prediction_id!r} is logged here; its id is in the answer that was given"
        )
    return asked


def explain(prediction_id: str, stores: Stores) -> dict[str, Any]:
    """The way back from one prediction; `missing` names every link that could not be followed."""
    asked = logged(prediction_id, stores)
    chain = Chain(stores)
    version = chain.link("model version", lambda: stores.tracking.version(asked.model, asked.version))
    told = {
        "prediction": _prediction(asked),
        "features": _features(asked, version, chain),
        "champion_then": _champion(asked, chain),
        **(_version(asked, version, chain) if version is not None else {}),
    }
    chain.hold("all that stands on the model version: it could not be read", version is not None)
    return {**told, "missing": chain.missing}


def _prediction(asked: Prediction) -> dict[str, Any]:
    said = ("prediction_id", "model", "version", "digest", "entities", "request", "answer", "threshold",
            "degraded", "asked_at", "event_time")  # fmt: skip
    positive = None if asked.threshold is None else asked.answer >= asked.threshold
    told = {name: as_json(getattr(asked, name)) for name in said} | {"positive": positive}
    if asked.probabilities is None:
        return told
    return told | {"prediction": asked.prediction, "probabilities": asked.probabilities}


def _features(asked: Prediction, version: Version | None, chain: Chain) -> list[dict[str, Any]]:
    """Each view with the values the model was asked with, and how far the view had come."""
    values: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in asked.features.items():
        view, _, feature = name.partition("__")
        values[view][feature] = value
    known, wanted = asked.known or {}, version.views if version else {}
    for view in sorted({*values, *wanted}):
        chain.hold(f"feature view {view}: the log does not say how far it had come", view in known)
    chain.hold(f"features: {_odd(asked)}", not asked.degraded)
    return [{"view": view, **(known.get(view) or {}), "values": values[view]} for view in sorted(values)]


def _odd(asked: Prediction) -> str:
    """What was wrong with the features of a degraded answer."""
    if asked.known is None:
        return "the online store could not be read, all are missing"
    gone = [view for view, state in asked.known.items() if state is None]
    if gone:
        return f"nothing of {', '.join(gone)} was online"
    missing = sum(value is None for value in asked.features.values())
    if missing < len(asked.features):
        lacking = (
            f"{missing} of {len(asked.features)} are missing, which the spec may call degraded, or "
            if missing
            else ""
        )
        return f"{lacking}some are newer than what was asked about"
    return "nothing recent enough was known of the entities, all are missing"


def _champion(asked: Prediction, chain: Chain) -> dict[str, Any] | None:
    """Who was champion when it was asked; another than who answered is a shadow, a canary, or something wrong."""

    def follow() -> dict[str, Any]:
        champion_history.trusted(chain.stores)
        found = champion_history.tenure(asked.model, asked.asked_at, chain.stores)
        if found is None:
            raise EvergreenError(f"{asked.model} had no champion then, says the audit log")
        return dict(as_json(found))

    return chain.link("champion then", follow)


def _version(asked: Prediction, version: Version, chain: Chain) -> dict[str, Any]:
    chain.hold(
        f"model version: {asked.model}@{asked.version} is now another file than the one that answered",
        asked.digest == version.digest,
    )
    chain.link("signature", lambda: verify_origin(version, chain.stores.keys))
    return {
        "version": {"as_of": as_json(version.as_of), "digest": version.digest, "run": version.run_id},
        "licence": chain.link("licence", lambda: as_json(chain.stores.tracking.licence(version))),
        "approvals": chain.link("approvals", lambda: _people(version, chain)),
        "gate": chain.link("decision record", lambda: _gate(version, chain)),
        "training": _training(version, chain),
        "training_set": _training_set(version, chain),
        "batches": chain.link("batches", lambda: _batches(version, chain)) or [],
    }


def _people(version: Version, chain: Chain) -> list[dict[str, Any]]:
    """What people said of this version: yes, no, or in spite of the gate."""
    entries = chain.stores.audit.entries(f"model:{version.model}@{version.version}")
    said = [entry for entry in entries if entry.action in ("approve", "reject", "override")]
    return [{"at": as_json(e.at), "who": e.who, "action": e.action, "why": e.why} for e in said]


def _gate(version: Version, chain: Chain) -> dict[str, Any]:
    verdict = record.read(version, chain.stores)
    worst = [r.name for r in verdict.rules if r.decision is verdict.decision is not Decision.PASS]
    return {
        "decision": verdict.decision.value,
        "because": worst,
        "rules": len(verdict.rules),
        "rows": verdict.rows,
        "champion_then": verdict.champion_version,
        "judged_at": as_json(verdict.judged_at),
        "record": version.tags[record.DIGEST],
        "path": str(record.path_of(version.model, version.version, chain.stores)),
    }


def _training(version: Version, chain: Chain) -> dict[str, Any]:
    """Why it was trained, with which code and in which environment."""
    run = chain.link("training run", lambda: chain.stores.tracking.run(version.run_id))
    facts = {name: run.tags.get(name) for name in RUN_FACTS} if run is not None else {}
    plan = chain.link("training plan", lambda: record_of(version, chain.stores)) or {}
    chain.hold("training plan: it was trained without one, so nobody knows why", bool(plan))
    chain.hold("git commit: it is not known", facts.get("git_commit") not in (None, "unknown"))
    return {
        "woken_by": version.tags.get("trigger"),
        "forced": plan.get("forced"),
        "reasons": plan.get("reasons", []),
        "libraries": json.loads(version.tags.get("libraries", "{}")),
        "spec_digest": version.tags.get("spec_digest"),
        **facts,
    }


def _training_set(version: Version, chain: Chain) -> dict[str, Any]:
    path = path_of(version.model, version.tags.get("training_set", ""), chain.stores)
    there = path.exists() and file_digest(path) == version.tags.get("training_rows")
    erased = Erasures(chain.stores.settings).file(version.tags.get("training_rows"))
    why = "without rows that were erased" if erased else "not as it was" if path.exists() else "gone"
    chain.hold(f"training set: {path} is {why}", there)
    return {
        "digest": version.tags.get("training_set"),
        "rows": version.tags.get("training_rows"),
        "path": str(path),
    }


def _batches(version: Version, chain: Chain) -> list[dict[str, Any]]:
    """The batches that were new to its training, each with its file and where its bytes lie."""
    return [_batch(each, chain) for each in record_of(version, chain.stores).get("batches", [])]


def _batch(told: dict[str, Any], chain: Chain) -> dict[str, Any]:
    result = next((b for b in _of(told["digest"], chain) if b.state.taken), None)
    chain.hold(
        f"batch {told['name']} ({told['digest'][:12]}): the ledger does not know it", result is not None
    )
    path = kept(result, chain.stores) if result is not None else None
    there = path is not None and path.exists()
    chain.hold(f"file {told['name']}: it is not in the archive any more", there or result is None)
    named = {name: told[name] for name in ("name", "digest", "silver", "quarantined")}
    dataset = {"dataset": result.dataset} if result is not None else {}
    return {**named, **dataset, "path": str(path) if there else None}


def _of(digest: str, chain: Chain) -> list[Any]:
    return [b for b in chain.stores.ledger.batches(state=BatchState.COMMITTED) if b.digest == digest]
