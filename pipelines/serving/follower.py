"""Who looks for new champions, and for what is rolled out beside them."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from pipelines.serving.accounts.account import Beside as Apart
from pipelines.serving.arms.challenger import Challenger
from pipelines.serving.causes import passed
from pipelines.serving.predictor import Predictor
from pipelines.serving.sources import Champions, Registry, Rollouts

log = logging.getLogger("evergreen.serving")
Beside = tuple[Rollouts, Sequence[Challenger]]
"""Where rollouts are told, and who follows them."""


class Follower(threading.Thread):
    """Looks for new champions of all models every `seconds`, with one question for all of them, until stopped.

    For what is rolled out beside them with another, where something may be. Whatever it does is done inside `apart`.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor],
        models: Registry,
        seconds: float,
        beside: Beside | None = None,
        apart: Apart = nullcontext,
    ) -> None:
        super().__init__(name="champion-follower", daemon=True)
        self._predictors, self._models, self._seconds = predictors, models, seconds
        self._beside, self._apart = beside, apart
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            with self._apart():
                try:
                    self._look()
                except (
                    Exception
                ) as error:  # such as a full disk; who follows no more would serve old versions for ever
                    log.error("champions could not be followed: %s", passed(error))
            self._ended.wait(self._seconds)

    def _look(self) -> None:
        champions = _named(self._models.champions)
        for predictor in self._predictors:
            predictor.follow(champions)
        if self._beside:
            rollouts, challengers = self._beside
            named = _named(rollouts.challengers)
            for challenger in challengers:
                challenger.follow(named)

    def stop(self) -> None:
        self._ended.set()
        self.join(timeout=5)


def _named(read: Callable[[], Champions]) -> Champions:
    """All versions of one kind; where they cannot be read, each that is looked up says why."""
    try:
        return read()
    except Exception as error:
        cause = error

        def silent(_: str) -> None:
            raise cause

        return silent
