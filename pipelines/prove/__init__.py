"""The product's promises as commands: each runs the real thing, does its worst, and counts what broke."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Proof:
    """What a promise was held against: one row per kind of attack, and every breach in a sentence."""

    promise: str
    rows: list[dict[str, Any]]
    failures: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether something was tried and nothing broke."""
        return bool(self.rows) and not self.failures
