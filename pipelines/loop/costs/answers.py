"""What an answer takes: the processors' seconds of each version that serving answered with, by its answers."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.stores.watching.costs import SERVE, Figure


@dataclass
class Answering:
    """What a version's answers took: `requests` that were answered with so many `answers` (rows), seconds of processors
    and the most memory of a process that gave them, in bytes. `cpu_ms` are those of one answer."""

    name: str
    version: int | None
    requests: int = 0
    answers: int = 0
    cpu: float = 0.0
    peak: int | None = None
    cpu_ms: float | None = None

    def add(self, figure: Figure) -> None:
        self.requests += figure.runs
        self.answers += figure.rows or 0
        self.cpu += figure.cpu
        self.peak = max(filter(None, (self.peak, figure.peak)), default=None)
        self.cpu_ms = 1000 * self.cpu / self.answers if self.answers else None


def answering(figures: Iterable[Figure], model: str | None = None) -> list[Answering]:
    """One of each version that answered, of all models or of one, by name and the newest first."""
    found: dict[tuple[str, int], Answering] = {}
    for figure in figures:
        if figure.stage == SERVE and model in (None, figure.subject):
            key = (figure.subject, -(figure.version or 0))
            found.setdefault(key, Answering(figure.subject, figure.version)).add(figure)
    return [found[key] for key in sorted(found)]
