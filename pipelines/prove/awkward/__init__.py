"""Every class of awkward file lands; what becomes of each is held against what must."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.contracts import Say
from pipelines.prove import Proof
from pipelines.prove.awkward import big, good, names, rows, twice, waits, whole
from pipelines.prove.awkward.bench import Bench, Broken, Case, adds_up
from pipelines.prove.awkward.fuzz import HOME_FILES, Fuzzed, fuzzed
from pipelines.prove.awkward.runner import apart, crash
from pipelines.prove.awkward.sheets import lay_in
from pipelines.settings import Settings

CAP = Settings.model_fields["memory_mb"].default + 256
"""Megabytes above what its imports take that a process may use, whatever lands: the setting and its buffers."""
GROUPS = (waits, good, rows, whole, big, twice, names)
CASES: dict[str, Case] = {case.name: case for group in GROUPS for case in group.CASES}


@dataclass(frozen=True)
class Outcome:
    """What became of one case: what was seen, why that is not what was promised (if so), and its peak."""

    name: str
    expected: str
    got: str
    failure: str | None = None
    peak_mb: float = 0.0


def prove(fuzz: int, seed: int, say: Say) -> Proof:
    """Holds ingestion against one case of every class and `fuzz` mutated files; another seed, other cases."""
    outcomes = []
    with prepared(seed) as folder:
        for number, name in enumerate(CASES, 1):
            say(f"{number} of {len(CASES)}: {name}")
            outcomes.append(weighed(name, folder, seed))
        homes = list(_fuzz(fuzz, seed, folder, say))
    rows = [_row(outcome) for outcome in outcomes]
    failures = [outcome.failure for outcome in outcomes if outcome.failure]
    if homes:
        rows.append(_fuzz_row(homes))
        failures += [failure for home in homes for failure in home.failures]
    promise = f"What lands has the fate its class demands, each row is in one place, in {CAP} MB or less"
    return Proof(promise, rows, failures)


def _row(outcome: Outcome) -> dict[str, Any]:
    return {
        "class": outcome.name,
        "expected": outcome.expected,
        "got": outcome.got,
        "ok": "no" if outcome.failure else "yes",
        "peak MB": round(outcome.peak_mb),
    }


def _fuzz(count: int, seed: int, folder: Path, say: Say) -> Iterator[Fuzzed]:
    for first in range(0, count, HOME_FILES):
        done = fuzzed(first, min(HOME_FILES, count - first), seed, folder, CAP)
        say(f"mutated files from {first} of {count}: {done.fates} in {done.seconds:.0f} s")
        yield done


def _fuzz_row(homes: list[Fuzzed]) -> dict[str, Any]:
    fates: Counter[str] = sum((Counter(home.fates) for home in homes), Counter())
    rate = fates.total() / max(sum(home.seconds for home in homes), 1e-9)
    return {
        "class": f"{fates.total()} mutated files",
        "expected": "no crash, each row in one place",
        "got": ", ".join(f"{count} {fate}" for fate, count in fates.most_common()) + f"; {rate:.0f} a second",
        "ok": "no" if any(home.failures for home in homes) else "yes",
        "peak MB": round(max(home.peak_mb for home in homes)),
    }


@contextmanager
def prepared(seed: int) -> Iterator[Path]:
    """A folder with the real rows that cases are cut from."""
    with tempfile.TemporaryDirectory(prefix="evergreen-awkward-") as name:
        folder = Path(name)
        (folder / "rows").mkdir()
        lay_in(folder / "rows", seed)
        yield folder


def weighed(name: str, folder: Path, seed: int) -> Outcome:
    """Runs a case in a process of its own; its death, its silence and its weight can break it too."""
    case, home = CASES[name], Path(tempfile.mkdtemp(prefix="home-", dir=folder))
    work = (name, home, folder / "rows", seed)
    try:
        laid = apart(lay, *work).death if case.lay else None
        done = apart(attempt, *work, needs=case.needs)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if laid or done.death:
        return Outcome(name, case.expected, "DEAD", f"{name}: {laid or done.death} (seed {seed})")
    return judged(replace(done.value, peak_mb=done.peak_mb))


def judged(outcome: Outcome) -> Outcome:
    """The outcome, broken if it took more memory than any file may."""
    if outcome.peak_mb <= CAP:
        return outcome
    why = f"{outcome.name}: {outcome.peak_mb:.0f} MB of memory, above the cap of {CAP} MB"
    return replace(outcome, failure=f"{outcome.failure}; {why}" if outcome.failure else why)


def lay(name: str, home: Path, rows: Path, seed: int) -> None:
    """Writes what a case needs beforehand, where its memory does not count."""
    case = CASES[name]
    if case.lay is not None:
        case.lay(Bench(home, rows, f"{seed}:{name}"))


def attempt(name: str, home: Path, rows: Path, seed: int) -> Outcome:
    """Runs a case in this very process; whatever goes wrong is the outcome's failure."""
    case = CASES[name]
    try:
        with Bench(home, rows, f"{seed}:{name}") as bench:
            got = case.act(bench)
            adds_up(bench)
    except Broken as broken:
        return Outcome(name, case.expected, "BROKEN", f"{name}: {broken} (seed {seed})")
    except Exception as error:
        return Outcome(name, case.expected, "CRASH", f"{name}: {crash(error)} (seed {seed})")
    return Outcome(name, case.expected, got)
