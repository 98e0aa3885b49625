"""Tells Airflow that files have landed. The ledger, not this event, says which are new."""

import asyncio
import time
from collections.abc import AsyncIterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

UNSETTLED = (".tmp", ".part")
REMIND_SECONDS = 60.0


def waiting(folder: Path, pattern: str) -> frozenset[tuple[str, int, int]]:
    """Name, size and modification time of each regular file that matches; links and part files are not files."""
    found = set()
    for path in folder.glob("*") if folder.is_dir() else ():
        name = path.name
        if name.startswith((".", "-")) or name.endswith(UNSETTLED) or not fnmatchcase(name, pattern):
            continue
        try:
            if path.is_file() and not path.is_symlink():
                stat = path.stat()
                found.add((name, stat.st_size, stat.st_mtime_ns))
        except OSError:
            continue
    return frozenset(found)


class LandingTrigger(BaseEventTrigger):
    """One event when the files that wait have changed and are still, with all their names.

    Ingestion moves a file out of the folder, so a file that lies there is work. One that still lies there after
    a minute is announced again: an event that got lost costs a minute.
    """

    def __init__(self, folder: str, pattern: str, poll_seconds: float = 0.5) -> None:
        super().__init__()
        self.folder, self.pattern, self.poll_seconds = folder, pattern, poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {"folder": self.folder, "pattern": self.pattern, "poll_seconds": self.poll_seconds}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        seen: frozenset[tuple[str, int, int]] = frozenset()
        told: frozenset[tuple[str, int, int]] = frozenset()
        told_at = 0.0
        while True:
            now = await asyncio.to_thread(waiting, Path(self.folder), self.pattern)
            still, due = now == seen, now - told or time.monotonic() - told_at > REMIND_SECONDS
            if now and still and due:
                told, told_at = now, time.monotonic()
                yield TriggerEvent({"files": sorted(name for name, _, _ in now)})
            seen = now
            await asyncio.sleep(self.poll_seconds)
