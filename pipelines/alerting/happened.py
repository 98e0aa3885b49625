"""What to tell of decisions: verdicts, champions that came and went, rollouts, trainings that somebody forced.

All of it stands in the audit log; an entry's number names the alert, so that who looks next tells it no second time.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pipelines.alerting.alert import Alert
from pipelines.alerting.kinds import Kind, Severity
from pipelines.promotion import champions
from pipelines.promotion.approval import MACHINES
from pipelines.promotion.champions import FOREIGN, PROMOTE, ROLLBACK
from pipelines.promotion.promote import OVERRIDDEN
from pipelines.rollout import moves
from pipelines.stores import Stores
from pipelines.stores.audit.log import Entry

YOUNG = timedelta(days=1)
"""What was decided longer ago is told no more: nobody needs old news on the first day."""
NEWEST = 5
FORCE = "force"


def judged(verdict: Mapping[str, Any]) -> Iterator[Alert]:
    """A candidate that its gate refused."""
    if verdict["decision"] != "FAIL":
        return
    model, version = verdict["model"], verdict["version"]
    failed = [rule for rule in verdict["rules"] if rule["decision"] == "FAIL"]
    yield Alert(
        kind=Kind.GATE_FAILED,
        subject=f"{model}@{version}",
        what=f"{model} version {version} did not pass its gate",
        why="; ".join(f"{rule['name']}: {rule['explanation']}" for rule in failed),
        look=f"evergreen why {model}@{version}",
        since=datetime.fromisoformat(verdict["judged_at"]),
        model=model,
    )


def decided(model: str, stores: Stores, now: datetime) -> Iterator[Alert]:
    """What machines and people decided of a model within the last day."""
    subjects = (champions.subject(model), moves.subject(model), f"model:{model}")
    for subject in subjects:
        action = FORCE if subject == subjects[-1] else None
        for entry in stores.audit.entries(subject, action, limit=NEWEST):
            kind = _kind(entry)
            if kind is not None and now - entry.at < YOUNG:
                yield _alert(model, kind, entry)


def _kind(entry: Entry) -> Kind | None:
    if entry.action == PROMOTE:
        overridden = entry.evidence["decision"] == OVERRIDDEN
        return Kind.CHAMPION_OVERRIDE if overridden else Kind.CHAMPION_CHANGED
    kinds = {
        ROLLBACK: Kind.CHAMPION_ROLLED_BACK,
        FOREIGN: Kind.CHAMPION_OVERRIDE,
        moves.TAKE_BACK: Kind.ROLLOUT_TAKEN_BACK,
        FORCE: Kind.TRAINING_FORCED,
    }
    return kinds.get(entry.action)


def _alert(model: str, kind: Kind, entry: Entry) -> Alert:
    by_hand = entry.who.split(":")[0].strip() not in MACHINES
    calm = kind is Kind.ROLLOUT_TAKEN_BACK and by_hand
    return Alert(
        kind=kind,
        subject=f"{model}#{entry.number}",
        what=_what(model, entry),
        why=f"{entry.why} (by {entry.who})",
        look=f"evergreen why {model}",
        since=entry.at,
        model=model,
        said_severity=Severity.WARNING if calm else None,
    )


def _what(model: str, entry: Entry) -> str:
    said = entry.evidence
    if entry.action == FORCE:
        return f"{model}: a training was forced"
    if entry.action == moves.TAKE_BACK:
        return f"{model}: the rollout of version {said['version']} was taken back"
    ways = {PROMOTE: "promoted", ROLLBACK: "rolled back to", FOREIGN: "found, moved in MLflow by somebody"}
    over = " in spite of its gate" if said.get("decision") == OVERRIDDEN else ""
    return f"{model}: version {said['champion']} is champion, {ways[entry.action]}{over}"
