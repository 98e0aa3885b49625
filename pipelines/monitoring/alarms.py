"""An alert of Alertmanager that asks for a training becomes a signal; the policy of the model decides on it.

Only an alert that says so asks (the labels `retrain="true"`, `model` and `cause`): one about machinery is never drift.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pipelines.contracts import Cause, EvergreenError, Signal
from pipelines.stores import Stores
from pipelines.stores.audit import events

MOST = 1000
ASKING, CAUSES = ("retrain", "true"), {cause.value: cause for cause in (Cause.DRIFT, Cause.DECAY)}
NAME, NUMBER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}"), re.compile(r"[1-9][0-9]{0,8}")
SKEW = timedelta(minutes=5)
"""So far two machines' clocks may lie apart."""
Text = Annotated[str, StringConstraints(max_length=2000)]


class Alert(BaseModel):
    """One alert of a notice; what else Alertmanager says of it is not read."""

    model_config = ConfigDict(frozen=True)
    status: Literal["firing", "resolved"]
    labels: Annotated[dict[Text, Text], Field(max_length=100)]
    since: AwareDatetime = Field(alias="startsAt")

    @property
    def asks(self) -> bool:
        """Whether it fires and is one that asks for a training."""
        return self.status == "firing" and self.labels.get(ASKING[0]) == ASKING[1]


class Notice(BaseModel):
    """What Alertmanager posts to a webhook, version 4."""

    model_config = ConfigDict(frozen=True)
    version: Literal["4"]
    alerts: Annotated[list[Alert], Field(max_length=MOST)]


@dataclass(frozen=True)
class Asked:
    """An alert that was understood: which one asks for a training of which model, why and since when.

    `version` is the champion that it is about; None where it does not say.
    """

    alert: str
    model: str
    cause: Cause
    since: datetime
    version: int | None


class Outcome(StrEnum):
    """What became of an alert that asks: a new signal; one that is known; or none, as its version is not champion."""

    RECORDED = "recorded"
    KNOWN = "known"
    OUTDATED = "outdated"


def read(body: bytes) -> Notice:
    """The notice in a body; EvergreenError says what kind of fault it has, in no word of its own."""
    try:
        return Notice.model_validate_json(body)
    except ValidationError as error:
        kinds = sorted({each["type"] for each in error.errors(include_input=False, include_url=False)})
        raise EvergreenError(f"this is no notice of Alertmanager's version 4: {', '.join(kinds)}") from None


def asked(alert: Alert, models: Collection[str], now: datetime) -> Asked:
    """What an alert asks for; EvergreenError where its labels are none that a rule of ours has."""
    labels = alert.labels
    name, model, version = (labels.get(key, "") for key in ("alertname", "model", "version"))
    if model not in models:
        raise EvergreenError("its label `model` names no model of the catalog")
    if labels.get("cause") not in CAUSES:
        raise EvergreenError(f"its label `cause` is none of {', '.join(CAUSES)}")
    if not NAME.fullmatch(name) or (version and not NUMBER.fullmatch(version)):
        raise EvergreenError("its label `alertname` is no name, or `version` no number of a version")
    if alert.since > now + SKEW:
        raise EvergreenError("it fires since a moment that is still to come")
    cause, since = CAUSES[labels["cause"]], alert.since.astimezone(UTC)
    return Asked(name, model, cause, since, int(version) if version else None)


def take(wanted: Asked, stores: Stores, now: datetime, wake: Callable[[str], None]) -> Outcome:
    """Record the signal, wake the model's retraining, and tell the audit log: once per champion and `since`.

    Cut off anywhere, it is done again when the alert is sent again, as the entry in the log comes last.
    """
    champion = stores.tracking.champion(wanted.model)
    if champion is None or wanted.version not in (None, champion.version):
        return Outcome.OUTDATED
    detail = f"the alert {wanted.alert} fires since {wanted.since:%Y-%m-%d %H:%M:%S} UTC"
    signal = Signal(wanted.model, champion.version, wanted.since, wanted.cause, detail, now)
    stores.signals.record(signal)
    if events.was_signalled(signal, stores):
        return Outcome.KNOWN
    wake(wanted.model)
    events.signalled(signal, stores)
    return Outcome.RECORDED
