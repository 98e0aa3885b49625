"""Nobody waits long for a file that is fetched from elsewhere: it goes on being fetched, and is there the next time."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future

from pipelines.contracts import TransientError


class Underway(TransientError):
    """It is still being fetched."""


class Fetching:
    """Fetches things in threads of their own, each by one at a time.

    Who begins one waits `seconds` for it at most, and who asks for one that is under way not at all.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._lock = seconds, threading.Lock()
        self._under_way: dict[Hashable, Future[None]] = {}

    def wait(self, what: Hashable, fetch: Callable[[], object]) -> None:
        """Returns once `fetch` has; raises what it raised, or Underway while it goes on."""
        with self._lock:
            begun = what not in self._under_way
            said = self._under_way.setdefault(what, Future())
        if begun:
            threading.Thread(
                target=self._fetch, args=(what, fetch, said), name="fetching", daemon=True
            ).start()
        try:
            said.result(timeout=self._seconds if begun else 0)
        except TimeoutError:
            if said.done():  # its own
                raise
            raise Underway("it is still being fetched") from None

    def _fetch(self, what: Hashable, fetch: Callable[[], object], said: "Future[None]") -> None:
        error: BaseException | None = None
        try:
            fetch()
        except BaseException as raised:
            error = raised
        with self._lock:
            del self._under_way[what]
        if error is None:
            said.set_result(None)
        else:
            said.set_exception(error)
