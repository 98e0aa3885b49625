"""The few threads that answer, and the queue before them: what waits together is answered together."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

Together = Callable[[Sequence[Any]], Sequence[Any]]
"""Answers some questions at once, each in its place: what it is, or the exception that it raises."""
MOST = 64
"""Rows that are answered at once."""
FIRST_GUESS = 0.02
"""Seconds of one answer, until some have been given."""
NEWEST = 0.1
"""Of the newest answers in the mean of how long one takes."""


class Busy(Exception):
    """More is asked than can be answered in time; `retry_after` seconds from now it may be another matter."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            f"serving is busy, and this question would wait too long; ask again in {retry_after} s"
        )
        self.retry_after = retry_after


@dataclass(frozen=True)
class _Waiting:
    question: Any
    weight: int
    answer: "asyncio.Future[Any]"
    since: float = field(default_factory=time.monotonic)


class Lane:
    """Questions come in from one event loop and are answered in order by `threads` threads.

    While a thread answers, others come and wait; the next time those for one model go together, as an estimator takes
    a hundred rows hardly longer than one. Nobody waits longer than `patience` seconds for his turn: who is expected to
    is refused as he comes, and who did, as something held the threads up, when it is his turn. `within` counts the
    rows that were asked about and have no answer yet.
    """

    def __init__(self, threads: int, patience: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="answer")
        self._threads, self._free, self._patience = threads, threads, patience
        self._queues: dict[Together, deque[_Waiting]] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self.within, self._seconds = 0, FIRST_GUESS

    async def ask(self, together: Together, question: Any, weight: int = 1) -> Any:
        """The question's answer, or Busy; `weight` is how many rows it asks about, which are answered together."""
        if self.expected() > self._patience:
            raise self._busy()
        waiting = _Waiting(question, weight, asyncio.get_running_loop().create_future())
        self._queues.setdefault(together, deque()).append(waiting)
        self.within += weight
        try:
            self._begin()
            return await waiting.answer
        finally:
            self.within -= weight

    def expected(self) -> float:
        """Seconds that who comes now will wait for his turn, by how long answers took of late."""
        return max(0, self.within - self._threads + 1) * self._seconds / self._threads

    def close(self) -> None:
        """Finish what was begun, and begin nothing more."""
        self._pool.shutdown(wait=True)

    def _begin(self) -> None:
        """Give every free thread something to do; models take turns."""
        while self._free and self._queues:
            together = next(iter(self._queues))
            queue = self._queues.pop(together)
            taken = self._in_time(_first(queue))
            if queue:
                self._queues[together] = queue
            if taken:
                self._free -= 1
                task = asyncio.ensure_future(self._answer(together, taken))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _in_time(self, taken: list[_Waiting]) -> list[_Waiting]:
        """Those that have not waited too long; the others are told."""
        now, kept = time.monotonic(), []
        for waiting in taken:
            if waiting.answer.done():
                continue
            if now - waiting.since > self._patience:
                waiting.answer.set_exception(self._busy())
            else:
                kept.append(waiting)
        return kept

    async def _answer(self, together: Together, taken: list[_Waiting]) -> None:
        begun = time.monotonic()
        questions = [waiting.question for waiting in taken]
        answers: Sequence[Any]
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self._pool, together, questions)
        except Exception as error:
            answers = [error] * len(taken)
        took = (time.monotonic() - begun) / sum(waiting.weight for waiting in taken)
        self._seconds += NEWEST * (took - self._seconds)
        self._free += 1
        for waiting, answer in zip(taken, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer, Exception):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
        self._begin()

    def _busy(self) -> Busy:
        return Busy(math.ceil(self._patience))


def _first(queue: deque[_Waiting]) -> list[_Waiting]:
    """Those at the head of the queue, as many as are answered at once."""
    taken = [queue.popleft()]
    rows = taken[0].weight
    while queue and (rows := rows + queue[0].weight) <= MOST:
        taken.append(queue.popleft())
    return taken
