"""Nobody who asks waits longer for a back end than a moment: after it, the answer goes on without."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
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
    """Calls into one back end, each at most `seconds` long for who calls, but the first.

    A call that takes longer goes on by itself, in a thread that holds nothing up, also not the end of the process.
    While it does, others are told at once that it hangs; one in AGAIN seconds tries.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._lock = seconds, threading.Lock()
        self._warm = False
        self._hanging: threading.Thread | None = None
        self._tried_at = float("-inf")

    @property
    def hangs(self) -> bool:
        """Whether a call has not come back from it."""
        return self._hanging is not None and self._hanging.is_alive()

    def call(self, work: Callable[[], T]) -> T:
        """What the work returns or raises; Hung if it takes too long."""
        with self._lock:
            if self.hangs and time.monotonic() - self._tried_at < AGAIN:
                raise Hung("another call hangs")
            self._tried_at = time.monotonic()
        said: list[Any] = []
        thread = threading.Thread(target=_into, args=(work, said), name="deadline", daemon=True)
        thread.start()
        seconds, self._warm = self._seconds if self._warm else FIRST, True
        thread.join(seconds)
        if not said:
            self._hanging = thread
            raise Hung(f"no answer within {seconds:g} s")
        good, result = said[0]
        if not good:
            raise result
        return result  # type: ignore[no-any-return]


def _into(work: Callable[[], Any], said: list[Any]) -> None:
    try:
        said.append((True, work()))
    except BaseException as error:
        said.append((False, error))


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
