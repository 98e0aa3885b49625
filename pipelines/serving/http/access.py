"""Who may call what: a route answers nobody until it says who may call it; and how large a body may be."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import FastAPI, HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
MAX_BODY = 64 * 1024
_PUBLIC: dict[Callable[..., Any], str] = {}


def public(reason: str) -> Callable[[Endpoint], Endpoint]:
    """Whoever can reach the port may call this route; the reason says why that is right.

    The port is on loopback unless EVERGREEN_HOST says otherwise.
    """

    def declare(endpoint: Endpoint) -> Endpoint:
        _PUBLIC[endpoint] = reason
        return endpoint

    return declare


def statement(route: BaseRoute) -> str | None:
    """Why a route is open; None if it never said."""
    return _PUBLIC.get(getattr(route, "endpoint", None))  # type: ignore[arg-type]


class DeclaredOnly:
    """Refuses with 403 every route without a statement of access, and with 413 bodies over 64 KiB."""

    def __init__(self, app: ASGIApp, routes_of: FastAPI) -> None:
        self._app, self._routes_of = app, routes_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http" or not self._declared(scope):
            await _refuse(send, 403, "this route does not state who may call it, so nobody may")
        elif _length(scope) > MAX_BODY:
            await _refuse(send, 413, _TOO_LARGE)
        else:
            await self._app(scope, _limited(receive), send)

    def _declared(self, scope: Scope) -> bool:
        """Judged by the route that will answer; what no route answers is a 404 in any case."""
        for wanted in (Match.FULL, Match.PARTIAL):
            for route in self._routes_of.routes:
                if route.matches(scope)[0] is wanted:
                    return statement(route) is not None
        return True


_TOO_LARGE = f"the body is larger than {MAX_BODY} bytes; a request is a few hundred"


def _length(scope: Scope) -> int:
    text = dict(scope["headers"]).get(b"content-length", b"0")
    return int(text) if text.isdigit() and len(text) < 20 else 0


def _limited(receive: Receive) -> Receive:
    """Counts what really arrives: a chunked body declares no length."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY:
            raise HTTPException(413, _TOO_LARGE)
        return message

    return counted


async def _refuse(send: Send, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
