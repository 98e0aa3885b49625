"""Asks a warm server of probes (`pipelines.serving.probing.warm`) for one; starts the server where none fits.

It is found by the digest of its surroundings, so that other code, libraries or limits have another. Secrets go over the
socket only, whose folder is this user's alone.
"""

import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pipelines.gate.surroundings import address, environment, ours
from pipelines.processes import born, same_user
from pipelines.settings import PROJECT

START = 120.0
"""Seconds until Python and its libraries are there, on a busy machine."""
PROMPT = 30.0
"""Seconds in which a server that is there has forked, on a busy machine."""
PAUSE, PATIENCE = 0.05, 5.0
END = b'{"end": true}\n'


class Asking:
    """One probe, from the moment it is asked for until it ended, or until nobody waits for it any more."""

    def __init__(self, words: Sequence[str], given: str, log: int, seconds: float) -> None:
        """A server that is there is asked now; else one is started, and asked when the exit code is wanted."""
        environ = os.environ | environment()
        asked = {"words": list(words), "environ": environ, "folder": str(PROJECT), "given": given}
        self._asked, self._log, self._seconds = json.dumps(asked).encode() + b"\n", log, seconds
        self._connection: socket.socket | None = None
        self._start: Start | None = None
        self._child: dict[str, Any] = {}
        self._heard = b""
        self._until = 0.0
        with suppress(OSError):
            path = address()
            self._connection = _connected(path)
            if self._connection:
                self._ask(self._connection)
            else:
                self._start = Start.of(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Whoever leaves before the end ends the probe, and all that it started."""
        start, self._start = self._start, None
        connection, self._connection = self._connection, None
        if start:
            start.left()
        if connection:
            self._end(connection)
            connection.close()

    def code(self) -> int:
        """The probe's exit code; negative: the signal that ended it. OSError: it could not be started."""
        connection = self._answered()
        if "error" in self._child:
            raise OSError(self._child["error"])
        told = self._told(connection, self._until) or self._end(connection)
        return int(told["status"])

    def _answered(self) -> socket.socket:
        """A connection with a child at its other end; if the first server does not get so far, from a new one."""
        for again in (False, True):
            with suppress(ConnectionError, TimeoutError):
                if self._connection is None:
                    self._connection = _reached(self._start, replaced=again)
                    self._ask(self._connection)
                self._child = self._child or self._told(self._connection, time.monotonic() + PROMPT) or {}
                if self._child:
                    return self._connection
            if self._connection:
                self._connection.close()
            self._connection = self._start = None
        raise OSError(
            "two servers of probes ended before they had forked; see the kernel's log for what ended them"
        )

    def _ask(self, connection: socket.socket) -> None:
        self._until = time.monotonic() + self._seconds
        socket.send_fds(connection, [self._asked[:1]], [self._log])
        connection.sendall(self._asked[1:])

    def _told(self, connection: socket.socket, until: float) -> dict[str, Any] | None:
        """The server's next line; None when it did not come in time, or there is nobody to say it."""
        while b"\n" not in self._heard:
            connection.settimeout(max(0.001, until - time.monotonic()))
            try:
                more = connection.recv(4096)
            except OSError:
                return None
            if not more:
                return None
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    def _end(self, connection: socket.socket) -> dict[str, Any]:
        """Whatever it does, the probe is ended, from here and by its server; either may be gone."""
        soon = time.monotonic() + PATIENCE
        self._child = self._child or self._told(connection, soon) or {}
        pid, birth = self._child.get("pid", 0), self._child.get("born")
        if birth is not None and born(pid) == birth:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        return self._told(connection, soon) or {"status": -signal.SIGKILL}


class Start:
    """A server on its way: the lock of its name is held until it listens, and from then on it holds nothing of ours."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.serving.probing.warm", str(path)],
            cwd=PROJECT,
            env=environment() | {"JE_ARROW_MALLOC_CONF": "background_thread:false"},
            stdin=lock,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @classmethod
    def of(cls, path: Path) -> "Start | None":
        """None if somebody else is starting it."""
        with path.with_suffix(".lock").open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            return cls(path, lock.fileno())

    def listening(self) -> socket.socket:
        """A connection to it as soon as it listens; OSError with its own words if it does not come to that."""
        try:
            said = self._said()
        finally:
            self.left()
        connection = _connected(self.path)
        if connection is None:
            raise OSError(said[-1]) if said else ConnectionRefusedError("the server of probes ended at once")
        return connection

    def _said(self) -> list[str]:
        """What it says until it has nothing more to say to us."""
        assert self.process.stdout  # noqa: S101 - a pipe, see above
        pipe, said, until = self.process.stdout.fileno(), b"", time.monotonic() + START
        while select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
            more = os.read(pipe, 4096)
            if not more:
                return said.decode(errors="replace").strip().splitlines()
            said += more
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        raise OSError(f"the server of probes was not there after {START:.0f} s, and was ended")

    def left(self) -> None:
        """It goes on without us."""
        if self.process.stdout:
            self.process.stdout.close()
        self.process.wait()


def end() -> None:
    """Tells this project's servers to end as soon as they are idle, and waits a moment for it."""
    with suppress(OSError):
        for path in ours():
            with suppress(OSError), _connected(path) or socket.socket() as connection:
                connection.settimeout(PATIENCE)
                connection.sendall(END)
                connection.recv(1)


def _connected(path: Path) -> socket.socket | None:
    """A connection to a server of this user; None if there is none."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PROMPT)
    try:
        connection.connect(str(path))
        if same_user(connection):
            return connection
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    connection.close()
    raise PermissionError(f"{path} is served by another user; remove it")


def _reached(start: Start | None, replaced: bool) -> socket.socket:
    """A connection to a server that fits, which is started if need be; `replaced`: to a new one in any case."""
    path, until = address(), time.monotonic() + START
    while time.monotonic() < until:
        found = None if replaced or start else _connected(path)
        start = start or (None if found else Start.of(path))
        if start:
            return start.listening()
        if found:
            return found
        time.sleep(PAUSE)
    raise OSError(f"another process has been starting a server of probes for {START:.0f} s; end it")
