"""When a version that could not be loaded is tried again."""

import time

LONGEST_PAUSE = 60.0


class Retries:
    """What does not load is tried ever less often; another one is tried at once."""

    def __init__(self) -> None:
        self._broken: object = None
        self._failures, self._not_before = 0, 0.0

    def wait(self, which: object) -> bool:
        """Whether it is too early to try this one again."""
        return self._broken == which and time.monotonic() < self._not_before

    def failed(self, which: object) -> None:
        """It could not be loaded."""
        self._failures = self._failures + 1 if self._broken == which else 1
        self._broken = which
        self._not_before = time.monotonic() + min(0.5 * 2.0 ** min(self._failures, 20), LONGEST_PAUSE)

    def went(self) -> None:
        """Something could be loaded, or may be tried again at once."""
        self._broken = None
