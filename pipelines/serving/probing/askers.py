"""Who asks the warm server, over its socket: each gets a child, and learns how it ended.

One line of JSON comes with the file for what the child says; the child's pid goes back at once, its exit code at the
end. Who leaves earlier ends the child with all that it started. Nothing of one asker reaches the child of another.
"""

import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.processes import born, same_user

TICK = 1.0
FIRST = 30.0
"""Seconds in which who started a server asks it, also when a newer one came in between."""
LARGEST = 1 << 24
END = b'{"end": true}\n'


@dataclass
class Asker:
    """A connection, what came over it until now, and the child that answers it."""

    connection: socket.socket
    said: bytearray = field(default_factory=bytearray)
    files: list[int] = field(default_factory=list)
    child: int = 0

    def tell(self, **what: Any) -> None:
        with suppress(OSError):
            self.connection.send(json.dumps(what).encode() + b"\n")

    def close(self) -> None:
        self.connection.close()
        while self.files:
            os.close(self.files.pop())


@dataclass(frozen=True)
class Asked:
    """What a child has to become."""

    words: list[str]
    environ: dict[str, str]
    folder: str
    given: str
    log: int


class Server:
    """One socket, everybody who asks over it, and their children; one thread, which waits for all of them."""

    def __init__(self, path: Path, idle: float) -> None:
        self.path, self.idle, self.last = path, idle, time.monotonic()
        self.pid, self.leaving, self.used = os.getpid(), False, False
        self.askers: list[Asker] = []
        self.waiting: list[Asker] = []
        """Those who told it to end, and learn that it did by the end of their connection."""
        self.selector = selectors.DefaultSelector()
        self.listener = self._listening()
        self.known = path.lstat()
        self.heard, self.woken = socket.socketpair()
        self._signals()

    def serve(self) -> Asked | None:
        """In the server: until it ends. In each child: what it has to become."""
        while not self._over():
            for key, _ in self.selector.select(TICK):
                if key.fileobj.fileno() >= 0:  # type: ignore[union-attr]
                    asked: Asked | None = key.data()
                    if asked:
                        return asked
        return None

    def close(self) -> None:
        """Nothing of it is left open; its files go with the server, not with a child."""
        if os.getpid() == self.pid:
            self._unlink()
        signal.set_wakeup_fd(-1)
        for asker in [*self.askers, *self.waiting]:
            asker.close()
        self.selector.close()
        for end in (self.listener, self.heard, self.woken):
            end.close()

    def _listening(self) -> socket.socket:
        """A socket that is there from one moment to the next, in the place of whatever had the name."""
        listener = socket.socket(socket.AF_UNIX)
        part = self.path.with_suffix(f".{self.pid}")
        listener.bind(str(part))
        part.chmod(0o600)
        listener.listen(64)
        listener.setblocking(False)
        part.replace(self.path)
        self.selector.register(listener, selectors.EVENT_READ, self._accept)
        return listener

    def _signals(self) -> None:
        for end in (self.heard, self.woken):
            end.setblocking(False)
        self.selector.register(self.heard, selectors.EVENT_READ, self._reap)
        signal.signal(signal.SIGCHLD, _noticed)
        signal.signal(signal.SIGTERM, self._ended)
        signal.set_wakeup_fd(self.woken.fileno(), warn_on_full_buffer=False)

    def _over(self) -> bool:
        """Idle long enough, which is at once if it is not wanted any more and somebody was ever answered."""
        now = time.monotonic()
        if self.askers:
            self.last = now
            return False
        idle = now - self.last
        unwanted = (self.leaving or not self._ours()) and (self.used or idle > FIRST)
        return unwanted or idle > self.idle

    def _ours(self) -> bool:
        """Whether who looks for the socket finds this one."""
        try:
            known = self.path.lstat()
        except OSError:
            return False
        return (known.st_dev, known.st_ino) == (self.known.st_dev, self.known.st_ino)

    def _unlink(self) -> None:
        if self._ours():
            self.path.unlink(missing_ok=True)
            self.path.with_suffix(".lock").unlink(missing_ok=True)

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self.listener.accept()
            connection.setblocking(False)
            asker = Asker(connection)
            if not same_user(connection):
                asker.close()
                return
            self.askers.append(asker)
            self.selector.register(connection, selectors.EVENT_READ, self._hearing(asker))

    def _hearing(self, asker: Asker) -> Callable[[], Asked | None]:
        return lambda: self._hear(asker)

    def _hear(self, asker: Asker) -> Asked | None:
        try:
            data, files, _, _ = socket.recv_fds(asker.connection, 1 << 16, 4)
        except BlockingIOError:
            return None
        except OSError:
            data, files = b"", []
        asker.files += files
        asker.said += data
        if not data or len(asker.said) > LARGEST or asker.child:
            self._left(asker)
        elif bytes(asker.said) == END:
            self._leave(asker)
        elif asker.said.endswith(b"\n"):
            return self._answer(asker)
        return None

    def _answer(self, asker: Asker) -> Asked | None:
        """A child for who asks; in the child, what it has to become."""
        try:
            asked = Asked(**json.loads(asker.said), log=asker.files[0])
            pid = os.fork()
        except (OSError, ValueError, TypeError, IndexError) as error:
            asker.tell(error=f"{type(error).__name__}: {error}")
            self._left(asker)
            return None
        if pid == 0:
            asker.files.clear()
            return asked
        asker.child, self.used = pid, True
        os.close(asker.files.pop())
        asker.said.clear()
        asker.tell(pid=pid, born=born(pid))
        return None

    def _leave(self, asker: Asker) -> None:
        """Told to end: as soon as nobody is answered, and who started it had time to ask."""
        self.leaving = True
        self.selector.unregister(asker.connection)
        self.askers.remove(asker)
        self.waiting.append(asker)

    def _left(self, asker: Asker) -> None:
        """Nobody waits for it any more, or only for its end."""
        self.selector.unregister(asker.connection)
        if asker.child:
            _kill(asker.child)
        else:
            self.askers.remove(asker)
            asker.close()

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            while self.heard.recv(4096):
                pass
        for asker in [asker for asker in self.askers if asker.child]:
            pid, status = os.waitpid(asker.child, os.WNOHANG)
            if pid:
                _kill_group(pid)  # what it started and left behind
                asker.tell(status=os.waitstatus_to_exitcode(status))
                self.askers.remove(asker)
                with suppress(KeyError, ValueError):
                    self.selector.unregister(asker.connection)
                asker.close()

    def _ended(self, *_: Any) -> None:
        self.leaving = self.used = True
        for asker in self.askers:
            if asker.child:
                _kill(asker.child)


def _noticed(*_: Any) -> None:
    """The byte on the wake-up socket tells of it."""


def _kill(child: int) -> None:
    """A child that was not yet waited for, and its group once it has one."""
    _kill_group(child)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def _kill_group(leader: int) -> None:
    """The number is not given to others as long as one of the group lives."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
