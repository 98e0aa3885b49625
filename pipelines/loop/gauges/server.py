"""Serves the numbers at /metrics: GET and HEAD, nothing else, to whoever reaches the port."""

import logging
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socket import AF_INET6
from socketserver import ThreadingTCPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

LOG = logging.getLogger("evergreen.metrics")
PATH, PATIENCE = "/metrics", 10
ALLOWED = "GET, HEAD"


def server(host: str, port: int, shown: Callable[[], bytes]) -> ThreadingTCPServer:
    """A server that is bound to the port, and answers once somebody calls `serve_forever`; port 0 takes a free one."""
    kind = _OverSix if ":" in host else _Server
    return kind((host, port), lambda *given: _Handler(shown, *given))


class _Server(ThreadingTCPServer):
    """A thread for each connection; unlike http.server's it asks no name server for its own name."""

    daemon_threads = allow_reuse_address = True

    def handle_error(self, *_: Any) -> None:
        """Who asked and left need not be told of; anything else is a fault of ours."""
        error = sys.exception()
        if not isinstance(error, (ConnectionError, TimeoutError)):
            # Of it only its kind: its text may hold a secret.
            LOG.error("the metrics could not be told: %s", type(error).__name__)


class _OverSix(_Server):
    address_family = AF_INET6


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE  # nobody holds a thread by sending nothing
    server_version, sys_version = "evergreen", ""

    def __init__(self, shown: Callable[[], bytes], *given: Any) -> None:
        self._shown = shown
        super().__init__(*given)

    def do_GET(self) -> None:
        """The numbers of now."""
        if self.path.partition("?")[0] == PATH:
            self._answer(200, self._shown(), CONTENT_TYPE_LATEST)
        else:
            self._answer(404, f"there is {PATH}\n".encode())

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self._answer(405, f"{ALLOWED}\n".encode(), Allow=ALLOWED, Connection="close")

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse

    def _answer(
        self, code: int, body: bytes, kind: str = "text/plain; charset=utf-8", **headers: str
    ) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *given: Any) -> None:
        """A scrape a quarter of a minute is not worth a line each."""
