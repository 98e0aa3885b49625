"""What lands has the fate its class demands, whatever it is; and the proof of that can fail."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.ingestion import arrivals, ingest
from pipelines.prove import awkward
from pipelines.prove.awkward import (
    CASES,
    Outcome,
    attempt,
    good,
    judged,
    names,
    prepared,
    prove,
    rows,
    waits,
    weighed,
    whole,
)
from pipelines.prove.awkward.bench import Bench
from pipelines.prove.awkward.fuzz import fuzzed, made
from pipelines.prove.awkward.runner import PATIENCE, apart
from pipelines.reading import files
from pipelines.stores.tables import Tables
from tests.hurried import few_rules

pytestmark = pytest.mark.timeout(1200)  # one fixture tries seventy cases: half a minute on an idle machine
SEED = 2013


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Real rows that every case cuts its files from."""
    with prepared(SEED) as made_ready:
        yield made_ready


def one_after_another(cases: list[str], home: Path, sources: Path, seed: int) -> list[Outcome]:
    """Runs cases in this very process, each in a home of its own, whose suites hardly judge."""
    made = []
    with pytest.MonkeyPatch.context() as patched:
        few_rules(patched)
        for number, name in enumerate(cases):
            made.append(attempt(name, home / str(number), sources, seed))
            shutil.rmtree(home / str(number), ignore_errors=True)
    return made


@pytest.fixture(scope="module")
def together(folder: Path) -> dict[str, Outcome]:
    """What became of the cases of a kind that went well in one process, weighed as a whole.

    A process of its own costs a small case more than its work. Those that did not go well are left out here, all
    of a kind if their process died or took too much memory: each is then tried by itself, and named.
    """
    found = {}
    for kind in (waits, good, rows, whole, names):
        cases = [case.name for case in kind.CASES if not case.lay and not case.needs]
        work = (cases, folder / kind.__name__, folder / "rows", SEED)
        done = apart(one_after_another, *work, patience=PATIENCE * len(cases))
        weight = [judged(replace(outcome, peak_mb=done.peak_mb)) for outcome in done.value or []]
        found |= {outcome.name: outcome for outcome in weight if outcome.failure is None}
    return found


@pytest.mark.parametrize("name", CASES)
def test_an_awkward_file_has_the_fate_of_its_class(
    name: str, folder: Path, together: dict[str, Outcome]
) -> None:
    outcome = together.get(name) or weighed(name, folder, SEED)
    assert outcome.failure is None
    assert outcome.peak_mb > 0


def test_most_cases_go_well_beside_others(together: dict[str, Outcome]) -> None:
    assert len(together) > len(CASES) / 2


def test_every_class_has_its_case() -> None:
    kinds = {case.expected.split(",")[0] for case in CASES.values()}
    assert {"WAIT", "ACCEPT", "QUARANTINE ROW", "REFUSE FILE", "NO-OP", "REFUSE UNOPENED"} <= kinds
    assert len(CASES) >= 84


def test_another_seed_tries_other_files(folder: Path, tmp_path: Path) -> None:
    told = {attempt("a row too short", tmp_path / str(seed), folder / "rows", seed).got for seed in (1, 2)}
    assert len(told) > 1


def test_mutated_files_crash_nothing_and_lose_no_row(folder: Path) -> None:
    done = fuzzed(0, 15, SEED, folder, awkward.CAP)
    assert done.failures == []
    assert sum(done.fates.values()) == 15


def test_a_mutated_file_is_made_again_from_its_seed_and_number(folder: Path, tmp_path: Path) -> None:
    bench = Bench(tmp_path, folder / "rows", "any")
    mutated = [made(bench, SEED, number) for number in range(10)]
    assert mutated == [made(bench, SEED, number) for number in range(10)]
    assert len({found.content for _, found in mutated}) == 10


def _without_quarantine(real: Callable[..., bool]) -> Callable[..., bool]:
    """Appends nothing to quarantine, and says that it did."""

    def append(self: Tables, layer: str, *rest: Any, **named: Any) -> bool:
        return True if layer == "quarantine" else real(self, layer, *rest, **named)

    return append


def _accept_any_share(patched: pytest.MonkeyPatch) -> None:
    for module in (files, ingest):
        patched.setattr(module, "refuse_if_too_many", lambda *_: None)


def _drop_quarantined_rows(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(Tables, "append", _without_quarantine(Tables.append))


def _take_unfinished_files(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(arrivals, "UNFINISHED", ())


def _leave_files_where_they_are(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(ingest, "put_away", lambda *_: None)


SABOTAGES = {
    "a row too short": _drop_quarantined_rows,
    "an empty key": _drop_quarantined_rows,
    "too large a share of bad rows": _accept_any_share,
    ".part": _take_unfinished_files,
    "CRLF": _leave_files_where_they_are,
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_sabotaged_reading_breaks_its_case(
    name: str, folder: Path, together: dict[str, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (together.get(name) or weighed(name, folder, SEED)).failure is None
    SABOTAGES[name](monkeypatch)
    outcome = attempt(name, tmp_path / "sabotaged", folder / "rows", SEED)
    assert re.match(re.escape(f"{name}: "), outcome.failure or "")


def test_a_proof_with_one_broken_case_does_not_hold(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(awkward, "CASES", {name: CASES[name] for name in ("a row too short", "CRLF")})

    def here(name: str, folder: Path, seed: int) -> Outcome:
        return attempt(name, tmp_path_factory.mktemp("home"), folder / "rows", seed)

    monkeypatch.setattr(awkward, "weighed", here)
    monkeypatch.setattr(awkward, "prepared", lambda _: nullcontext(folder))
    assert prove(0, SEED, lambda _: None).holds
    _drop_quarantined_rows(monkeypatch)
    proof = prove(0, SEED, lambda _: None)
    assert not proof.holds
    assert [row["ok"] for row in proof.rows] == ["no", "yes"]


def test_memory_above_the_cap_breaks_a_case() -> None:
    heavy = awkward.judged(Outcome("a 10 MB field", "REFUSE FILE", "refused", peak_mb=awkward.CAP + 1))
    assert "above the cap" in (heavy.failure or "")
    assert awkward.judged(Outcome("a 10 MB field", "REFUSE FILE", "refused", peak_mb=1)).failure is None
