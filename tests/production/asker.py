"""Questions that are asked all the time, and what came of each."""

import json
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

PAUSE, PATIENCE = 0.2, 10.0


@dataclass(frozen=True)
class Asked:
    """One question: when (seconds since the epoch), how long it took, and its answer or why there was none."""

    at: float
    seconds: float
    answer: dict[str, Any] | None
    why: str = ""


@dataclass
class Asker:
    """A caller that asks again and again until told to stop; it never asks one question twice."""

    url: str
    body: dict[str, Any]
    asked: list[Asked] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="asker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * PATIENCE)

    def withheld(self, since: float, until: float) -> list[Asked]:
        """Questions asked in this time that had no answer."""
        return [each for each in list(self.asked) if since <= each.at < until and each.answer is None]

    def answered(self) -> list[Asked]:
        return [each for each in list(self.asked) if each.answer is not None]

    def _run(self) -> None:
        while not self._end.wait(PAUSE):
            self.asked.append(ask(self.url, self.body))


def ask(url: str, body: dict[str, Any]) -> Asked:
    """One question, asked once."""
    at, begun = time.time(), time.monotonic()
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
            answer, why = dict(json.load(reply)), ""
    except urllib.error.HTTPError as error:
        answer, why = None, str(error.code)
    except (OSError, ValueError) as error:
        answer, why = None, type(error).__name__
    return Asked(at, time.monotonic() - begun, answer, why)
