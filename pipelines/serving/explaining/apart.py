"""Where explanations are made: a thread apart from those that answer, one at a time, for so many seconds at most."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
Work = Callable[[Callable[[], None]], T]
"""Something to be done, which calls now and then what it is given: that raises once it is to end."""


class Busy(Exception):
    """Another explanation is being made."""


class TooLong(Exception):
    """The time for one explanation is over, or serving ends."""


class Apart:
    """One thread, and a turn that one request has; who comes meanwhile is refused, so that nothing waits for it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
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
            if self._ended or time.monotonic() > until:
                raise TooLong

        return await asyncio.get_running_loop().run_in_executor(self._pool, work, go_on)

    def close(self) -> None:
        """End what is being made, and make nothing more."""
        self._ended = True
        self._pool.shutdown(wait=True)
