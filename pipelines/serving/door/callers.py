"""What holds however callers are known: how they name themselves, how they are refused, how often they may ask."""

import time
from typing import Protocol

SCHEME = "bearer"
CHALLENGE = 'Bearer realm="evergreen"'
MOST = 10_000
"""Callers whose pace is remembered before those that have rested are forgotten."""
Refusal = tuple[int, str, dict[str, str]]
"""Status, words and headers."""


class Door(Protocol):
    """Knows callers; looks up in the background, between `start` and `stop`, what it knows them by."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def refusal(self, header: str | None, scope: str) -> Refusal | None:
        """Why a request is not let in; None if it is. `header` is that of Authorization."""


def named(header: str | None) -> str | None:
    """The key or token that came along; None where none did."""
    scheme, _, token = (header or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == SCHEME else None


def unknown(words: str, error: str | None = None) -> Refusal:
    """401; `error` is the word that RFC 6750 has for it."""
    return 401, words, {"WWW-Authenticate": CHALLENGE + (f', error="{error}"' if error else "")}


def unread(what: str) -> Refusal:
    """503, before anybody can be known."""
    return 503, f"{what} have not been read yet; ask again", {"Retry-After": "1"}


class Rates:
    """How often each caller asks; a second's worth may come at once."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float, float]] = {}
        self._most = MOST

    def refusal(self, who: str, per_second: float | None, what: str) -> Refusal | None:
        """429 where a caller asks more often than `per_second`, None for as often as they like."""
        if per_second is None:
            return None
        most, now = max(1.0, per_second), time.monotonic()
        left, since, _ = self._left.get(who, (most, now, per_second))
        left = min(most, left + (now - since) * per_second)
        self._left[who] = max(left - 1, 0.0) if left >= 1 else left, now, per_second
        self._forget(now)
        if left >= 1:
            return None
        wait = max(1, round((1 - left) / per_second))
        return 429, f"{what} may ask {per_second:g} times a second", {"Retry-After": str(wait)}

    def _forget(self, now: float) -> None:
        """Of those who have rested until they may ask as they might at first, nothing need be known."""
        if len(self._left) <= self._most:
            return
        self._left = {
            who: (left, since, pace)
            for who, (left, since, pace) in self._left.items()
            if left + (now - since) * pace < max(1.0, pace)
        }
        self._most = max(MOST, 2 * len(self._left))
