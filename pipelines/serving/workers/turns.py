"""When a version begins to answer: in all processes of a server from one moment on."""

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol

from pipelines.places import whole

PATIENCE = 10.0
"""Seconds that a version waits for processes that do not load it; then it answers where it is loaded."""
TURN = "turn.json"


class Turns(Protocol):
    """Says when a version that is loaded may answer."""

    def offer(self, model: str, version: int) -> None:
        """This process has the version loaded."""

    def agreed(self, model: str, version: int) -> bool:
        """Whether it may answer, as all processes have it, or have waited for long enough."""

    def told(self, model: str, version: int) -> bool:
        """Whether another process has said that it may; asked before each answer while a version waits."""


class Alone:
    """The turns of a server of one process."""

    def offer(self, model: str, version: int) -> None:
        """Nobody else need know."""

    def agreed(self, model: str, version: int) -> bool:
        return True

    def told(self, model: str, version: int) -> bool:
        return True


class Together:
    """The turns of processes that share a folder: each keeps a file there that says what it has loaded.

    The file is locked as long as its process lives, so nobody waits for one that was killed. Whoever finds that all
    have a version says so in one write; from then on no process begins an answer with the version before.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._own = folder, folder / f"{name or os.getpid()}.loaded"
        self._loaded: dict[str, int] = {}
        self._since: dict[str, float] = {}
        self._lock, self._held = threading.Lock(), self._hold()
        self._read_at, self._turn = -1, dict[str, int]()

    def offer(self, model: str, version: int) -> None:
        with self._lock:
            self._loaded[model], self._since[model] = version, time.monotonic()
            self._held.seek(0)
            self._held.truncate()
            self._held.write(json.dumps(self._loaded).encode())

    def agreed(self, model: str, version: int) -> bool:
        if self.told(model, version):
            return True
        waited = time.monotonic() - self._since.get(model, float("inf"))
        if waited < PATIENCE and any(others.get(model) != version for others in self._others()):
            return False
        self._tell(model, version)
        return True

    def told(self, model: str, version: int) -> bool:
        return self._now().get(model) == version

    def _hold(self) -> IO[bytes]:
        file = self._own.open("w+b", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def _others(self) -> Iterator[Mapping[str, int]]:
        """What the other processes have loaded; the file of one that has ended goes."""
        for path in self._folder.glob("*.loaded"):
            if path == self._own:
                continue
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield _read(file.read())
                else:
                    path.unlink(missing_ok=True)

    def _now(self) -> Mapping[str, int]:
        """Of each model the version whose turn it is; read anew once it was written anew."""
        try:
            stamp = (self._folder / TURN).stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if stamp != self._read_at:
            self._turn, self._read_at = _read((self._folder / TURN).read_bytes()), stamp
        return self._turn

    def _tell(self, model: str, version: int) -> None:
        with (self._folder / "turn.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path = self._folder / TURN
            known = _read(path.read_bytes()) if path.exists() else {}
            with whole(path) as part:
                part.write_text(json.dumps({**known, model: version}))


def _read(content: bytes) -> dict[str, int]:
    """What a process wrote; nothing where it is just writing."""
    try:
        return dict(json.loads(content or b"{}"))
    except ValueError:
        return {}
