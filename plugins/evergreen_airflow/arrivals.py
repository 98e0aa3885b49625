"""Tells Airflow that files have landed. The ledger, not this event, says which are new."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Hashable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from airflow.sdk import AssetWatcher
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from pipelines.contracts import EvergreenError

LOG = logging.getLogger(__name__)
File = tuple[str, int, int]
"""Name, size and modification time (ns)."""
Look = frozenset[File]

UNSETTLED = (".tmp", ".part")
REMIND_SECONDS = 60.0
INBOX_SECONDS = 5.0
"""Between two lists of an object store, each of which is paid for."""
NAMED = 100
"""An event names so many files at most: it is kept in Airflow's database."""
REMEMBERED = 500
"""More would pass Airflow's limit for an asset's state; a file forgotten is announced twice, which is harmless."""
MEMORY = "told"
QUEUES = {"kafka": "topics", "redis+pubsub": "channels"}


def lying(folder: str, inbox: str | None = None) -> Look:
    """Each regular file in a folder that may be ours: no link, no hidden or part file, a name that can be printed.

    And each file in an inbox on an object store, where one that cannot be asked now holds none.
    """
    found = _arrived(inbox) if inbox else frozenset()
    try:
        with os.scandir(folder) as entries:
            return found | frozenset(_files(entries))
    except OSError:
        return found


def _arrived(inbox: str) -> Look:
    from pipelines.stores.shared.objects import Objects

    try:
        looks = Objects(inbox).looks()
    except EvergreenError as error:
        LOG.warning("%s", error)
        return frozenset()
    return frozenset((name, size, at) for name, size, at in looks if "/" not in name and _ours(name))


def _ours(name: str) -> bool:
    return not name.startswith((".", "-")) and not name.endswith(UNSETTLED) and name.isprintable()


def matching(look: Look, pattern: str) -> Look:
    return frozenset(file for file in look if fnmatchcase(file[0], pattern))


def _files(entries: Iterator["os.DirEntry[str]"]) -> Iterator[File]:
    for entry in entries:
        name = entry.name
        if not _ours(name):
            continue
        try:
            if entry.is_file(follow_symlinks=False):
                stat = entry.stat(follow_symlinks=False)
                yield name, stat.st_size, stat.st_mtime_ns
        except OSError:
            continue


@dataclass(frozen=True)
class Told:
    """What was announced last, and when (seconds since the epoch, so that it holds after a restart)."""

    files: Look = frozenset()
    at: float = 0.0

    def due(self, settled: Look, remind: float) -> bool:
        """Whether there is something to say: a file not announced yet, or one that has waited too long."""
        return bool(settled - self.files or (settled and not 0 <= time.time() - self.at <= remind))

    def plain(self) -> dict[str, Any]:
        return {"at": self.at, "files": [list(file) for file in sorted(self.files)[:REMEMBERED]]}

    @classmethod
    def of(cls, plain: Any) -> "Told":
        """What `plain` wrote; nothing if that cannot be read."""
        try:
            files = frozenset((str(name), int(size), int(at)) for name, size, at in plain["files"])
            return cls(files, float(plain["at"]))
        except (KeyError, TypeError, ValueError):
            return cls()


class LandingTrigger(BaseEventTrigger):
    """One event for all files that have come to rest since the last, remembered across restarts.

    Ingestion moves a file out of the folder, so a file that lies there is work. One that still lies there after
    a minute is announced again: an event that got lost costs a minute. All triggers on a folder share one look.
    """

    def __init__(
        self,
        folder: str,
        pattern: str,
        poll_seconds: float = 0.5,
        remind_seconds: float = REMIND_SECONDS,
        inbox: str | None = None,
    ) -> None:
        super().__init__()
        self.folder, self.pattern, self.inbox = folder, pattern, inbox
        self.poll_seconds, self.remind_seconds = poll_seconds, remind_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("folder", "pattern", "poll_seconds", "remind_seconds", "inbox")
        return f"{type(self).__module__}.{type(self).__qualname__}", {n: getattr(self, n) for n in names}

    def shared_stream_key(self) -> Hashable:
        return "landing", os.path.realpath(self.folder), self.poll_seconds, self.inbox

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Look]:
        while True:
            yield await asyncio.to_thread(lying, kwargs["folder"], kwargs.get("inbox"))
            await asyncio.sleep(max(kwargs["poll_seconds"], INBOX_SECONDS if kwargs.get("inbox") else 0.0))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """The same without a triggerer that shares looks."""
        async for event in self.filter_shared_stream(self.open_shared_stream(self.serialize()[1])):
            yield event

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Look]) -> AsyncIterator[TriggerEvent]:
        told, before = await self._recall(), Look()
        async for look in shared_stream:
            now = matching(look, self.pattern)
            settled, before = now & before, now
            # A file that has left and comes back is news, even with its old modification time.
            told = Told(told.files & now, told.at)
            if told.due(settled, self.remind_seconds):
                told = Told(settled, time.time())
                names = sorted(name for name, _, _ in settled)
                yield TriggerEvent({"files": names[:NAMED], "count": len(names)})
                await self._remember(told)

    async def _recall(self) -> Told:
        try:
            return Told.of(await self.asset_state_store.aget(MEMORY)) if self.asset_state_store else Told()
        except Exception as error:
            return self._forgetful(error)

    async def _remember(self, told: Told) -> None:
        try:
            if self.asset_state_store:
                await self.asset_state_store.aset(MEMORY, told.plain())
        except Exception as error:
            self._forgetful(error)

    def _forgetful(self, error: Exception) -> Told:
        """Memory only spares an idle run after a restart: without it the trigger goes on."""
        self.log.warning("the trigger on %s works without memory: %s", self.folder, error)
        return Told()


def queue_watcher(address: str, dataset: str) -> AssetWatcher:
    """Wakes ingestion by any message on a queue, such as redis+pubsub://landing or kafka://landing.{dataset}.

    The broker's address and password are Airflow's connection (redis_default, kafka_default); more of the
    trigger's options may follow as ?poll_interval=1. EvergreenError names what is missing.
    """
    parts = urlsplit(address.replace("{dataset}", dataset))
    options = _options(parts.scheme, parts.netloc + parts.path, dict(parse_qsl(parts.query)))
    try:
        from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger

        trigger = MessageQueueTrigger(scheme=parts.scheme, **options)
        trigger.serialize()  # finds the queue's own provider, or does not
    except TypeError as error:
        raise EvergreenError(f"EVERGREEN_ARRIVAL_QUEUE={address}: mend its options; {error}") from error
    except (ImportError, ValueError) as error:
        raise EvergreenError(
            f"EVERGREEN_ARRIVAL_QUEUE={address} needs Airflow's messaging provider for {parts.scheme}: "
            f"install evergreen[production] ({error})"
        ) from error
    return AssetWatcher(name=f"queue_{dataset}", trigger=trigger)


def _options(scheme: str, names: str, asked: dict[str, str]) -> dict[str, Any]:
    if scheme not in QUEUES or not names:
        kinds = " or ".join(f"{kind}://name" for kind in QUEUES)
        raise EvergreenError(f"EVERGREEN_ARRIVAL_QUEUE must look like {kinds}, not {scheme}://{names}")
    seconds = {
        name: float(value) for name, value in asked.items() if name in {"poll_interval", "poll_timeout"}
    }
    plain: dict[str, Any] = {"poll_interval": 1.0, **asked, **seconds, QUEUES[scheme]: names.split(",")}
    if scheme == "kafka":
        plain.setdefault("apply_function", f"{__name__}.said")
    return plain


def said(message: Any) -> str:
    """What a Kafka message wakes ingestion with; its text is for people, the ledger says what is new."""
    value = message.value()
    return value.decode(errors="replace")[:1000] if value else "message"
