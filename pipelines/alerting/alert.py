"""What people are told: one thing that is wrong or has happened, in the words of whoever must decide what to do."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from pipelines.alerting.kinds import KINDS, Kind, Severity

LONGEST_KEY = 200


@dataclass(frozen=True)
class Alert:
    """One alert. `subject` is what it is about, such as a model or a DAG's task; with the kind it makes the key.

    `since` is when it began, as far as is known; `look` where to look; `model` and `dataset` whose it is. `severity`
    and `act`, whether anyone must act and what they do, are the kind's unless they are said.
    """

    kind: Kind
    subject: str
    what: str
    why: str
    look: str
    since: datetime | None = None
    model: str | None = None
    dataset: str | None = None
    said_severity: Severity | None = None
    said_act: str | None = None

    @property
    def key(self) -> str:
        """By which the same thing, seen again, is known."""
        return key(self.kind, self.subject)

    @property
    def severity(self) -> Severity:
        return self.said_severity or KINDS[self.kind].severity

    @property
    def act(self) -> str:
        return self.said_act or KINDS[self.kind].act

    @property
    def runbook(self) -> str:
        """The place of the runbook that says what to do, and its gist."""
        return f"docs/how-to/be-told.md#{self.kind.anchor}: {KINDS[self.kind].runbook}"


@dataclass(frozen=True)
class Well:
    """What an alert of this kind would be about was looked at, and is as it should be."""

    kind: Kind
    subject: str

    @property
    def key(self) -> str:
        return key(self.kind, self.subject)


def key(kind: Kind, subject: str) -> str:
    """Kind and subject; of one that is too long, such as a file's name, the beginning and a digest."""
    text = f"{kind.value}:{subject}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    plain = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return plain if len(plain) <= LONGEST_KEY else f"{plain[: LONGEST_KEY - 17]}~{digest}"
