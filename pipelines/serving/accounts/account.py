"""What the answers of this process took of its processors, and what it took while it gave none."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import Lock

Clock = Callable[[], float]
Beside = Callable[[], AbstractContextManager[None]]
"""Inside of which a thread works at something that is no answer."""
Whose = tuple[str, int]
"""A model and its version."""
Given = Mapping[int, tuple[int, int]]
"""By version how many requests one turn answered, and about how many rows."""


@dataclass
class Taken:
    """Seconds of the clock and of the processors, and the requests and rows that were answered in them."""

    requests: int = 0
    rows: int = 0
    wall: float = 0.0
    cpu: float = 0.0

    def add(self, other: "Taken") -> None:
        """Both together."""
        self.requests += other.requests
        self.rows += other.rows
        self.wall += other.wall
        self.cpu += other.cpu


class Account:
    """Parts the processors' seconds of this process, all its threads together, without remainder.

    Those that pass from somebody's question to the answer are the answers'; models and versions share them by the
    seconds that their turns took. What a thread used meanwhile inside `beside`, as to load a model, is not among them.
    Everything else is idle: to start, to look for champions, to load, to explain, and to refuse where nobody is
    answered. Children are not counted. It begins with the `since` processor seconds of this process; unset: with now.
    """

    def __init__(
        self,
        since: float | None = None,
        cpu: Clock = time.process_time,
        wall: Clock = time.monotonic,
        own: Clock = time.thread_time,
    ) -> None:
        self._lock, self._cpu, self._wall, self._own = Lock(), cpu, wall, own
        self._cpu_at, self._wall_at = cpu() if since is None else since, wall()
        self._asked = 0
        self._answering = Taken()  # of `_whole`; its cpu is below 0 while more was told than was the answers'
        self._whole = Taken()
        self._grown = 0.0
        self._turns: dict[Whose, Taken] = {}

    def enter(self) -> None:
        """Somebody asks, and is being answered until `leave`."""
        with self._lock:
            if not self._asked:
                self._settle()
            self._asked += 1

    def leave(self) -> None:
        """Whoever entered has what was asked for, or was refused."""
        with self._lock:
            if self._asked == 1:
                self._settle()
            self._asked -= 1

    def turned(self, model: str, given: Given, seconds: float) -> None:
        """One turn of a model is over: what it gave, in so many seconds; a turn that gave nothing counts for none."""
        whole = sum(rows for _, rows in given.values())
        with self._lock:
            for version, (requests, rows) in given.items():
                taken = self._turns.setdefault((model, version), Taken())
                taken.add(Taken(requests, rows, seconds * rows / whole))

    @contextmanager
    def beside(self) -> Iterator[None]:
        """What this thread uses inside is no answer's, also while others are being answered."""
        with self._lock:
            self._settle()
            before = self._grown
        begun = self._own()
        try:
            yield
        finally:
            used = self._own() - begun
            with self._lock:
                self._settle()
                self._answering.cpu -= min(used, self._grown - before)

    def taken(self) -> tuple[dict[Whose, Taken], Taken]:
        """What each version's answers took since this was last asked, and the rest; together all that passed.

        What an answer took that is still being made waits for its turn to end.
        """
        with self._lock:
            self._settle()
            turns, self._turns = self._turns, {}
            busy = max(0.0, self._answering.cpu)
            shared, held = (busy, 0.0) if turns else (0.0, busy if self._asked else 0.0)
            idle = Taken(wall=self._whole.wall - self._answering.wall, cpu=self._whole.cpu - shared - held)
            self._answering = Taken(cpu=held or min(0.0, self._answering.cpu))
            self._whole = Taken(cpu=held)
        _share(turns, shared)
        return turns, idle

    def _settle(self) -> None:
        """Add what passed since the last time to whoever it belongs to."""
        cpu, wall = self._cpu(), self._wall()
        used, passed = cpu - self._cpu_at, wall - self._wall_at
        self._cpu_at, self._wall_at = cpu, wall
        self._whole.cpu += used
        self._whole.wall += passed
        if self._asked:
            self._answering.cpu += used
            self._answering.wall += passed
            self._grown += used


def _share(turns: Mapping[Whose, Taken], cpu: float) -> None:
    """By the seconds of each; where the clock saw none, by the rows."""
    seconds = sum(each.wall for each in turns.values())
    rows = sum(each.rows for each in turns.values())
    for each in turns.values():
        each.cpu = cpu * (each.wall / seconds if seconds else each.rows / rows)
