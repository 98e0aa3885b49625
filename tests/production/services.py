"""Each service as processes that are started, looked after and ended as compose would do it."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.contracts import EvergreenError
from pipelines.processes import born
from tests.production.compose import Service
from tests.production.machine import Machine

FIRST_PAUSE, LONGEST_PAUSE, STEADY = 0.1, 60.0, 10.0
"""As Docker restarts: after a tenth of a second, twice as long each time, anew once it ran for ten seconds."""
CHECK_SECONDS = 60


@dataclass
class Replica:
    """One container's processes; a thread restarts what ends by itself or is killed, where the file says so."""

    machine: Machine
    service: Service
    name: str
    ends: list[tuple[float, int]] = field(default_factory=list)
    _process: "subprocess.Popen[bytes] | None" = None
    _told_to_end: threading.Event = field(default_factory=threading.Event)
    _keeper: threading.Thread | None = None

    @property
    def log(self) -> Path:
        return self.machine.home / "logs" / f"{self.name}.log"

    def start(self) -> None:
        """Begun, with its files in place; it is looked after from now on."""
        own = self.machine.own(self.name)
        (own / "tmp").mkdir(mode=0o700, parents=True, exist_ok=True)
        for target, content in self.service.configs.items():
            _private(own / Path(target).name, self.machine.here(content, self.service, self.name))
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._begin()
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {self.name}", daemon=True)
        self._keeper.start()

    def run(self) -> None:
        """To its end, which must be a good one: what the file calls service_completed_successfully."""
        self.start()
        assert self._process is not None
        if self._process.wait() != 0:
            raise EvergreenError(f"{self.name} ended with {self._process.returncode}; {self.said()}")

    def healthy(self) -> bool:
        """Whether the file's own health check says so."""
        command, environment = self.machine.check(self.service, self.name), self._environment()
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                command, env=environment, cwd="/", capture_output=True, timeout=CHECK_SECONDS
            )
            return done.returncode == 0
        return False

    def kill(self) -> float:
        """SIGKILL for the whole container, as its engine does it; the moment at which it was gone."""
        process = self._process
        if process is None:
            raise EvergreenError(f"{self.name} does not run")
        for pid in self._members(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return time.time()

    def stop(self) -> None:
        """Ended for good, softly and then for certain."""
        self._told_to_end.set()
        if self._process is None:
            return
        known = self._members(self._process.pid)
        soft = signal.SIGINT if self.service.name == "postgres" else signal.SIGTERM
        for number, patience in ((soft, 8.0), (signal.SIGKILL, 5.0)):
            for pid in known:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            until = time.monotonic() + patience
            while any(born(pid) for pid in known) and time.monotonic() < until:
                self._process.poll()
                time.sleep(0.1)

    def said(self) -> str:
        """The end of its log."""
        return f"the end of {self.log}:\n" + "\n".join(
            self.log.read_text(errors="replace").splitlines()[-15:]
        )

    def _environment(self) -> dict[str, str]:
        return self.machine.environment(self.service, self.name)

    def _members(self, leader: int) -> list[int]:
        """All of the container's processes, also those that have left it for a session and a parent elsewhere."""
        return sorted({*family(leader), *at_home(self.machine.own(self.name))})

    def _begin(self) -> None:
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self.machine.command(self.service, self.name), env=self._environment(), cwd="/",
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    def _keep(self) -> None:
        pause = FIRST_PAUSE
        while self._process is not None:
            begun = time.monotonic()
            code = self._process.wait()
            self.ends.append((time.time(), code))
            if self._told_to_end.is_set() or not self.service.restarts:
                return
            pause = FIRST_PAUSE if time.monotonic() - begun > STEADY else min(2 * pause, LONGEST_PAUSE)
            for pid in self._members(self._process.pid):  # an engine leaves nothing of a container behind
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self._told_to_end.wait(pause):
                return
            self._begin()


def family(leader: int) -> list[int]:
    """The living processes of a session, and those that their ancestors in it have begun elsewhere."""
    parents, members = {}, {leader}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                parents[int(path.parent.name)] = (int(fields[1]), int(fields[3]))
    grown = True
    while grown:
        more = {
            p for p, (parent, session) in parents.items() if session == leader or parent in members
        } - members
        members, grown = members | more, bool(more)
    return sorted(members & set(parents))


def at_home(home: Path) -> list[int]:
    """The processes that were given this HOME."""
    found, mark = [], f"HOME={home}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _private(path: Path, content: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(content)


def until(what: str, done: Callable[[], bool], seconds: float, step: float = 0.3) -> float:
    """Waits for a condition; the seconds it took, EvergreenError if it took more."""
    begun = time.monotonic()
    while not done():
        if time.monotonic() - begun > seconds:
            raise EvergreenError(f"{what}: not within {seconds:.0f} s")
        time.sleep(step)
    return time.monotonic() - begun
