"""Who asks while too many wait is turned away where the bytes come in: before there is a request it costs least.

Of thousands of questions a second, those that cannot be answered would take the time of those that can.
"""

import re
import time
from functools import lru_cache

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipelines.serving.http.access import refusal
from pipelines.serving.http.observed import Crowd, asked_model

CROWD = "crowd"
"""Under which the app's lifespan gives its Crowd to the server's protocol."""
LENGTH = re.compile(rb"content-length(?:: ?(\d{1,9})(?=\r\n|$))?", re.IGNORECASE)
UNUSUAL = re.compile(rb"transfer-encoding|expect|upgrade|connection: ?close", re.IGNORECASE)
"""Who asks for more than an answer, or words it otherwise than clients do, goes the long way, and is refused there."""


class Turnstile(HttpToolsProtocol):
    """uvicorn's protocol; but a whole question that comes while it is crowded is refused without being parsed."""

    _within = False

    def data_received(self, data: bytes) -> None:
        """What came over the connection: a question, a part of one, or some."""
        crowd: Crowd | None = self.app_state.get(CROWD)
        if crowd is not None and crowd.full() and self._between() and (model := whole_question(data)):
            self._turn_away(crowd, model)
        else:
            super().data_received(data)

    def on_message_begin(self) -> None:
        """The parser is within a request until it says that it is complete."""
        self._within = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """What comes next is another request."""
        self._within = False
        super().on_message_complete()

    def _between(self) -> bool:
        """Whether every request of this connection was whole and is answered."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and not self._within and not self.pipeline

    def _turn_away(self, crowd: Crowd, model: str) -> None:
        begun = time.perf_counter()
        self._unset_keepalive_if_required()
        detail, more = crowd.refused(model)
        usual = tuple(self.server_state.default_headers)
        self.transport.write(_response(detail, tuple(more.items()), usual))
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )
        crowd.answered(model, "none", 503, time.perf_counter() - begun)


def whole_question(data: bytes) -> str | None:
    """The name of the model that is asked for predictions, if this is one such request, whole, alone and plain."""
    head, _, body = data.partition(b"\r\n\r\n")
    line, _, _ = head.partition(b"\r\n")
    words = line.split(b" ")
    lengths = LENGTH.findall(head)
    if len(words) != 3 or words[0] != b"POST" or words[2] != b"HTTP/1.1":
        return None
    if lengths != [b"%d" % len(body)] or b"%" in words[1] or UNUSUAL.search(head):
        return None
    return asked_model(words[1].decode("latin-1"))


@lru_cache(maxsize=4)
def _response(
    detail: str, more: tuple[tuple[str, str], ...], usual: tuple[tuple[bytes, bytes], ...]
) -> bytes:
    """The answer as it goes over the wire; it is the same for all who come within a second."""
    headers, body = refusal(detail, dict(more))
    lines = [b"%b: %b\r\n" % each for each in (*usual, *headers)]
    return b"".join([b"HTTP/1.1 503 Service Unavailable\r\n", *lines, b"\r\n", body])
