"""Tells people, and never makes anything fail or wait for long: what cannot be told must not break what it reports."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from threading import Thread
from typing import Any, TypeVar

from pipelines.alerting.alert import Alert, Well
from pipelines.alerting.delivery import MOST, deliver
from pipelines.alerting.kinds import KINDS, Kind, Severity
from pipelines.alerting.message import Message, Record, message, over, record
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.watching.alerts import Kept, Telling

LOG = logging.getLogger(__name__)
SECONDS = 10.0
"""So long the store of open alerts is waited for; without it an alert is told rather twice than never."""
T = TypeVar("T")
Found = Iterable[Alert | Well]


@dataclass(frozen=True)
class Told:
    """One alert that people are to be told of now."""

    key: str
    why: Telling
    said: Record
    message: Message

    @property
    def rank(self) -> int:
        return Severity(self.message.severity).rank


def heard(found: Found, stores: Stores, now: datetime) -> None:
    """Tell what was found: once as it opens, again while it lasts or gets worse, and once when it is over.

    What raises while it is looked for ends the looking: nothing is told of it, least of all that it is over.
    """
    try:
        told = [*_new(_as_far_as_known(found), stores, now), *_due(stores, now)]
        for each in told:
            _kept_here(each, stores.settings, now)
        _delivered(told, stores, now)
    except Exception as error:
        _missed("told", error)


def _missed(what: str, error: Exception) -> None:
    """Of the error only its kind: its text may hold an address, which is a secret."""
    LOG.warning("an alert was not %s: %s", what, type(error).__name__)


def _as_far_as_known(found: Found) -> Iterator[Alert | Well]:
    try:
        yield from found
    except Exception as error:
        _missed("looked for", error)


def ended(well: Well, stores: Stores, now: datetime) -> None:
    """As `heard`, of what nearly always was well before: then it costs one look by a primary key."""
    try:
        if within(SECONDS, lambda: stores.alerts.is_open(well.key)):
            heard([well], stores, now)
    except Exception as error:
        _missed("looked for", error)


def _due(stores: Stores, now: datetime) -> list[Told]:
    """What was told long ago and is open still, whoever sees it or not, and what has not reached anybody."""
    try:
        found = within(SECONDS, lambda: stores.alerts.due(now, MOST))
    except Exception as error:
        _missed("looked for", error)
        return []
    return [Told(kept.key, why, kept.said, message(kept.said, why, kept)) for why, kept in found]


def _new(found: Found, stores: Stores, now: datetime) -> Iterator[Told]:
    """What is to be told of what was found; the store is asked no more once it did not answer."""
    silent = False
    for each in found:
        try:
            if silent:
                raise TimeoutError
            due = within(SECONDS, partial(_noted, each, stores, now))
        except Exception as error:
            if not silent:
                _missed("noted", error)
            silent, due = True, _unkept(each, stores)
        if due is not None:
            yield due


def _noted(each: Alert | Well, stores: Stores, now: datetime) -> Told | None:
    return _well(each, stores, now) if isinstance(each, Well) else _alert(each, stores, now)


def _well(well: Well, stores: Stores, now: datetime) -> Told | None:
    if not stores.alerts.is_open(well.key):
        return None
    kept = stores.alerts.over(well.key, now)
    return None if kept is None or kept.told_rank is None else _over(kept, now)


def _over(kept: Kept, now: datetime) -> Told:
    return Told(kept.key, Telling.OVER, kept.said, over(kept, now))


def _alert(alert: Alert, stores: Stores, now: datetime) -> Told | None:
    said, lasts = record(alert, stores.settings.secrets()), KINDS[alert.kind].lasts
    why = stores.alerts.seen(alert.key, alert.severity.rank, said, now, lasts)
    if why is None:
        return None
    return Told(alert.key, why, said, message(said, why, stores.alerts.kept(alert.key)))


def _unkept(each: Alert | Well, stores: Stores) -> Told | None:
    """An alert while its store is gone."""
    if isinstance(each, Well):
        return None
    said = record(each, stores.settings.secrets())
    return Told(each.key, Telling.OPENED, said, message(said, Telling.OPENED, None))


def _kept_here(told: Told, settings: Settings, now: datetime) -> None:
    """In the log and in home/alerts.jsonl, whatever else becomes of it."""
    line = json.dumps(
        {"at": now.isoformat(), "event": told.why.value, "key": told.key} | told.said, default=str
    )
    LOG.log(logging.ERROR if _news(told) else logging.INFO, "ALERT %s", line)
    try:
        path = settings.home / "alerts.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(line + "\n")
    except Exception as error:
        _missed("kept in alerts.jsonl", error)


def _news(told: Told) -> bool:
    """Whether something has begun that is wrong and lasts; what somebody has just decided is no error."""
    begun = told.why in (Telling.OPENED, Telling.RISEN) and KINDS[Kind(told.said["kind"])].lasts
    return begun and Severity(told.said["severity"]) is not Severity.INFO


def _delivered(told: list[Told], stores: Stores, now: datetime) -> None:
    """To people, if it is severe enough; what reaches nobody is tried again after a while."""
    least = Severity(stores.settings.alert_severity).rank
    going = [each for each in told if each.rank >= least]
    reached = deliver([each.message for each in going], stores.settings)
    lost = {each.key for each, there in zip(going, reached, strict=True) if not there}
    if lost:
        LOG.warning("%d alerts were not delivered", len(lost))
    for each in told:
        if each.key not in lost and each.why is not Telling.OVER:
            within(SECONDS, partial(stores.alerts.told, each.key, each.rank, now))


def within(seconds: float, work: Callable[[], T]) -> T:
    """What the work gives; TimeoutError if it has not ended by then, and nobody waits for it any more."""
    ended: list[Any] = []

    def run() -> None:
        try:
            ended.append((work(), None))
        except BaseException as error:
            ended.append((None, error))

    worker = Thread(target=run, name="alert", daemon=True)
    worker.start()
    worker.join(seconds)
    if not ended:
        raise TimeoutError
    given, error = ended[0]
    if error is not None:
        raise error
    return given  # type: ignore[no-any-return]
