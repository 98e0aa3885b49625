"""A port that leads to another one, on which a back end can hang, be gone or talk nonsense without knowing of it."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

PROMPT = 10.0


class Wire:
    """Leads from `port` to a port of loopback, both ways, until it is closed."""

    def __init__(self, to: int) -> None:
        self._to, self._loop = to, asyncio.new_event_loop()
        self._ends, self._flows, self._garbles = set[asyncio.StreamWriter](), asyncio.Event(), False
        self._thread = threading.Thread(target=self._loop.run_forever, name="wire", daemon=True)
        self._thread.start()
        self._flows.set()
        self.port = self._do(self._listen(0))

    def close(self) -> None:
        """Nobody is led any more."""
        self._do(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PROMPT)

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Whoever connects or asks hears nothing; afterwards all that was said arrives."""
        self._loop.call_soon_threadsafe(self._flows.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._flows.set)

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Every connection breaks, and there are no new ones."""
        self._do(self._cut())
        try:
            yield
        finally:
            self._do(self._listen(self.port))

    @contextmanager
    def garbled(self) -> Iterator[None]:
        """Whoever asks hears as many bytes as were said, all of them zero."""
        self._garbles = True
        try:
            yield
        finally:
            self._garbles = False

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PROMPT)

    async def _listen(self, port: int) -> int:
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def _cut(self) -> None:
        self._server.close()
        for end in [*self._ends]:
            end.transport.abort()

    async def _lead(self, asks: asyncio.StreamReader, hears: asyncio.StreamWriter) -> None:
        ends = {hears}
        with suppress(OSError):
            says, told = await asyncio.open_connection("127.0.0.1", self._to)
            ends.add(told)
            self._ends |= ends
            await asyncio.gather(self._pass(asks, told), self._pass(says, hears, answers=True))
        for end in ends:
            end.transport.abort()
        self._ends -= ends

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool = False
    ) -> None:
        while data := await source.read(1 << 16):
            await self._flows.wait()
            sink.write(bytes(len(data)) if answers and self._garbles else data)
            await sink.drain()
        sink.close()
