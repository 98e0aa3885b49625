"""Who a caller is by the key that came along, and whether that key is good for what is asked, often as it asks."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from pipelines.serving.causes import passed
from pipelines.serving.door.callers import Rates, Refusal, named, unknown, unread
from pipelines.stores.api_keys import ApiKey, digest_of

log = logging.getLogger("evergreen.serving")


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
        self._rates = Rates()
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
            return unread("the keys")
        token = named(header)
        if not token:
            return unknown("name a key: Authorization: Bearer KEY; `evergreen keys make` makes one")
        key = self._known.get(digest_of(token))
        if key is None or not key.lasts(datetime.now(UTC)):
            return unknown("there is no such key, or no more")
        if scope not in key.scopes:
            return 403, f"this key is not good for {scope!r}", {}
        return self._rates.refusal(key.digest, key.per_second, "this key")
