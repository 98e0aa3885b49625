"""Which version of a model answers in this process: a new one once it is its turn in all processes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from threading import Lock

from pipelines.serving.served import Served
from pipelines.serving.sources import ChampionLike
from pipelines.serving.workers.turns import Turns
from pipelines.stores.audit.licences import Licence


class Seat:
    """`served` answers, `waits` is loaded and waits for its turn, `before` is kept warm should it come back.

    `taken` is called with each version that begins to answer.
    """

    def __init__(self, model: str, turns: Turns, taken: Callable[[Served], None]) -> None:
        self._model, self._turns, self._taken, self._lock = model, turns, taken, Lock()
        self.served: Served | None = None
        self.before: Served | None = None
        self.waits: Served | None = None

    def now(self) -> Served | None:
        """The version that answers a question asked now, None before the first."""
        waits = self.waits
        if waits is not None and self._turns.told(self._model, waits.version):
            self._take()
        return self.served

    def offer(self, served: Served) -> None:
        """A version is loaded, and answers once all have it; at once where none answers yet."""
        with self._lock:
            self.waits = served
        self._turns.offer(self._model, served.version)
        self.turn()

    def turn(self) -> None:
        """Let what waits answer, if it is its turn."""
        waits = self.waits
        if waits and (self.served is None or self._turns.agreed(self._model, waits.version)):
            self._take()

    def stay(self) -> None:
        """What answers goes on; whatever waited is the champion no more."""
        with self._lock:
            waited, self.waits = self.waits, None
        if waited is not None and self.served is not None:
            self._turns.offer(self._model, self.served.version)

    def kept(self, champion: ChampionLike, licence: Licence) -> Served | None:
        """The version that answered before, if it is the champion again: in memory as it was verified."""
        if self.before is None or not same(self.before, champion):
            return None
        return replace(self.before, licence=licence, loaded_at=datetime.now(UTC))

    def _take(self) -> None:
        with self._lock:
            taken = self.waits
            if taken is None:
                return
            self.before, self.served, self.waits = self.served, taken, None
        self._taken(taken)


def same(served: Served, champion: ChampionLike) -> bool:
    """Whether it is this version that is loaded."""
    return (served.version, served.digest) == (champion.version, champion.digest)
