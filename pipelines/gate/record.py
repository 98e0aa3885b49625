"""The decision record: every rule, number and row count of one judgement, bound to what was judged."""

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.contracts import Decision, EvergreenError, Kind, Rule, Verdict, as_json
from pipelines.gate.case import Case
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import Version, file_digest
from pipelines.training.answers import as_column

if TYPE_CHECKING:
    import pandas as pd

VERDICT, DIGEST, SIGNATURE = "verdict", "record_digest", "record_signature"
HEAD = "audit_head"
"""The tag with the head of the audit log at the verdict: a witness of the log that lies outside it."""
EVIDENCE, DETAILS = "evidence.parquet", "details.json"


def write(case: Case, verdict: Verdict) -> Verdict:
    """Write evidence and record; bind the record to the version; say so in the audit log."""
    from dataclasses import replace

    path = path_of(case.spec.name, verdict.version, case.stores)
    evidence = _evidence(case, path.with_suffix("") / EVIDENCE)
    final = replace(verdict, record=str(path), evidence=evidence)
    beside = {"tags": dict(case.version.tags), "absent": case.absent}
    text = json.dumps(as_json(final) | beside, indent=2)
    put(path, text, case.stores)
    _log(case, final, path)
    digest = hashlib.sha256(text.encode()).hexdigest()
    _say(case, final, digest)
    signature = case.stores.keys.sign(_statement(case.version, digest))
    tags = {
        VERDICT: final.decision.value,
        DIGEST: digest,
        SIGNATURE: signature,
        HEAD: str(case.stores.audit.head),
    }
    case.stores.tracking.tag(case.spec.name, final.version, tags)
    return final


def path_of(model: str, version: int, stores: Stores) -> Path:
    """Where a version's newest decision record lies."""
    return stores.files.at("decisions", model, f"{version}.json")


def beside(model: str, version: int, name: str, stores: Stores) -> Path:
    """Where a file of this name lies that was written beside a decision record."""
    return stores.files.at("decisions", model, str(version), name)


def page_of(model: str, version: int, stores: Stores) -> Path:
    """Where the page of a decision lies."""
    return stores.files.at("decisions", model, f"{version}.html")


def read(version: Version, stores: Stores) -> Verdict:
    """The verdict on a version; EvergreenError if its record is not the one the gate wrote."""
    tags, again = version.tags, f"run `evergreen evaluate {version.model} --version {version.version}`"
    if DIGEST not in tags:
        raise EvergreenError(f"version {version.version} was not judged; {again}")
    path = path_of(version.model, version.version, stores)
    if not path.exists():
        raise EvergreenError(f"there is no decision record {path}; {again}")
    text = path.read_text()
    digest = hashlib.sha256(text.encode()).hexdigest()
    if digest != tags[DIGEST]:
        raise EvergreenError(f"{path} is not the record the gate wrote; {again}")
    if not stores.keys.verifies(_statement(version, digest), tags.get(SIGNATURE, "")):
        raise EvergreenError(f"{path} was not signed by this deployment's gate; {again}")
    return _verdict(json.loads(text))


def absent(version: Version, stores: Stores) -> dict[str, str]:
    """Who could not answer when a version was judged, and why."""
    return dict(json.loads(path_of(version.model, version.version, stores).read_text()).get("absent", {}))


def evidence(verdict: Verdict, stores: Stores) -> "pd.DataFrame":
    """Each held-out row's `label`, `block`, and the answer of everybody who was asked: a number, or a list of them."""
    import pandas as pd

    path = beside(verdict.model, verdict.version, EVIDENCE, stores)
    if not path.exists() or file_digest(path) != verdict.evidence:
        raise EvergreenError(
            f"{path} is not the evidence of the verdict; judge version {verdict.version} again"
        )
    return pd.read_parquet(path)


def _statement(version: Version, digest: str) -> bytes:
    return json.dumps(["verdict", version.model, version.version, version.digest, digest]).encode()


def _evidence(case: Case, path: Path) -> str:
    import pandas as pd

    said = {who: as_column(found) for who, found in case.answers.items()}
    columns = {"label": case.labels, "block": case.blocks, **said}
    with case.stores.files.whole(path) as part:
        pd.DataFrame(columns).to_parquet(part, index=False)
    return file_digest(path)


def put(path: Path, text: str, stores: Stores) -> None:
    """Written whole or not at all, and kept."""
    with stores.files.whole(path) as part:
        part.write_text(text)


def _log(case: Case, verdict: Verdict, path: Path) -> None:
    """Record, evidence and numbers on the candidate's run."""
    run, tracking = case.version.run_id, case.stores.tracking
    tracking.log_metrics(run, verdict.metrics)
    tracking.log_files(run, "decision", path, path.with_suffix("") / EVIDENCE)


def _say(case: Case, verdict: Verdict, digest: str) -> None:
    worst = [rule.name for rule in verdict.rules if rule.decision is verdict.decision is not Decision.PASS]
    case.stores.audit.append(
        case.now,
        case.stores.who,
        "gate",
        f"model:{verdict.model}@{verdict.version}",
        why=f"{verdict.decision.value}: {', '.join(worst) or 'every rule passed'}",
        evidence={
            "decision": verdict.decision.value,
            "digest": verdict.digest,
            "record": digest,
            "evidence": verdict.evidence,
            "training_set": verdict.training_set,
            "champion": verdict.champion_version,
            "rows": verdict.rows,
        },
    )


def _verdict(plain: dict[str, Any]) -> Verdict:
    known = {name: plain[name] for name in Verdict.__dataclass_fields__}
    times = {name: datetime.fromisoformat(plain[name]) for name in ("as_of", "judged_at")}
    rules = tuple(
        Rule(**rule | {"decision": Decision(rule["decision"]), "kind": Kind(rule["kind"])})
        for rule in plain["rules"]
    )
    return Verdict(**known | times | {"decision": Decision(plain["decision"]), "rules": rules})
