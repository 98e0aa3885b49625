"""Takes messages to every address, in bounded time, whatever is there; an address is in no log and no error."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipelines.alerting.alert import Alert
from pipelines.alerting.kinds import Kind
from pipelines.alerting.message import Message, message, more, record
from pipelines.contracts import EvergreenError
from pipelines.settings import PROJECT, Settings
from pipelines.stores.watching.alerts import Telling

SECONDS = 20.0
"""So long all of it may take together; what has not ended by then counts as not delivered."""
REST = 60.0
"""So long nothing more goes to an address that did not answer in time, from this process."""
MOST = 5
"""So many messages go out at once; the rest are told as one."""
_SILENT: dict[str, float] = {}
"""When an address last did not answer in time, by its digest."""


@dataclass(frozen=True)
class Delivery:
    """What became of messages at one address: `done` in their order, None where nothing was heard in time."""

    place: int
    done: tuple[bool | None, ...]

    @property
    def whole(self) -> bool:
        return all(self.done)


def deliver(messages: Sequence[Message], settings: Settings) -> list[bool]:
    """Whether each message reached anybody; all have, where nobody is to be told."""
    asked = [each for each in settings.alert_addresses if not _resting(each)]
    if not settings.alert_addresses or not messages:
        return [True] * len(messages)
    some = (
        list(messages) if len(messages) <= MOST else [*messages[: MOST - 1], more(list(messages[MOST - 1 :]))]
    )
    found = _carried(asked, some, SECONDS)
    for address, each in zip(asked, found, strict=True):
        if None in each.done:
            _SILENT[_named(address)] = time.monotonic()
    reached = [any(each.done[number] for each in found) for number in range(len(some))]
    return reached + reached[-1:] * (len(messages) - len(some))


def tried(settings: Settings, now: datetime) -> list[Delivery]:
    """What becomes of a test message at each address, of those too that are left alone for a while."""
    what = "Evergreen can reach you"
    alert = Alert(Kind.TEST, "test", what, "somebody ran `evergreen alerts test`", "evergreen alerts", now)
    said = message(record(alert, settings.secrets()), Telling.OPENED, None)
    return _carried(settings.alert_addresses, [said], SECONDS)


def checked(settings: Settings) -> str:
    """That Apprise can use every address; EvergreenError names those it cannot by their place alone."""
    found = _carried(settings.alert_addresses, [], SECONDS)
    bad = [str(each.place) for each in found if each.done == (False,)]
    if bad:
        raise EvergreenError(
            f"alerts cannot go to address {', '.join(bad)} of {len(found)}: Apprise cannot read it; mend"
            " EVERGREEN_ALERT_URLS (or its file) and try `evergreen alerts test`"
        )
    if any(None in each.done for each in found):
        raise EvergreenError("Apprise did not say in time whether it can use the addresses; ask again")
    return f"{len(found)} addresses" if found else "nobody is told: EVERGREEN_ALERT_URLS is not set"


def _resting(address: str) -> bool:
    return time.monotonic() < _SILENT.get(_named(address), -REST) + REST


def _named(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()


def _carried(addresses: Sequence[str], messages: Sequence[Message], seconds: float) -> list[Delivery]:
    """A process of its own carries them, and is ended when its time is over; by stdin, as arguments are seen by all."""
    if not addresses:
        return []
    plain = [{"title": m.title, "body": m.body, "notify_type": m.severity} for m in messages]
    order = json.dumps({"addresses": list(addresses), "messages": plain})
    command = [sys.executable, "-m", "pipelines.alerting.courier"]
    with subprocess.Popen(
        command,
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as courier:
        try:
            said, _ = courier.communicate(order, timeout=seconds)
        except subprocess.TimeoutExpired:
            courier.kill()
            said, _ = courier.communicate()
    return _heard(said, len(addresses), len(messages))


def _heard(said: str, addresses: int, messages: int) -> list[Delivery]:
    """What the courier said, as far as it came."""
    done: list[list[bool | None]] = [[None] * max(messages, 1) for _ in range(addresses)]
    for line in said.splitlines(keepends=True):
        if not line.endswith("\n"):  # it was ended as it spoke
            break
        place, number, ok = json.loads(line)
        for each in range(max(messages, 1)) if number is None else [number]:
            done[place][each] = ok
    return [Delivery(place, tuple(each)) for place, each in enumerate(done, 1)]
