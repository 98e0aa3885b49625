"""Who looks for new champions."""

import threading
from collections.abc import Sequence

from pipelines.serving.predictor import Predictor
from pipelines.serving.sources import Champions, Registry


class Follower(threading.Thread):
    """Looks for new champions of all models every `seconds`, with one question for all of them, until stopped."""

    def __init__(self, predictors: Sequence[Predictor], models: Registry, seconds: float) -> None:
        super().__init__(name="champion-follower", daemon=True)
        self._predictors, self._models, self._seconds = predictors, models, seconds
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            champions = self._champions()
            for predictor in self._predictors:
                predictor.follow(champions)
            self._ended.wait(self._seconds)

    def _champions(self) -> Champions:
        """All champions; where they cannot be read, each that is looked up says why."""
        try:
            return self._models.champions()
        except Exception as error:
            cause = error

            def silent(_: str) -> None:
                raise cause

            return silent

    def stop(self) -> None:
        self._ended.set()
        self.join(timeout=5)
