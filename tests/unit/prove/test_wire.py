"""A wire leads both ways; what it does to a back end is what a network does, and is over when it is over."""

import socket
from collections.abc import Iterator
from contextlib import closing
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest

from pipelines.prove.serving.wire import Wire


class Upper(StreamRequestHandler):
    """Says each line again, in capitals."""

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


@pytest.fixture
def wire() -> Iterator[Wire]:
    with ThreadingTCPServer(("127.0.0.1", 0), Upper) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        with closing(Wire(server.server_address[1])) as found:
            yield found
        server.shutdown()


def connected(wire: Wire) -> socket.socket:
    return socket.create_connection(("127.0.0.1", wire.port), timeout=5)


def told(connection: socket.socket, line: bytes) -> bytes:
    connection.sendall(line)
    return connection.recv(100)


def test_what_is_said_arrives_both_ways(wire: Wire) -> None:
    with connected(wire) as one, connected(wire) as other:
        assert (told(one, b"a\n"), told(other, b"b\n")) == (b"A\n", b"B\n")


def test_hung_nothing_is_heard_and_afterwards_all_of_it(wire: Wire) -> None:
    with connected(wire) as before:
        assert told(before, b"a\n") == b"A\n"
        with wire.hung(), connected(wire) as during:
            for connection in (before, during):
                connection.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    told(connection, b"late\n")
        before.settimeout(5)
        assert before.recv(100) == b"LATE\n"


def test_gone_connections_break_and_none_is_taken(wire: Wire) -> None:
    with connected(wire) as before:
        assert told(before, b"a\n") == b"A\n"
        with wire.gone():
            with pytest.raises(ConnectionRefusedError):
                connected(wire)
            try:
                said = told(before, b"b\n")
            except ConnectionError:
                said = b""
            assert said == b""
    with connected(wire) as after:
        assert told(after, b"c\n") == b"C\n"


def test_garbled_the_answers_are_zeroes_and_then_are_not(wire: Wire) -> None:
    with connected(wire) as connection:
        with wire.garbled():
            assert told(connection, b"abc\n") == bytes(4)
        assert told(connection, b"abc\n") == b"ABC\n"
