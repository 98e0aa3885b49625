"""How an alert reads: a title and a few lines of plain text, whatever the facts in it are called."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.alerting.alert import Alert
from pipelines.contracts import as_json
from pipelines.stores.watching.alerts import Kept, Telling

LONGEST_LINE, LONGEST_TITLE = 1000, 150
HIDDEN = "***"
LEADS = {Telling.RISEN: "worse: ", Telling.REMINDED: "still: "}
Record = dict[str, Any]
"""An alert as it is kept and told: plain JSON."""


@dataclass(frozen=True)
class Message:
    """What goes to people, and how severe it is."""

    title: str
    body: str
    severity: str


def record(alert: Alert, secrets: Iterable[str]) -> Record:
    """What an alert says, without the secrets that an error's text may hold."""
    names = ("what", "why", "act", "look", "runbook", "model", "dataset")
    said = {name: _without(getattr(alert, name), secrets) for name in names}
    return {"kind": alert.kind.value, "severity": alert.severity.value, "since": as_json(alert.since)} | said


def _without(text: str | None, secrets: Iterable[str]) -> str | None:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN) if text else text
    return text


def message(said: Record, why: Telling, kept: Kept | None) -> Message:
    """An alert in words: what, since when, why, whether to act, where to look, and the runbook."""
    lead = LEADS.get(why, "")
    lines = {
        "Since": _since(said, kept),
        "Why": said["why"],
        "Act": said["act"],
        "Look": said["look"],
        "Runbook": said["runbook"],
    }
    body = "\n".join(f"{name}: {plain(text)}" for name, text in lines.items() if text)
    title = plain(f"[{said['severity']}] {lead}{said['what']}", LONGEST_TITLE)
    return Message(title, f"{plain(said['what'])}\n{body}", said["severity"])


def over(kept: Kept, now: datetime) -> Message:
    """That what an alert told of is so no more."""
    said = kept.said
    body = f"{plain(said['what'])}\nOver since: {_moment(now)}\nSince: {_since(said, kept)}\nAct: No. It is over."
    return Message(plain(f"[over] {said['what']}", LONGEST_TITLE), body, said["severity"])


def more(messages: list[Message]) -> Message:
    """Many alerts at once in one message: their titles."""
    worst = max(messages, key=lambda each: ["info", "warning", "critical"].index(each.severity)).severity
    titles = "\n".join(each.title for each in messages[:20])
    return Message(f"[{worst}] {len(messages)} more alerts", f"{titles}\nLook: evergreen alerts", worst)


def _since(said: Record, kept: Kept | None) -> str:
    since = datetime.fromisoformat(said["since"]) if said["since"] else kept and kept.opened_at
    seen = f", seen {kept.count} times" if kept and kept.count > 1 else ""
    return f"{_moment(since)}{seen}" if since else ""


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def plain(text: str, longest: int = LONGEST_LINE) -> str:
    """One line that is data wherever it is shown: nothing in it calls people, and no sign steers what shows it."""
    kept = "".join(sign if sign.isprintable() else " " for sign in text.encode("utf-8", "replace").decode())
    called = re.sub(r"@(?=\w)|<(?=[!@#])", lambda found: f"{found[0]}\u200b", " ".join(kept.split()))
    return called if len(called) <= longest else f"{called[: longest - 1]}…"
