"""A person's yes or no to a version that passed its gate: entries in the audit log, bound to digest and record."""

from datetime import datetime
from typing import Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision, EvergreenError, NothingToDo, Verdict
from pipelines.gate import record
from pipelines.promotion.feasibility import not_retired
from pipelines.stores import Stores
from pipelines.stores.audit.log import Entry
from pipelines.stores.tracking.registry import Version

APPROVE, REJECT, ASK = "approve", "reject", "ask"
MACHINES = ("evergreen", "airflow")
"""How the names begin under which nobody decides but a machine."""


def question(spec: ModelSpec, version: int, stores: Stores) -> dict[str, Any]:
    """What a person is asked about a version, and the record the answer is for; NothingToDo unless it passed."""
    found = stores.tracking.version(spec.name, version)
    verdict = record.read(found, stores)
    if verdict.decision is not Decision.PASS:
        raise NothingToDo(
            f"version {version} is {verdict.decision.value}: nobody is asked, the champion stays"
        )
    return {
        "version": version,
        "record": found.tags[record.DIGEST],
        "subject": f"Shall {spec.name} version {version} become champion?",
        "body": _body(spec, verdict, found),
    }


def _body(spec: ModelSpec, verdict: Verdict, found: Version) -> str:
    """The verdict in Markdown: what was compared on what, each rule, and where the whole record is."""
    rules = [f"| {rule.name} | {rule.decision.value} | {_cell(rule.explanation)} |" for rule in verdict.rules]
    page = f"/evergreen/model/retrain_{spec.name}/{verdict.version}"
    at = f"{verdict.judged_at:%Y-%m-%d %H:%M} UTC"
    as_of = f"{verdict.as_of:%Y-%m-%d %H:%M} UTC"
    lines = [
        f"Its gate said **{verdict.decision.value}** at {at} on {verdict.rows:,} held-out rows, as of {as_of}.",
        f"Champion now: {verdict.champion_version or 'none'}.",
        "",
        f"[The whole record]({page}). Model file `{verdict.digest}`, record `{found.tags[record.DIGEST]}`.",
        "",
        "| rule | | why |",
        "| --- | --- | --- |",
    ]
    return "\n".join([*lines, *rules])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def answer(
    spec: ModelSpec,
    version: int,
    yes: bool,
    stores: Stores,
    now: datetime,
    reason: str = "",
    asked: str | None = None,
) -> Entry:
    """Write down a person's yes, or a no; `asked` is the digest of the record that the person was shown.

    Only a version whose verdict is PASS can be approved, and only by a person. A no needs nobody: silence is one.
    """
    found = stores.tracking.version(spec.name, version)
    not_retired(found)
    verdict, judged = record.read(found, stores), found.tags[record.DIGEST]
    if yes:
        reason = said_by_a_person("approve", reason, stores)
        if verdict.decision is not Decision.PASS:
            raise EvergreenError(
                f"version {version} is {verdict.decision.value}; only one that passed can be approved"
            )
        if asked not in {None, judged}:
            raise EvergreenError(
                f"version {version} was judged again since it was shown; read its new record"
            )
    said = {"digest": found.digest, "record": asked or judged, "decision": verdict.decision.value}
    subject = _subject(found)
    stores.audit.append(now, stores.who, APPROVE if yes else REJECT, subject, reason, said)
    return answers(found, stores)[-1]


def approved(version: Version, stores: Stores) -> bool:
    """Whether the last word on exactly this file and this record was yes."""
    given = answers(version, stores)
    return bool(given) and given[-1].action == APPROVE


def answers(version: Version, stores: Stores) -> list[Entry]:
    """What people said of exactly this file and this record."""
    entries = stores.audit.entries(_subject(version))
    judged = {"digest": version.digest, "record": version.tags.get(record.DIGEST)}
    return [
        entry
        for entry in entries
        if entry.action in {APPROVE, REJECT} and {name: entry.evidence.get(name) for name in judged} == judged
    ]


def wished(what: str, subject: str, reason: str, stores: Stores, now: datetime) -> None:
    """Enter that a person asked for something, and why, before it is tried: what is refused was asked for as well."""
    why = said_by_a_person(what, reason, stores)
    stores.audit.append(now, stores.who, ASK, subject, why, {"for": what})


def said_by_a_person(what: str, reason: str, stores: Stores) -> str:
    """The reason, trimmed; EvergreenError if there is none, or if nobody stands behind it."""
    if not reason.strip():
        raise EvergreenError(f"to {what} needs a reason; say why with --reason")
    if not stores.who.strip() or stores.who.split(":")[0].strip() in MACHINES:
        raise EvergreenError(
            f"to {what} is a person's decision; {stores.who!r} is none: use the command line or the page"
        )
    return reason.strip()


def _subject(version: Version) -> str:
    return f"model:{version.model}@{version.version}"
