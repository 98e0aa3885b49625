"""Nobody who asks waits longer for a back end than a moment: after it, the answer goes on without."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from pipelines.catalog import ModelSpec
from pipelines.serving.sources import FeatureSource
from pipelines.stores.feature_store.online_values import Asked, Online

T = TypeVar("T")
FIRST = 30.0
"""So many seconds the first call may take, which imports and opens what the others find open."""
AGAIN = 5.0
"""So many seconds after one call hung the next may try; until then the back end is taken to be gone."""


class Hung(Exception):
    """It did not answer in time, or another call hangs in it."""


class Deadline:
    """Calls into one back end, each at most `seconds` long for who calls, but the first, which may take `first`.

    A call that takes longer goes on by itself, in a thread that holds nothing up, also not the end of the process.
    While it does, others are told at once that it hangs; one in AGAIN seconds tries.
    """

    def __init__(self, seconds: float, first: float = FIRST) -> None:
        self._seconds, self._first, self._lock = seconds, first, threading.Lock()
        self._warm = False
        self._idle: list[_Caller] = []
        self._hanging: SimpleQueue[Any] | None = None
        self._tried_at = float("-inf")

    @property
    def hangs(self) -> bool:
        """Whether a call has not come back from it."""
        return self._hanging is not None and self._hanging.empty()

    def call(self, work: Callable[[], T]) -> T:
        """What the work returns or raises; Hung if it takes too long."""
        with self._lock:
            if self.hangs and time.monotonic() - self._tried_at < AGAIN:
                raise Hung("another call hangs")
            self._tried_at = time.monotonic()
            caller = self._idle.pop() if self._idle else _Caller(self._idle)
            seconds, self._warm = self._seconds if self._warm else self._first, True
        said = caller.ask(work)
        try:
            good, result = said.get(timeout=seconds)
        except Empty:
            self._hanging = said
            raise Hung(f"no answer within {seconds:g} s") from None
        if not good:
            raise result
        return result  # type: ignore[no-any-return]


class _Caller(threading.Thread):
    """Calls one thing after another; between two it is among the idle."""

    def __init__(self, idle: "list[_Caller]") -> None:
        super().__init__(name="deadline", daemon=True)
        self._idle, self._asked = idle, SimpleQueue[tuple[Callable[[], Any], SimpleQueue[Any]]]()
        self.start()

    def ask(self, work: Callable[[], Any]) -> "SimpleQueue[Any]":
        """Where it will say whether the work was good, and what it returned or raised."""
        said = SimpleQueue[Any]()
        self._asked.put((work, said))
        return said

    def run(self) -> None:
        while True:
            work, said = self._asked.get()
            try:
                told = True, work()
            except BaseException as error:
                told = False, error
            self._idle.append(self)
            said.put(told)
            del work, said, told


class PromptFeatures:
    """A feature source that answers or raises within a deadline."""

    def __init__(self, source: FeatureSource, seconds: float) -> None:
        self._source, self._deadline = source, Deadline(seconds)

    def online_rows(
        self, names: Sequence[str], asked: Sequence[Asked], views: Mapping[str, int] | None = None
    ) -> Sequence[Online]:
        return self._deadline.call(lambda: self._source.online_rows(names, asked, views))

    def feature_names(self, spec: ModelSpec) -> list[str]:
        return self._source.feature_names(spec)
