"""What a person hears of serving after a promotion."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipelines.local.answering import followed
from pipelines.settings import Settings


@contextmanager
def serving(*said: dict[str, Any]) -> Iterator[Settings]:
    """A server that says each of these once, and the last one ever after."""
    left = list(said)

    class Says(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(left.pop(0) if len(left) > 1 else left[0]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        log_message: Callable[..., None] = lambda *_: None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Says)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Settings(_env_file=None, serving_port=server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


def status(version: int | None, error: str | None = None) -> dict[str, Any]:
    return {"version": version, "last_error": error}


def test_a_promotion_is_told_once_serving_answers_with_it() -> None:
    with serving(status(None), status(2, "the model registry cannot be asked"), status(3)) as settings:
        assert followed(settings, "flight_delays", 3) == "Serving answers with version 3."


def test_a_version_that_serving_cannot_load_is_told_at_once_with_the_cause() -> None:
    with serving(status(2, "version 3 is not loaded: its file cannot be fetched")) as settings:
        said = followed(settings, "flight_delays", 3)
    assert "does not answer with version 3 after 0 s" in said
    assert "its file cannot be fetched" in said


def test_waiting_for_serving_ends_with_patience() -> None:
    with serving(status(2)) as settings:
        assert "does not answer with version 3" in followed(settings, "flight_delays", 3, patience=0.2)


def test_without_serving_nothing_is_waited_for_and_the_remedy_is_told() -> None:
    with serving(status(1)) as settings:
        pass
    assert "`evergreen start`" in followed(settings, "flight_delays", 3)
