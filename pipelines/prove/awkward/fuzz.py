"""Mutated real files by the hundred: none may crash ingestion, swell it, or leave a row unexplained."""

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import perf_counter

from pipelines.contracts import EvergreenError, IngestResult
from pipelines.prove.awkward.bench import Bench, Broken, accounted, adds_up, must
from pipelines.prove.awkward.mutations import Mutant, mutant
from pipelines.prove.awkward.runner import apart, crash, peak_mb

HOME_FILES = 50
"""Files that share a deployment: silver grows, and what is known already is met again."""
PATIENCE = 600.0


@dataclass(frozen=True)
class Fuzzed:
    """What became of one home's files, by fate, and each breach in a sentence."""

    fates: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak_mb: float = 0.0


def fuzzed(first: int, count: int, seed: int, folder: Path, cap: float) -> Fuzzed:
    """Lands mutated files `first` to `first + count - 1` in a deployment of their own, in a process of its own."""
    home = folder / f"fuzz-{seed}-{first}"
    done = apart(land_all, home, folder / "rows", seed, first, count, cap, patience=PATIENCE)
    if done.death is None and isinstance(done.value, Fuzzed):
        return done.value
    at = (home / "at").read_text() if (home / "at").exists() else str(first)
    return Fuzzed(
        {"dead": 1},
        [f"fuzz file {at} of seed {seed}: {done.death}; fuzz.made(bench, seed, number) makes its bytes"],
    )


def land_all(home: Path, rows: Path, seed: int, first: int, count: int, cap: float) -> Fuzzed:
    """Lands the files one by one and judges each."""
    with Bench(home, rows, f"fuzz {seed}:{first}") as bench:
        return _landed(bench, seed, range(first, first + count), cap)


def _landed(bench: Bench, seed: int, numbers: range, cap: float) -> Fuzzed:
    begun, at = perf_counter(), bench.stores.settings.home / "at"
    fates: dict[str, int] = {}
    failures: list[str] = []
    base = peak = peak_mb()
    for number in numbers:
        at.write_text(str(number))
        fate, failure = land_one(bench, seed, number)
        now = peak_mb()
        if now - base > cap and now > peak:
            failure = f"{failure or ''} took the peak to {now - base:.0f} MB, above {cap:.0f} MB"
        peak = max(peak, now)
        fates[fate] = fates.get(fate, 0) + 1
        if failure:
            failures.append(
                f"fuzz file {number} of seed {seed} ({made(bench, seed, number)[1].story}): {failure}"
            )
    try:
        adds_up(bench)
    except Broken as broken:
        failures.append(f"fuzz files {numbers[0]} to {numbers[-1]} of seed {seed}: {broken}")
    return Fuzzed(fates, failures, perf_counter() - begun, peak - base)


def land_one(bench: Bench, seed: int, number: int) -> tuple[str, str | None]:
    """One mutated file's fate, and what was broken, if anything was."""
    name, found = made(bench, seed, number)
    spec = bench.fuzz_sheet(_dice(seed, number)).spec
    path = bench.land(name, found.content)
    try:
        [result] = bench.take(spec)
        must(not path.exists(), "it lies in the landing folder still")
        accounted(bench, spec, result)
        return _fate(result), None
    except Broken as broken:
        return "broken", str(broken)
    except EvergreenError as error:
        return "told", None if path.exists() else f"{error}, and the file is gone"
    except Exception as error:
        path.unlink(missing_ok=True)
        return "crashed", crash(error)


def made(bench: Bench, seed: int, number: int) -> tuple[str, Mutant]:
    """The mutated file of this seed and number, always the same, and its name."""
    dice = _dice(seed, number)
    sheet = bench.fuzz_sheet(dice)
    found = mutant(dice, sheet)
    return f"{sheet.spec.name}_{number}{found.end}", found


def _dice(seed: int, number: int) -> Random:
    return Random(f"fuzz {seed}:{number}")  # noqa: S311 - dice, not secrets


def _fate(result: IngestResult) -> str:
    if result.state.value == "refused":
        return "refused"
    return "accepted in part" if result.quarantined else "accepted"
