"""Questions that come by a clock of their own: a server that is too slow does not slow them down."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from benchmarks.servers import Connection

MOST = 2_000
"""Questions under way at once; a client that has more has run out of sockets, not the server of time."""


@dataclass
class Offered:
    """What became of the questions: seconds of each that was answered, how many were refused (503) or failed."""

    took: list[float] = field(default_factory=list)
    sent: int = 0
    refused: int = 0
    failed: int = 0


def quantile(times: list[float], share: float) -> float:
    """That share of the times is no longer than this."""
    return sorted(times)[int(share * (len(times) - 1))] if times else float("nan")


async def offer(port: int, path: str, questions: list[bytes], rate: float, seconds: float) -> Offered:
    """Questions at random moments, `rate` a second on average; each is timed from when it was due."""
    seen, chance, idle = Offered(), random.Random(0), asyncio.LifoQueue[Connection]()  # noqa: S311 - no secret
    tasks: set[asyncio.Task[None]] = set()
    begun = due = time.perf_counter()
    while (due := due + chance.expovariate(rate)) < begun + seconds:
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        seen.sent += 1
        if len(tasks) >= MOST:
            seen.failed += 1
            continue
        question = questions[seen.sent % len(questions)]
        tasks.add(task := asyncio.create_task(_one(port, path, question, due, seen, idle)))
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return seen


async def _one(
    port: int, path: str, question: bytes, due: float, seen: Offered, idle: "asyncio.LifoQueue[Connection]"
) -> None:
    try:
        connection = idle.get_nowait() if idle.qsize() else await Connection.to(port)
        status, _ = await connection.exchange(path, question)
        idle.put_nowait(connection)
    except (OSError, asyncio.IncompleteReadError):
        seen.failed += 1
        return
    if status == 200:
        seen.took.append(time.perf_counter() - due)
    seen.refused += status == 503
    seen.failed += status not in (200, 503)
