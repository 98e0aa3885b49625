"""What the stages' decisions look like in the audit log: digests, names and counts; never a row's contents."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipelines.contracts import FeatureRun, IngestResult, Signal
from pipelines.stores import Stores
from pipelines.stores.audit.licences import Registered
from pipelines.stores.audit.log import Said
from pipelines.stores.audit.unlogged import Decided, Decisions

if TYPE_CHECKING:
    from pipelines.stores.feature_store.health import ViewHealth
    from pipelines.stores.signals import Training

ACTIONS = {
    "committed": "commit",
    "archived": "commit",
    "refused": "refuse",
    "released": "release",
    "discarded": "discard",
}
AT_ONCE = 32
"""So many files' decisions wait for each other at most."""
HEAD = "audit_head"
"""The tag of a registered model, as of its versions, with a head of the log."""
BY_PEOPLE = {"released", "discarded"}
COUNTS = ("parsed", "silver", "quarantined", "superseded", "attempt")
REGISTERED = (
    "trigger", "training", "reasons", "policy", "forced", "batches", "as_of", "training_set", "training_rows",
    "feature_views", "spec_digest", "libraries", "parameters", "digest", "baseline_digest", "mlmodel_digest",
    "answers_digest", "onnx_digest", "background_digest", "signature",
)  # fmt: skip
"""The tags that a version has from its registration on."""


@contextmanager
def telling(stores: Stores, dataset: str) -> Iterator[Callable[[str], None]]:
    """Within, batches are taken in that were named before; what was decided on them is entered many at a time.

    One entry costs as much as many: on disk they are one write. At the end, however it comes, nothing is left.
    """
    named: list[str] = []

    def tell(digest: str) -> None:
        if len(named) >= AT_ONCE:
            batches(stores, dataset, named)
            named.clear()
        named.append(digest)

    try:
        yield tell
    finally:
        batches(stores, dataset, named)


def batches(stores: Stores, dataset: str, digests: Collection[str] | None = None) -> int:
    """Enter what the ledger decided on a dataset's batches, or on these, and the log does not say yet; how many.

    A crash between the two leaves the ledger ahead; the next run enters it, each decision once.
    """
    if digests is not None and not digests:
        return 0
    audit, ledger = stores.audit, stores.ledger  # both open their tables
    unsaid = Decisions(stores.settings.database).unsaid(dataset, digests)
    results = {each.digest: ledger.result(each.digest, dataset) for each in unsaid}
    return audit.extend([_batch(each, results[each.digest], stores.who) for each in unsaid]) if unsaid else 0


def _batch(decided: Decided, result: IngestResult | None, who: str) -> Said:
    counts = {name: getattr(result, name) for name in COUNTS} if result is not None else {}
    evidence = {"digest": decided.digest, "file": result.name if result else None, "by": decided.who} | counts
    why = decided.note or ""
    if decided.step not in BY_PEOPLE:
        # A file's own words stay in the ledger, where they can be erased.
        why, evidence["reason"] = _kind(why), hashlib.sha256(why.encode()).hexdigest() if why else None
    subject = f"batch:{decided.dataset}/{decided.digest}"
    return Said(decided.at, who, ACTIONS[decided.step], subject, why, evidence, decided.once)


def _kind(reason: str) -> str:
    """What kind of reason it is, without the example from the file that may follow."""
    return reason.partition("; for example")[0].partition(": ")[0]


def features(run: FeatureRun, stores: Stores) -> None:
    """Enter a computation of the feature tables that made rows: how many, and as which version of each table."""
    if run.rows:
        evidence = {"as_of": run.as_of, "rows": run.rows, "versions": run.versions, "alerts": len(run.alerts)}
        why = "; ".join(alert["what"] for alert in run.alerts)
        once = _named("features", evidence)
        stores.audit.append(stores.audit.now(), stores.who, "compute", "features", why, evidence, once)


def not_published(found: "ViewHealth", stores: Stores) -> None:
    """Enter that a view's rows were refused by their checks."""
    broken = [f"{check.feature}: {check.rule}" for check in found.failed]
    evidence = {"as_of": found.as_of, "rows": found.rows, "checks": len(found.checks), "failed": broken}
    subject = f"view:{found.view}@v{found.version}"
    once = _named(subject, evidence)
    why = f"{len(broken)} of {len(found.checks)} checks failed"
    stores.audit.append(stores.audit.now(), stores.who, "refuse", subject, why, evidence, once)


def began(training: "Training", stores: Stores) -> None:
    """Enter that a planned training began: why, whether a person forced it, and on how many new batches."""
    record = training.record
    evidence = {name: record.get(name) for name in ("trigger", "forced", "policy", "new_batches", "new_rows")}
    evidence |= {"as_of": training.as_of, "code": training.code, "training": training.key}
    why = "; ".join(f"{reason['cause']}: {reason['detail']}" for reason in record["reasons"])
    once = f"train:{training.model}:{training.key}"
    action, subject = "force" if record.get("forced") else "train", f"model:{training.model}"
    stores.audit.append(
        training.began_at or training.planned_at, stores.who, action, subject, why, evidence, once
    )


def registered(version: Registered, stores: Stores) -> None:
    """Enter that a version was registered, and with which tags; once per version."""
    subject = f"model:{version.model}@{version.version}"
    tags = {name: digest_of(version.tags[name]) for name in REGISTERED if name in version.tags}
    said = {name: version.tags.get(name) for name in ("digest", "training_set", "training", "as_of")}
    evidence = {**said, "run": version.run_id, "tags": tags}
    why, once = version.tags.get("trigger", ""), f"register:{subject}"
    stores.audit.append(stores.audit.now(), stores.who, "register", subject, why, evidence, once)


def witnessed(model: str, stores: Stores) -> None:
    """Write how far the log has come on the model in MLflow: a witness that lies outside the log and its anchor."""
    stores.tracking.records.tag_model(model, HEAD, str(stores.audit.head))


def digest_of(text: str) -> str:
    """A text's SHA-256, as the log keeps it of tags."""
    return hashlib.sha256(text.encode()).hexdigest()


def signalled(signal: Signal, stores: Stores) -> None:
    """Enter that a monitor asks for a training; once per version, moment and cause."""
    subject, once = _signal(signal)
    evidence = {"cause": signal.cause.value, "as_of": signal.as_of}
    stores.audit.append(signal.recorded_at, stores.who, "signal", subject, signal.detail, evidence, once)


def was_signalled(signal: Signal, stores: Stores) -> bool:
    """Whether the log has it."""
    subject, once = _signal(signal)
    return any(entry.once == once for entry in stores.audit.entries(subject, "signal"))


def _signal(signal: Signal) -> tuple[str, str]:
    """What an entry on a signal is about, and the name by which it is known again."""
    subject = f"model:{signal.model}@{signal.version}"
    return subject, f"signal:{subject}:{signal.as_of.isoformat()}:{signal.cause.value}"


def _named(what: str, evidence: Mapping[str, Any]) -> str:
    """A name by which the same thing, tried again, is known."""
    from pipelines.contracts import as_json

    return f"{what}:{digest_of(str(as_json(dict(evidence))))}"
