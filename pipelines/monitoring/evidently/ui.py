"""Evidently's own UI over the workspace, for whoever sits at this machine: no request can change anything."""

import json
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pipelines.contracts import EvergreenError

HOST = "127.0.0.1"
NAMES = ("127.0.0.1", "localhost")
App = Callable[[Any, Any, Any], Awaitable[None]]


def serve(workspace: Path, port: int, told: Callable[[str], None]) -> None:
    """Answer on loopback until it is stopped; EvergreenError if the port is taken."""
    workspace.mkdir(parents=True, exist_ok=True)
    _free(port)
    for broken in put_aside(workspace):
        told(f"{broken} cannot be read and was put aside")
    os.environ["DO_NOT_TRACK"] = "1"
    import uvicorn
    from evidently.ui.service.app import create_app, get_config

    config = get_config(HOST, port, str(workspace), secret=secrets.token_urlsafe(32))
    config.telemetry.enabled = False
    told(f"http://{HOST}:{port}")
    uvicorn.run(at_home(create_app(config)), host=HOST, port=port, log_level="warning")


def put_aside(workspace: Path) -> list[Path]:
    """Rename what is no JSON, of which one file would keep the UI from starting; their new names."""
    found = []
    for path in sorted([*workspace.glob("*/*.json"), *workspace.glob("*/snapshots/*.json")]):
        try:
            json.loads(path.read_text())
        except (OSError, ValueError):
            found.append(path.replace(path.with_suffix(".broken")))
    return found


def at_home(app: App) -> App:
    """The app for requests that name this machine; a page elsewhere may have its own name lead here."""

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan" and not _ours(scope):
            start = {"type": "http.response.start", "status": 421, "headers": [(b"content-length", b"0")]}
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    return asked


def _ours(scope: Any) -> bool:
    named = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    return scope["type"] == "http" and named.rpartition(":")[0] in NAMES


def _free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise EvergreenError(
                f"port {port} cannot be had ({error.strerror}); name another: evergreen evidently --port"
            ) from None
