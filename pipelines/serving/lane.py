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
LEAST = 16
"""Rows that may always wait: the next call takes them all."""
CALL, ROW = 0.02, 0.002
"""Seconds of a call and of each row in it, until some have been seen."""
NEWEST = 0.1
"""Of the newest call in what is known of how long one takes."""


class Pace:
    """How long some rows take together: so much for the call and so much for each row, by the newest calls."""

    def __init__(self) -> None:
        self._rows, self._seconds = 1.0, CALL + ROW
        self._spread, self._together = 1.0, ROW  # variance of rows; covariance of rows and seconds

    def saw(self, rows: int, seconds: float) -> None:
        """One call more."""
        more, longer = rows - self._rows, seconds - self._seconds
        self._rows += NEWEST * more
        self._seconds += NEWEST * longer
        self._spread = max(1e-9, (1 - NEWEST) * (self._spread + NEWEST * more * more))
        self._together = (1 - NEWEST) * (self._together + NEWEST * more * longer)

    def of(self, rows: int) -> float:
        """Seconds that so many rows are expected to take, in calls of MOST."""
        each = min(max(self._together / self._spread, 0.0), self._seconds / self._rows)
        call = max(0.0, self._seconds - each * self._rows)
        return math.ceil(rows / MOST) * call + rows * each


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
    a hundred rows hardly longer than one. Who is expected to wait longer than `queue` seconds for his turn is refused
    as he comes, and who waited longer than `patience`, as something held the threads up, when it is his turn.
    `within` counts the rows that were asked about and have no answer yet.
    """

    def __init__(self, threads: int, patience: float, queue: float = 0.1) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="answer")
        self._threads, self._free, self._patience = threads, threads, patience
        self._queue = min(queue, patience)
        self._queues: dict[Together, deque[_Waiting]] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self.within, self._pace = 0, Pace()

    async def ask(self, together: Together, question: Any, weight: int = 1) -> Any:
        """The question's answer, or Busy; `weight` is how many rows it asks about, which are answered together."""
        if self.crowded():
            raise self.busy()
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
        return self._pace.of(self.within) / self._threads

    def crowded(self) -> bool:
        """Whether who comes now is refused."""
        return self.within > LEAST and self.expected() > self._queue

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
                waiting.answer.set_exception(self.busy())
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
        self._pace.saw(sum(waiting.weight for waiting in taken), time.monotonic() - begun)
        self._free += 1
        for waiting, answer in zip(taken, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer, Exception):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
        self._begin()

    def busy(self) -> Busy:
        """What who is refused is told."""
        return Busy(math.ceil(self._patience))


def _first(queue: deque[_Waiting]) -> list[_Waiting]:
    """Those at the head of the queue, as many as are answered at once."""
    taken = [queue.popleft()]
    rows = taken[0].weight
    while queue and (rows := rows + queue[0].weight) <= MOST:
        taken.append(queue.popleft())
    return taken
