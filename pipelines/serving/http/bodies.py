"""Bodies read as JSON with one meaning: what has two, or cannot be read, is told in words that name what is wrong."""

import json
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

MOST_LEVELS, MOST_VALUES = 16, 1_000
"""How deep a body may be nested, and how many values one array or object in it may have."""
TOO_DEEP = f"it is nested too deeply, more than {MOST_LEVELS} levels; entities and request hold plain values"


KIND = re.compile(r"application/([^;\s]+\+)?json\s*(;.*)?", re.IGNORECASE)
NO_JSON = "a body is JSON here, and said to be; send it with the header Content-Type: application/json"
"""A page of another site may send anybody's server what is said to be text, and asks nobody's leave for it."""


class Readable(APIRoute):
    """A route whose bodies are read by `parsed`; 415 for one that is not said to be JSON."""

    def get_route_handler(self) -> Callable[..., Any]:
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            if self.body_field and not KIND.fullmatch(request.headers.get("content-type", "").strip()):
                raise HTTPException(415, NO_JSON)
            return await answer(_Read(request.scope, request.receive))  # type: ignore[no-any-return]

        return handler


class _Read(Request):
    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = parsed(await self.body())
        return self._json


def parsed(body: bytes) -> Any:
    """The JSON value of a body; JSONDecodeError, which FastAPI makes a 422, says what is wrong with it."""
    try:
        return _bounded(json.loads(body, object_pairs_hook=_once))
    except json.JSONDecodeError:
        raise
    except RecursionError:
        said = TOO_DEEP
    except UnicodeDecodeError:
        said = "it is not UTF-8 text"
    except ValueError:
        said = f"a number in it has more than {sys.get_int_max_str_digits():,} digits"
    raise json.JSONDecodeError(said, "", 0)


def _bounded(value: Any) -> Any:
    """The value, if nothing in it is deeper or longer than any question needs."""
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return value
    raise json.JSONDecodeError(TOO_DEEP, "", 0)


def _inside(value: Any) -> Iterable[Any]:
    if not isinstance(value, (dict, list)):
        return ()
    if len(value) > MOST_VALUES:
        said = f"an array or object in it has {len(value):,} values, more than {MOST_VALUES:,}"
        raise json.JSONDecodeError(said, "", 0)
    return value.values() if isinstance(value, dict) else value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which each key stands once: of two values nobody can say which was meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise json.JSONDecodeError(f"the key {json.dumps(twice[:100])} stands twice in one object", "", 0)
    return found
