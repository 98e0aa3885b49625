"""Who a caller is by the key that came along, and whether that key is good for what is asked, often as it asks."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from pipelines.serving.causes import passed
from pipelines.stores.api_keys import ApiKey, digest_of

log = logging.getLogger("evergreen.serving")
SCHEME = "Bearer "
Refusal = tuple[int, str, dict[str, str]]
"""Status, words and headers."""


class Keys(Protocol):
    """Where keys are kept."""

    def all(self) -> Sequence[ApiKey]: ...


class Keyring(threading.Thread):
    """The keys that there are, looked up anew every `seconds`; while they cannot be, those known before hold on.

    Before they were read once, nobody is let in.
    """

    def __init__(self, keys: Callable[[], Keys], seconds: float) -> None:
        super().__init__(name="keyring", daemon=True)
        self._source, self._seconds = keys, seconds
        self._known: Mapping[str, ApiKey] | None = None
        self._left: dict[str, tuple[float, float]] = {}
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            self.look()
            self._ended.wait(self._seconds)

    def stop(self) -> None:
        self._ended.set()
        self.join(timeout=5)

    def look(self) -> None:
        """Read the keys once."""
        try:
            self._known = {key.digest: key for key in self._source().all()}
        except Exception as error:
            log.warning("the keys cannot be read, those known before hold on: %s", passed(error))

    def refusal(self, header: str | None, scope: str) -> Refusal | None:
        """Why a request is not let in; None if it is. `header` is that of Authorization."""
        if self._known is None:
            return 503, "the keys have not been read yet; ask again", {"Retry-After": "1"}
        token = header[len(SCHEME) :].strip() if header and header.startswith(SCHEME) else None
        challenge = {"WWW-Authenticate": 'Bearer realm="evergreen"'}
        if not token:
            return 401, "name a key: Authorization: Bearer KEY; `evergreen keys make` makes one", challenge
        key = self._known.get(digest_of(token))
        if key is None or not key.lasts(datetime.now(UTC)):
            return 401, "there is no such key, or no more", challenge
        if scope not in key.scopes:
            return 403, f"this key is not good for {scope!r}", {}
        return self._too_often(key)

    def _too_often(self, key: ApiKey) -> Refusal | None:
        """429 where a key asks more often than it may; a second's worth may come at once."""
        if key.per_second is None:
            return None
        most, now = max(1.0, key.per_second), time.monotonic()
        left, since = self._left.get(key.digest, (most, now))
        left = min(most, left + (now - since) * key.per_second)
        if left < 1:
            wait = max(1, round((1 - left) / key.per_second))
            self._left[key.digest] = left, now
            return 429, f"this key may ask {key.per_second:g} times a second", {"Retry-After": str(wait)}
        self._left[key.digest] = left - 1, now
        return None
