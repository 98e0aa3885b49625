"""The whole record held against itself: log, ledger, versions and their tags, model files, records, licences, aliases.

Each part is a witness for the others. A log that was put back to an earlier moment, anchor and all, is found because
MLflow and the ledger know more than it does; a version whose tags or files were changed, because the log knows better.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from pipelines.contracts import EvergreenError, IngestResult
from pipelines.gate import record
from pipelines.promotion import champions
from pipelines.record import registered_files
from pipelines.stores import Stores
from pipelines.stores.audit.chain import Finding, Head
from pipelines.stores.audit.events import REGISTERED, digest_of
from pipelines.stores.audit.licences import LICENCE, licence_of, verify_origin
from pipelines.stores.audit.log import Entry
from pipelines.stores.audit.unlogged import Decisions
from pipelines.stores.locks import exclusive
from pipelines.stores.tracking.records import Kept
from pipelines.stores.tracking.registry import ANCHOR, CHAMPION, PREVIOUS, RETIRED

GRACE = timedelta(minutes=15)
"""How long an ingestion that is at work, or was cut off, may be ahead of the log."""


@dataclass
class Log:
    """What the log says of each subject, in order."""

    said: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))

    def newest(self, subject: str, *actions: str) -> Entry | None:
        """The newest entry of one of these actions."""
        return next(
            (entry for entry in reversed(self.said.get(subject, [])) if entry.action in actions), None
        )


def verify(stores: Stores, now: datetime, witnesses: Iterable[Head] = ()) -> list[Finding]:
    """Everything in the record that is not as it was written, each in a sentence; nothing if it is whole.

    `witnesses` are heads of the log that somebody wrote down elsewhere. `now` is the wall clock.
    """
    kept = versions(stores)
    heads, found = _heads(kept, stores)
    found = stores.audit.verify([*witnesses, *_not_accepted(heads, stores)]) + found
    try:
        log = Log()
        for entry in stores.audit.entries():
            log.said[entry.subject].append(entry)
    except (EvergreenError, SQLAlchemyError):  # an entry that cannot be read was found above
        return found
    found += [Finding(None, what) for what in _gone(kept, log)]
    for version in kept:
        found += [Finding(None, f"{version}: {what}") for what in _version(version, log, stores)]
    for model in sorted({version.model for version in kept}):
        found += [Finding(None, f"{model}: {what}") for what in _aliases(model, log, stores)]
    return found + [Finding(None, what) for what in _batches(log, stores, now)]


def versions(stores: Stores) -> list[Kept]:
    """Every version of every model in the registry, also those that a training never finished."""
    records = stores.tracking.records
    return [each for name in records.models() for each in records.versions(name)]


def trusted_heads(stores: Stores) -> list[Head]:
    """The heads of the log that versions in MLflow carry, but for those a person has accepted as lost."""
    return _not_accepted(_heads(versions(stores), stores)[0], stores)


def _not_accepted(heads: Iterable[Head], stores: Stores) -> list[Head]:
    try:
        resumed = stores.audit.entries(action="resume")
    except (EvergreenError, SQLAlchemyError):
        resumed = []
    accepted = {head for entry in resumed for head in entry.evidence.get("heads", ())}
    return [head for head in heads if str(head) not in accepted]


def _heads(kept: Iterable[Kept], stores: Stores) -> tuple[list[Head], list[Finding]]:
    """The heads of the log that models carry, and versions since they were judged."""
    carriers = [(f"model:{name}", tags) for name, tags in stores.tracking.records.models().items()]
    found, wrong = [], []
    for name, tags in carriers + [(str(version), version.tags) for version in kept]:
        try:
            if record.HEAD in tags:
                found.append(Head.of(tags[record.HEAD]))
            elif record.DIGEST in tags:
                wrong.append(Finding(None, f"{name}: the head of the log was taken off it"))
        except EvergreenError as error:
            wrong.append(Finding(None, f"{name}: {error}"))
    return found, wrong


def _gone(kept: Iterable[Kept], log: Log) -> Iterator[str]:
    there = {str(version) for version in kept}
    for subject in log.said:
        if subject not in there and log.newest(subject, "register", "gate"):
            yield f"{subject}: is in the log, and not in MLflow any more"


def _version(version: Kept, log: Log, stores: Stores) -> Iterator[str]:
    yield from _registered(version, log.newest(str(version), "register"))
    try:
        verify_origin(version, stores.keys)
    except EvergreenError as error:
        yield str(error)
    retired = log.newest(str(version), "retire") is not None
    if retired is not (RETIRED in version.tags):
        yield f"log and MLflow do not agree whether it was retired (log: {retired})"
    yield from registered_files.wrong(version, retired, stores)
    yield from _judged(version, log.newest(str(version), "gate"), stores)
    yield from _licensed(version, log, stores)


def _registered(version: Kept, entry: Entry | None) -> Iterator[str]:
    """Its tags are those it was registered with."""
    if entry is None:
        yield "the log does not know it: no training registered it"
        return
    said: dict[str, str] = entry.evidence["tags"]
    for name in REGISTERED:
        now = digest_of(version.tags[name]) if name in version.tags else None
        if now != said.get(name):
            yield f"its tag {name} is not the one it was registered with"
    if version.run_id != entry.evidence["run"]:
        yield "it is of another run than it was registered with"


def _judged(version: Kept, entry: Entry | None, stores: Stores) -> Iterator[str]:
    """The verdict it carries is the newest one in the log, and so is the record on disk."""
    judged = {name: version.tags.get(name) for name in (record.DIGEST, record.VERDICT)}
    if entry is None:
        if any(judged.values()):
            yield "it carries a verdict that the log does not know"
        return
    evidence = entry.evidence
    if judged != {record.DIGEST: evidence["record"], record.VERDICT: evidence["decision"]}:
        yield f"the newest verdict in the log, entry {entry.number}, is not the one it carries; judge it again"
    yield from registered_files.wrong_record(version, evidence, stores)


def _licensed(version: Kept, log: Log, stores: Stores) -> Iterator[str]:
    """It carries the licence that was given to it last, and no other."""
    subject = champions.subject(version.model)
    intents = [entry.evidence for entry in log.said.get(subject, []) if entry.action == champions.INTEND]
    given = [said["licence"] for said in intents if said["champion"] == version.version and said["licence"]]
    has = {name: version.tags[name] for name in (LICENCE,) if name in version.tags}
    if has != (given[-1] if given else {}):
        yield (
            "its licence is not the one the log says it was given"
            if given
            else ("it carries a licence, and the log knows of none")
        )
    if has:
        try:
            licence_of(version.model, version.version, version.tags, stores.keys)
        except (EvergreenError, ValueError, TypeError, KeyError) as error:
            yield f"its licence is not valid: {error}"


def _aliases(model: str, log: Log, stores: Stores) -> Iterator[str]:
    """Champion, previous and anchor are the versions that the log says."""
    with exclusive(f"champion-{model}", stores.settings):
        entries = stores.audit.entries(champions.subject(model))
        if entries and entries[-1].action == champions.INTEND:
            yield from _open(model, entries[-1].evidence, stores)
            return
        said = _said(model, entries, log)
        for alias, number in said.items():
            found = stores.tracking.named(model, alias)
            if found != number:
                yield f"the alias {alias} names {found or 'no version'}, the log says {number or 'none'}"


def _open(model: str, intent: dict[str, Any], stores: Stores) -> Iterator[str]:
    """A move that was cut off: the alias names the one before or the one after."""
    found = stores.tracking.named(model, CHAMPION)
    if found not in (intent["previous"], intent["champion"]):
        yield f"the alias {CHAMPION} names {found}, neither before nor after the move that was cut off"


def _said(model: str, entries: list[Entry], log: Log) -> dict[str, int | None]:
    moved = next((e for e in reversed(entries) if e.action in champions.MOVED), None)
    if moved is None:
        return {CHAMPION: None, PREVIOUS: None}
    before = (e for e in reversed(entries) if e.action == champions.INTEND and e.number < moved.number)
    intent = next((e.evidence for e in before if e.evidence["champion"] == moved.evidence["champion"]), {})
    said = {CHAMPION: moved.evidence["champion"], PREVIOUS: intent.get("back")}
    pinned = log.newest(f"anchor:{model}", champions.PIN)
    return said | ({ANCHOR: pinned.evidence["anchor"]} if pinned else {})


def _batches(log: Log, stores: Stores, now: datetime) -> Iterator[str]:
    """What the ledger decided is in the log, and counts are those of the ledger."""
    results = {f"batch:{result.dataset}/{result.digest}": result for result in stores.ledger.batches()}
    for decided in Decisions(stores.settings.database).unsaid():
        if decided.at < now - GRACE:
            yield (
                f"batch:{decided.dataset}/{decided.digest}: was {decided.step} at {decided.at:%Y-%m-%d %H:%M} UTC "
                "says the ledger, and the log does not; `evergreen ingest` enters it if a run was cut off"
            )
    for subject in [name for name in log.said if name.startswith("batch:")]:
        yield from _counted(subject, log.said[subject][-1], results.get(subject))


def _counted(subject: str, entry: Entry, result: IngestResult | None) -> Iterator[str]:
    if result is None:
        yield f"{subject}: is in the log, and not in the ledger any more"
    elif entry.action in ("commit", "refuse"):
        for name in ("parsed", "silver", "quarantined", "superseded"):
            now, said = getattr(result, name), entry.evidence.get(name)
            if now != said:
                yield f"{subject}: {name} is {now} in the ledger, {said} in the log"
