"""Who is refused where the bytes come in is told what the app tells, once for each question, however they come."""

import asyncio
import json
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from pipelines.serving.accounts.account import Account
from pipelines.serving.http.observed import Crowd, Observed
from pipelines.serving.http.turnstile import CROWD, Turnstile, whole_question
from pipelines.serving.lane import Busy
from pipelines.serving.metrics import Metrics

MODEL, PATH = "flight_delays", "/v1/models/flight_delays/predictions"
TURNS = 30
"""Of the event loop, in which an app that has all it waits for is done."""
QUESTION = b'{"entities": {}, "request": {}}'


def request(
    path: str = PATH, body: bytes = QUESTION, method: str = "POST", version: str = "1.1", **headers: str
) -> bytes:
    """One request as clients write it; a length is given unless the headers say how long it is."""
    told = {"Host": "localhost", "content_length": str(len(body))} | headers
    if "transfer_encoding" in told:
        del told["content_length"]
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in told.items()]
    return "\r\n".join([f"{method} {path} HTTP/{version}", *lines, "", ""]).encode() + body


QUESTIONS = st.sampled_from([
    request(),
    request("/v2/models/flight_delays/infer"),
    request("/v1/models/unknown/predictions"),
    request("/v1/models/flight_delays/predictions?of=it"),
    request(body=b""),
    request(body=request()),
    request("/other", request()),
    request("/other", request() + request()),
    request(transfer_encoding="chunked"),
    request(body=request(), transfer_encoding="chunked"),
    request("/other", body=request(), transfer_encoding="chunked"),
    request("/health", b"", "GET"),
    request("/v1/models/flight%5Fdelays/predictions"),
])  # fmt: skip


class Wire(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written, self.closed = b"", False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_protocol(self, protocol: Any) -> None: ...


class Stub:
    """A service of one model whose lane is crowded, or is by turns."""

    def __init__(self, crowded: list[bool]) -> None:
        self.turns, self.predictors, self.metrics = list(crowded), {MODEL: None}, Metrics()
        self.lane = SimpleNamespace(crowded=self._crowded, busy=lambda: Busy(2))
        self.account = Account()

    def _crowded(self) -> bool:
        return self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def answers(scope: Any, receive: Any, send: Any) -> None:
    """An app that reads what it is sent, and says how much it was."""
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    body = f"{scope['path']} {length}".encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
    )
    await send({"type": "http.response.body", "body": body})


def talked(protocol: type, segments: list[bytes], service: Stub) -> bytes:
    """What one connection is told that sends these, one after the other."""

    async def talk() -> bytes:
        crowd = Crowd(service)  # type: ignore[arg-type]
        config = uvicorn.Config(Observed(answers, crowd), log_config=None, lifespan="off", access_log=False)
        config.load()
        state = {CROWD: crowd} if protocol is Turnstile else {}
        spoken, wire = protocol(config=config, server_state=ServerState(), app_state=state), Wire()
        spoken.connection_made(wire)
        for segment in segments:
            spoken.data_received(segment)
            for _ in range(TURNS):
                await asyncio.sleep(0)
        if spoken.cycle is None or spoken.cycle.response_complete:
            spoken.connection_lost(None)
        return wire.written

    return asyncio.run(talk())


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(ends)]


def test_a_whole_question_is_seen_as_one_and_nothing_else_is() -> None:
    assert whole_question(request()) == MODEL
    assert whole_question(request("/v2/models/flight_delays/versions/3/infer")) == MODEL
    others = [
        request("/health"), request(method="GET"), request(version="1.0"), request() + request(), request()[:-1],
        request() + b" ", request(transfer_encoding="chunked"), request(connection="close"), request(upgrade="h2c"),
        request(expect="100-continue"), request(content_length="0"), request(Content_Length="31"), b"", b"\r\n\r\n",
        request(X="a", Y="1\nTransfer-Encoding: chunked"), request(Y="1\r\nContent-Length:\t5"),
    ]  # fmt: skip
    assert [whole_question(each) for each in others] == [None] * len(others)


def test_who_is_refused_is_told_what_the_app_tells_and_counted_as_it_counts() -> None:
    said, counts = [], []
    for protocol in (HttpToolsProtocol, Turnstile):
        service = Stub([True])
        said.append(talked(protocol, [request(), request("/v1/models/unknown/predictions")], service))
        counts.append([
            service.counted("evergreen_refused_requests_total", model=MODEL),
            service.counted("evergreen_requests_total", model=MODEL, version="none", status="503"),
            service.counted("evergreen_requests_total", model="unknown", version="none", status="503"),
            service.counted("evergreen_request_seconds_count", model=MODEL),
        ])  # fmt: skip
    assert counts == [[1.0, 1.0, 1.0, 1.0]] * 2
    assert said[0] == said[1]
    status, *rest = said[1].split(b"\r\n")
    assert status == b"HTTP/1.1 503 Service Unavailable"
    assert b"retry-after: 2" in rest
    assert "busy" in json.loads(said[1].rpartition(b"\r\n\r\n")[2])["detail"]


@given(st.lists(QUESTIONS, min_size=1, max_size=5), st.lists(st.integers(0, 2000), max_size=6))
def test_however_questions_come_each_is_told_what_the_app_tells(
    asked: list[bytes], places: list[int]
) -> None:
    """A body that reads like a question is none, nor is the rest of one, and one may come in pieces."""
    segments = [*asked, *cut(b"".join(asked), places)]
    wanted = talked(HttpToolsProtocol, segments, Stub([True]))
    assert wanted.count(b"HTTP/1.1 ") >= 2 * len(asked)
    assert talked(Turnstile, segments, Stub([True])) == wanted


@given(
    st.lists(QUESTIONS, min_size=1, max_size=6),
    st.lists(st.booleans(), min_size=1, max_size=12),
    st.lists(st.integers(0, 2000), max_size=6),
)
def test_each_question_is_answered_once_while_crowds_come_and_go(
    asked: list[bytes], crowded: list[bool], places: list[int]
) -> None:
    written = talked(Turnstile, cut(b"".join(asked), places), Stub(crowded))
    plain = talked(HttpToolsProtocol, cut(b"".join(asked), places), Stub([False]))
    assert plain.count(b"HTTP/1.1 200 ") == len(asked)
    assert written.count(b"HTTP/1.1 200 ") + written.count(b"HTTP/1.1 503 ") == len(asked)
