"""Who may call what: a route answers nobody until it says who may call it; and how large a body may be."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serving.door.callers import Door, Refusal

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
MAX_BODY = 64 * 1024
LOGGED = "predictions are for whoever can reach the port; each is logged"
READ_ONLY = "tells the state of the server, changes nothing"


@dataclass(frozen=True)
class Access:
    """Who may call a route: whoever can reach the port, or with a `scope`, where callers are known, those whose key or
    token is good for it. The reason says why that is right."""

    reason: str
    scope: str | None


_SAID: dict[Callable[..., Any], Access] = {}


def public(reason: str) -> Callable[[Endpoint], Endpoint]:
    """Whoever can reach the port may call this route, known or not; the reason says why that is right.

    The port is on loopback unless EVERGREEN_HOST says otherwise.
    """
    return _declared(Access(reason, None))


def scoped(scope: str, reason: str) -> Callable[[Endpoint], Endpoint]:
    """As `public`, but with EVERGREEN_SERVING_ACCESS=keys, or oidc, only those whose key or token is good for it."""
    return _declared(Access(reason, scope))


def _declared(access: Access) -> Callable[[Endpoint], Endpoint]:
    def declare(endpoint: Endpoint) -> Endpoint:
        _SAID[endpoint] = access
        return endpoint

    return declare


def statement(route: BaseRoute) -> Access | None:
    """Who may call a route; None if it never said."""
    return _SAID.get(getattr(route, "endpoint", None))  # type: ignore[arg-type]


class DeclaredOnly:
    """Refuses with 403 every route without a statement of access, callers whom the door does not let in, with 421 those
    who ask under another name than one of `hosts` (None: any), and with 413 bodies over 64 KiB."""

    def __init__(
        self, app: ASGIApp, routes_of: FastAPI, door: Door | None, hosts: frozenset[str] | None = None
    ) -> None:
        self._app, self._routes_of, self._door, self._hosts = app, routes_of, door, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif refusal := self._refusal(scope):
            await refuse(send, *refusal)
        else:
            await self._app(scope, _limited(receive), send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        if self._hosts is not None and _host(scope) not in self._hosts:
            return 421, _MISDIRECTED, {}
        access = self._access(scope) if scope["type"] == "http" else None
        if access is None:
            return 403, "this route does not state who may call it, so nobody may", {}
        if self._door and access.scope:
            header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
            if refusal := self._door.refusal(header, access.scope):
                return refusal
        return (413, _TOO_LARGE, {}) if _length(scope) > MAX_BODY else None

    def _access(self, scope: Scope) -> Access | None:
        """Judged by the route that will answer; what no route answers is a 404 in any case."""
        for wanted in (Match.FULL, Match.PARTIAL):
            for route in self._routes_of.routes:
                if route.matches(scope)[0] is wanted:
                    return statement(route)
        return NOBODYS


_MISDIRECTED = "this server is not asked under this name; EVERGREEN_SERVING_HOSTS says under which"


def _host(scope: Scope) -> str | None:
    """The name that who asks has for this server."""
    said = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    try:
        return urlsplit(f"//{said}").hostname
    except ValueError:
        return None


NOBODYS = Access("there is no such route", None)
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


async def refuse(send: Send, status: int, detail: str, more: Mapping[str, str]) -> None:
    """An answer in which every protocol's client finds its own word for what is wrong."""
    headers, body = refusal(detail, more)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def refusal(detail: str, more: Mapping[str, str]) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the body of such an answer."""
    body = json.dumps({"detail": detail, "error": detail, "message": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    return headers + [(name.lower().encode(), value.encode()) for name, value in more.items()], body
