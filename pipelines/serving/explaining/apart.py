"""Where explanations are made: a thread apart from those that answer, one at a time, for so many seconds at most."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TypeVar

from pipelines.serving.accounts.account import Beside

T = TypeVar("T")
Work = Callable[[Callable[[], None]], T]
"""Something to be done, which calls now and then what it is given: that raises once it is to end."""


STEP_ASIDE, LOOK = 0.1, 0.001
"""So many seconds it stands still at most each time, so that it comes to an end under load as well; and looks again."""


class Busy(Exception):
    """Another explanation is being made."""


class TooLong(Exception):
    """The time for one explanation is over, or serving ends."""


class Apart:
    """One thread, and a turn that one request has; who comes meanwhile is refused, so that nothing waits for it.

    While `answering`, the work stands still where it calls: of two threads that compute, each is slower. It is done
    inside `beside`.
    """

    def __init__(
        self, seconds: float, answering: Callable[[], bool] = lambda: False, beside: Beside = nullcontext
    ) -> None:
        self.seconds, self._answering, self._beside = seconds, answering, beside
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._taken = self._ended = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The turn of one request, in one event loop; Busy if another has it."""
        if self._taken:
            raise Busy
        self._taken = True
        try:
            yield
        finally:
            self._taken = False

    async def run(self, work: Work[T]) -> T:
        """What the work returns or raises, done in the thread; TooLong once its seconds are over."""
        until = time.monotonic() + self.seconds

        def go_on() -> None:
            aside = time.monotonic() + STEP_ASIDE
            while self._answering() and not self._ended and time.monotonic() < aside:
                time.sleep(LOOK)
            if self._ended or time.monotonic() > until:
                raise TooLong

        def done() -> T:
            with self._beside():
                return work(go_on)

        return await asyncio.get_running_loop().run_in_executor(self._pool, done)

    def close(self) -> None:
        """End what is being made, and make nothing more."""
        self._ended = True
        self._pool.shutdown(wait=True)
