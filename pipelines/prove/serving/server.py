"""The real prediction API in a process that can be killed, and callers who write down what they were told."""

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from pipelines.catalog import REFERENCE, model
from pipelines.contracts import EvergreenError
from pipelines.prove.promotion import start

URL = f"/v1/models/{REFERENCE}/predictions"
PATIENCE = 120.0


def serve(home: str, port: int, log: str) -> None:
    """The life of one server: `python -m pipelines.serving`, in a process that has imported it."""
    from pipelines.serving.__main__ import main
    from pipelines.settings import settings

    for name in [each for each in os.environ if each.startswith("EVERGREEN_")]:
        del os.environ[name]
    os.environ |= {
        "EVERGREEN_HOME": home, "EVERGREEN_SERVING_PORT": str(port), "EVERGREEN_SERVING_POLL_SECONDS": "0.05",
    }  # fmt: skip
    settings.cache_clear()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(out, number)
    raise SystemExit(main())


@dataclass
class Server:
    """One prediction API of a home; started again after each kill, on the same port."""

    home: Path
    port: int = 0
    process: ForkServerProcess | None = None

    def start(self) -> None:
        """Returns once a question was answered."""
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        self.process = start(serve, str(self.home), self.port, str(self.home / "server.log"))
        end = time.monotonic() + PATIENCE
        while asked(self.port, question(0)).status != 200:
            if time.monotonic() > end or not self.process.is_alive():
                raise EvergreenError(f"the server does not answer; see {self.home / 'server.log'}")
            self.process.join(0.02)

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
    """What a caller was told: status 0 if the connection broke."""

    question: int
    status: int
    body: dict[str, Any]
    seconds: float


def question(number: int) -> dict[str, Any]:
    """A question of its own for each number, which repeats after a thousand."""
    from pipelines.serving.schemas import example

    asked = example(model(REFERENCE))
    return {**asked, "request": {**asked["request"], "distance": 100 + number % 1000}}


def asked(port: int, body: dict[str, Any], number: int = 0) -> Reply:
    """One question over a connection of its own."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", URL, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told, status = json.loads(answer.read()), answer.status
    except (OSError, ValueError, http.client.HTTPException):
        told, status = {}, 0
    finally:
        connection.close()
    return Reply(number, status, told, time.monotonic() - begun)


@dataclass
class Callers:
    """Some threads that ask one question after the other until stopped; `replies` has all that they were told."""

    port: int
    many: int = 4
    pause: float = 0.02
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
        bodies: Sequence[dict[str, Any]] = [question(each) for each in range(1000)]
        while not self._ended.wait(self.pause):
            self.replies.append(asked(self.port, bodies[number % 1000], number % 1000))
            number += self.many
