"""Thousands of canaries whose truth is known, put to the product's own tests.

The tests are looked at after every question, which is at least as strict as any number of looks.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from pipelines.contracts import Say
from pipelines.prove import Proof
from pipelines.prove.canary.worlds import LIMITS, World, drawn, naive, taken_back

PROMISE = (
    "at most 1% of equal challengers are taken back, however often one looks; one with five times the errors"
    " within 250 questions per arm"
)
CONFIDENCE, WRONG, SOON, CAUGHT = 0.995, 0.01, 250, 0.95
EQUAL = {
    "equal, errors 2%": World(),
    "equal, errors 20%": World(0.2, 0.2),
    "equal, no errors": World(0.0, 0.0),
    "equal, errors 2% in bursts of 4": World(burst=4),
    "exactly at every limit": World(at_the_limit=True),
}
SICK = {
    "5 times the errors, 1% to 5%": World(0.01, 0.05),
    "5 times the errors, 2% to 10%": World(0.02, 0.1),
    "5 times the errors, 5% to 25%": World(0.05, 0.25),
    "2.5 times as slow": World(times=2.5),
    "miscalibrated by 1 in log odds": World(shift=1.0),
    "the same, agreement not judged": World(shift=1.0, limits=LIMITS.model_copy(update={"apart": None})),
}


@dataclass(frozen=True)
class Seen:
    """What became of some canaries: after how many questions each was taken back (None: never), by which test."""

    ends: list[int | None]
    tests: Counter[str]
    naive: int

    @property
    def back(self) -> list[int]:
        return [end for end in self.ends if end is not None]

    @property
    def share(self) -> float:
        return len(self.back) / len(self.ends)

    @property
    def median(self) -> float | None:
        """Questions per arm until half of all were taken back; None if fewer were."""
        ordered = sorted(self.back)
        place = (len(self.ends) + 1) // 2 - 1
        return ordered[place] / 2 if place < len(ordered) else None


def prove(canaries: int, looks: int, questions: int, seed: int, say: Say) -> Proof:
    """So many canaries of each kind, of so many questions, half of them in each arm."""
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    for number, (kind, world) in enumerate({**EQUAL, **SICK}.items()):
        seen = tried(world, canaries, looks, questions, [seed, number])
        rows.append(_row(kind, seen))
        failures += _broken(kind, seen)
        say(f"{kind}: {seen.share:.1%} taken back")
    return Proof(PROMISE, rows, failures)


def tried(world: World, canaries: int, looks: int, questions: int, seed: list[int]) -> Seen:
    """Canaries of one world, judged by the product and by the naive z-test."""
    import numpy as np

    ends, tests, cried = [], Counter[str](), 0
    for number in range(canaries):
        canary = drawn(world, questions, np.random.default_rng([*seed, number]))
        end, test = taken_back(canary, CONFIDENCE)
        ends.append(end)
        tests[test] += end is not None
        cried += naive(canary, looks)
    return Seen(ends, +tests, cried)


def _row(kind: str, seen: Seen) -> dict[str, Any]:
    median = seen.median
    return {
        "challenger": kind,
        "canaries": len(seen.ends),
        "taken back": f"{seen.share:.1%}",
        "questions per arm (median)": "" if median is None else f"{median:.0f}",
        "by": ", ".join(f"{test} {count}" for test, count in seen.tests.most_common()),
        "naive z-test": f"{seen.naive / len(seen.ends):.1%}",
    }


def _broken(kind: str, seen: Seen) -> list[str]:
    if kind in EQUAL:
        return [f"{kind}: {seen.share:.1%} were taken back"] if seen.share > WRONG else []
    found = [f"{kind}: only {seen.share:.1%} were taken back"] if seen.share < CAUGHT else []
    if "errors" in kind and (seen.median is None or seen.median > SOON):
        found.append(f"{kind}: it took {seen.median} questions per arm")
    return found
