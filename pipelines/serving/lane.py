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
LEAST, STEP = 32, 8
"""Rows that may go together however long they take, and how many more are tried."""
LINGER, LONGEST = 0.25, 0.005
"""The share of a turn, and the most seconds, for which those who were just answered are waited for."""


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
    a hundred rows hardly longer than one. Clients that were just answered ask again at once, as a rule: a free thread
    waits a moment until as many are here as were before. So many go together as take about `turn` seconds, and so many
    may wait: who comes then is refused at once. Nobody waits longer than `patience`, whatever holds the threads up.
    `within` counts the rows that were asked about and have no answer yet.
    """

    def __init__(self, threads: int, patience: float, turn: float = 0.1) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="answer")
        self._threads, self._free, self._patience, self._turn = threads, threads, patience, turn
        self._queues: dict[Together, deque[_Waiting]] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self.within, self._waiting, self.most = 0, 0, MOST
        self._expected, self._until = 0, 0.0
        self._lingering: asyncio.TimerHandle | None = None

    async def ask(self, together: Together, question: Any, weight: int = 1) -> Any:
        """The question's answer, or Busy; `weight` is how many rows it asks about, which are answered together."""
        if self.crowded():
            raise self.busy()
        waiting = _Waiting(question, weight, asyncio.get_running_loop().create_future())
        self._queues.setdefault(together, deque()).append(waiting)
        self.within += weight
        self._waiting += weight
        try:
            self._begin()
            return await waiting.answer
        finally:
            self.within -= weight

    def crowded(self) -> bool:
        """Whether who comes now is refused: those who wait already are as many as go together, for each thread."""
        return self._waiting >= self.most * self._threads

    def close(self) -> None:
        """Finish what was begun, and begin nothing more."""
        self._pool.shutdown(wait=True)

    def _begin(self) -> None:
        """Give every free thread something to do; models take turns."""
        while self._free and self._queues and not self._lingers():
            together = next(iter(self._queues))
            queue = self._queues.pop(together)
            first = _first(queue, self.most)
            self._waiting -= sum(each.weight for each in first)
            taken = self._in_time(first)
            if queue:
                self._queues[together] = queue
            if taken:
                self._free -= 1
                task = asyncio.ensure_future(self._answer(together, taken))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _lingers(self) -> bool:
        """Whether more are about to ask, and are waited for."""
        left = self._until - time.monotonic()
        if left <= 0 or self._waiting >= min(self._expected, self.most):
            return False
        if self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(left, self._lingered)
        return True

    def _lingered(self) -> None:
        self._lingering = None
        self._begin()

    def _expect(self, rows: int, seconds: float) -> None:
        """So many rows were answered, in so many seconds: who asked about them may ask again."""
        self._expected = rows + self._waiting
        self._until = time.monotonic() + min(LINGER * seconds, LONGEST)

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
        rows, seconds = sum(waiting.weight for waiting in taken), time.monotonic() - begun
        self._took(rows, seconds)
        self._expect(rows, seconds)
        self._free += 1
        for waiting, answer in zip(taken, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer, Exception):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
        self._begin()

    def _took(self, rows: int, seconds: float) -> None:
        """Let fewer go together if these took too long, and more if more would not have; a few say nothing of many."""
        if rows < LEAST:
            return
        if seconds > self._turn:
            self.most = max(LEAST, min(self.most, int(rows * self._turn / seconds)))
        elif rows >= self.most and seconds * (rows + STEP) <= self._turn * rows:
            self.most = min(MOST, self.most + STEP)

    def busy(self) -> Busy:
        """What who is refused is told."""
        return Busy(math.ceil(self._patience))


def _first(queue: deque[_Waiting], most: int) -> list[_Waiting]:
    """Those at the head of the queue, of so many rows at most."""
    taken = [queue.popleft()]
    rows = taken[0].weight
    while queue and (rows := rows + queue[0].weight) <= most:
        taken.append(queue.popleft())
    return taken
