"""Tells Prometheus what this process takes, and keeps it beside what the steps of the loop took."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from sqlalchemy.exc import DBAPIError

from pipelines.processes import status
from pipelines.serving.accounts.account import Account, Taken, Whose
from pipelines.serving.causes import passed
from pipelines.serving.metrics import Metrics
from pipelines.stores.watching.costs import MODEL, OK, SERVE, SERVE_IDLE, SERVING, Figure

log = logging.getLogger("evergreen.serving")
Kept = Callable[[Sequence[Figure]], None]
"""Where figures are kept, all or none."""
TOLD, EVERY = 5.0, 300.0
"""Seconds between two times at which Prometheus is told, and at which figures are kept."""
LAST = 2.0
"""So many seconds the end of serving waits for its last figures to be kept, and no longer."""


class Bookkeeper(threading.Thread):
    """The one thread that reads the account, until stopped; nobody who asks waits for it, whatever holds it up.

    What could not be kept is kept with what comes later, unless it may have been kept: then it is lost, not doubled.
    """

    def __init__(self, account: Account, metrics: Metrics, models: Iterable[str], kept: Kept | None) -> None:
        super().__init__(name="bookkeeper", daemon=True)
        self._account, self._metrics, self._models, self._kept = account, metrics, tuple(models), kept
        self._ended, self._since = threading.Event(), datetime.now(UTC)
        self._answers: dict[Whose, Taken] = {}
        self._idle = Taken()

    def run(self) -> None:
        kept_at = time.monotonic()
        while not self._ended.wait(TOLD):
            self.tell()
            if time.monotonic() - kept_at >= EVERY:
                self.keep()
                kept_at = time.monotonic()
        self.tell()
        self.keep()

    def stop(self) -> None:
        self._ended.set()
        self.join(timeout=LAST)

    def tell(self) -> None:
        """What was taken since the last time goes to Prometheus, and to what is to be kept."""
        answers, idle = self._account.taken()
        for (model, version), taken in answers.items():
            self._metrics.answer_cpu.labels(model).inc(taken.cpu)
            self._answers.setdefault((model, version), Taken()).add(taken)
        self._idle.add(idle)
        self._metrics.idle_cpu.inc(max(0.0, idle.cpu))
        self._metrics.memory.set(status("VmRSS") * 1024)

    def keep(self) -> None:
        """Keep what was told since it was last kept."""
        if self._kept is None:
            return
        try:
            self._kept(self._figures())
        except Exception as error:
            log.warning("what serving took could not be kept: %s", passed(error))
            if not (isinstance(error, DBAPIError) and error.connection_invalidated):
                return
        self._answers, self._idle, self._since = {}, Taken(), datetime.now(UTC)

    def _figures(self) -> list[Figure]:
        """One of each version that answered, and one of the rest, which all models of this server share."""
        most, since = status("VmHWM") * 1024 or None, self._since
        answered = [
            Figure(
                SERVE, MODEL, model, OK, since, taken.wall, taken.cpu, runs=taken.requests, rows=taken.rows,
                version=version, peak=most, peak_of="process",
            )
            for (model, version), taken in self._answers.items()
        ]  # fmt: skip
        rest = Figure(
            SERVE_IDLE, SERVING, "", OK, since, self._idle.wall, self._idle.cpu, runs=0, peak=most, peak_of="process",
            parts=dict.fromkeys(self._models, 1.0),
        )  # fmt: skip
        return [*answered, rest]
