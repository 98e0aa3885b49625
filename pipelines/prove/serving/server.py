"""The real prediction API in a process that can be killed, and callers who write down what they were told."""

import http.client
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from pipelines.catalog import REFERENCE, model
from pipelines.contracts import EvergreenError
from pipelines.processes import born
from pipelines.prove.promotion import start
from pipelines.prove.servers import free_port
from pipelines.settings import PROJECT

URL = f"/v1/models/{REFERENCE}/predictions"
PATIENCE = 120.0
CROWD = 16
"""So many ask at once for the most that a server answers."""
KEPT = ("prediction_id", "version", "probability", "warnings")


def surroundings(home: str, port: int, told: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server: of our settings these, and what the shell has of others'."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")}
    own = {
        "EVERGREEN_HOME": home,
        "EVERGREEN_SERVING_PORT": str(port),
        "EVERGREEN_SERVING_POLL_SECONDS": "0.05",
    }
    return {**others, **own, **told}


def serve(home: str, port: int, log: str, more: Mapping[str, str]) -> None:
    """The life of one server: `python -m pipelines.serving`, in a process that has imported it."""
    from pipelines.serving.__main__ import main
    from pipelines.settings import settings

    told = surroundings(home, port, more)
    os.environ.clear()
    os.environ.update(told)
    settings.cache_clear()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(out, number)
    raise SystemExit(main())


class Crew(subprocess.Popen[bytes]):
    """A server of some processes, which no process of ours may begin by a fork."""

    def __init__(self, home: Path, port: int, workers: int, more: Mapping[str, str]) -> None:
        told = {**surroundings(str(home), port, more), "EVERGREEN_SERVING_WORKERS": str(workers)}
        with (home / "server.log").open("ab") as out:
            command = [sys.executable, "-m", "pipelines.serving"]
            super().__init__(command, env=told, cwd=PROJECT, stdout=out, stderr=out)

    def is_alive(self) -> bool:
        return self.poll() is None

    def join(self, seconds: float | None = None) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(seconds)


@dataclass
class Server:
    """One prediction API of a home; started again after each kill, on the same port. It is `told` more settings."""

    home: Path
    port: int = 0
    workers: int = 1
    told: Mapping[str, str] = field(default_factory=dict)
    process: ForkServerProcess | Crew | None = None

    def start(self) -> None:
        """Returns once a question was answered."""
        if not self.port:
            self.port = free_port()
        if self.workers > 1:
            self.process = Crew(self.home, self.port, self.workers, self.told)
        else:
            self.process = start(
                serve, str(self.home), self.port, str(self.home / "server.log"), dict(self.told)
            )
        end = time.monotonic() + PATIENCE
        while len(self.loaded()) < self.workers or asked(self.port, question(0)).status != 200:
            if time.monotonic() > end or not self.process.is_alive():
                raise EvergreenError(f"the server does not answer; see {self.home / 'server.log'}")
            self.process.join(0.02)

    def loaded(self) -> list[int]:
        """The processes of the server that have a champion loaded; that of a server of one is not asked."""
        files = self.home.glob("serving/workers/*/*.loaded")
        loaded = [int(file.stem) for file in files if file.read_bytes()]
        return [pid for pid in loaded if born(pid) is not None] if self.workers > 1 else [0]

    def kill(self) -> None:
        """SIGKILL, whatever it is doing."""
        assert self.process is not None  # noqa: S101 - it was started
        self.process.kill()
        self.process.join()

    def stop(self) -> None:
        """SIGTERM: it finishes what it took."""
        assert self.process is not None  # noqa: S101 - it was started
        self.process.terminate()
        self.process.join(PATIENCE)


@dataclass(frozen=True)
class Reply:
    """What a caller was told: status 0 if the connection broke. It took `seconds`, until `at` (monotonic)."""

    question: int
    status: int
    body: dict[str, Any]
    seconds: float
    at: float = 0.0


def question(number: int) -> dict[str, Any]:
    """A question of its own for each number, which repeats after a thousand."""
    from pipelines.serving.schemas import example

    asked = example(model(REFERENCE))
    return {**asked, "request": {**asked["request"], "distance": 100 + number % 1000}}


def line(port: int) -> http.client.HTTPConnection:
    """A connection, opened when it is first asked over and anew after it was closed."""
    return http.client.HTTPConnection("127.0.0.1", port, timeout=30)


def asked(port: int, body: dict[str, Any]) -> Reply:
    """One question over a connection of its own."""
    connection = line(port)
    try:
        return asked_over(connection, json.dumps(body))
    finally:
        connection.close()


def asked_over(connection: http.client.HTTPConnection, body: str, number: int = 0) -> Reply:
    """One question over a connection, which is closed if it fails."""
    begun = time.monotonic()
    try:
        connection.request("POST", URL, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told, status = json.loads(answer.read()), answer.status
    except (OSError, ValueError, http.client.HTTPException):
        connection.close()
        told, status = {}, 0
    ended = time.monotonic()
    return Reply(number, status, told, ended - begun, ended)


def told(port: int) -> dict[str, Any]:
    """What the server tells of the model; nothing if it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models/{REFERENCE}", timeout=30) as reply:
            return dict(json.load(reply))
    except (OSError, ValueError):
        return {}


@dataclass
class Callers:
    """Some threads that ask one question after the other until stopped; `replies` has what they were told.

    Each asks over one connection and pauses between two questions; with `per_second` they ask by the clock, at random
    moments, together so often.
    """

    port: int
    many: int = 4
    pause: float = 0.02
    per_second: float | None = None
    replies: list[Reply] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self) -> Iterator["Callers"]:
        threads = [threading.Thread(target=self._ask, args=(n,), daemon=True) for n in range(self.many)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                thread.join(PATIENCE)

    def _ask(self, number: int) -> None:
        bodies, connection = [json.dumps(question(each)) for each in range(1000)], line(self.port)
        pauses = self._pauses(number)
        while not self._ended.wait(next(pauses)):
            self.replies.append(_kept(asked_over(connection, bodies[number % 1000], number % 1000)))
            number += self.many
        connection.close()

    def _pauses(self, number: int) -> Iterator[float]:
        """Seconds until the next question of a caller, none where it is late."""
        if self.per_second is None:
            yield from itertools.repeat(self.pause)
            return
        chance, due = random.Random(number), time.monotonic()  # noqa: S311 - when to ask, no secret
        while True:
            due += chance.expovariate(self.per_second / self.many)
            yield max(0.0, due - time.monotonic())


def peak(port: int, seconds: float, many: int = CROWD) -> float:
    """Answers a second that so many callers get who ask again as soon as they are answered."""
    callers = Callers(port, many, pause=0.0)
    with callers.asking():
        time.sleep(seconds)
    return sum(reply.status == 200 for reply in callers.replies) / seconds


def _kept(reply: Reply) -> Reply:
    """Of an answer what is looked at afterwards; hundreds of thousands are kept."""
    if reply.status != 200:
        return reply
    return replace(reply, body={name: reply.body[name] for name in KEPT if name in reply.body})
