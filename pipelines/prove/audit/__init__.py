"""A thousand single edits of log, record and models: each is made, looked for, and undone."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from pipelines.contracts import BatchState, EvergreenError, IngestResult, Say
from pipelines.prove import Proof
from pipelines.prove.audit.edits import KINDS, Edit, chosen
from pipelines.prove.audit.scene import Scene
from pipelines.prove.ingestion import scratch
from pipelines.prove.promotion.world import built, opened
from pipelines.record.verification import verify
from pipelines.stores import Stores
from pipelines.stores.audit import events
from pipelines.stores.audit.chain import Finding

PROMISE = "Every edit of the audit log, of a decision record, of a version's tags or of its files is found"
BATCHES = 250
"""So many files were taken in or refused in the log's history."""
CONTROL_EVERY = 100
LATER = timedelta(hours=1)


@dataclass
class Count:
    """What was tried and found, by kind."""

    tried: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)


def prove(edits: int, seed: int, say: Say) -> Proof:
    """So many different edits of a real history, each kind in turn; before, between and after nothing is found."""
    with scratch() as home:
        _history(home, say)
        return attacked(home, edits, seed, say)


def attacked(home: Path, edits: int, seed: int, say: Say) -> Proof:
    """The edits, on a home with a history; it is afterwards as it was."""
    count, controls = Count(), 0
    _nothing_found(home, "before the first edit")
    scene = Scene(opened(home), Random(seed))  # noqa: S311 - the same seed tries the same edits
    for number, edit in enumerate(_effective(scene, edits, count, home), 1):
        if number % CONTROL_EVERY == 0 or number == edits:
            _nothing_found(home, f"after edit {number} ({edit.kind}: {edit.what}) was undone")
            controls += 1
            say(f"{number:,} edits tried, {sum(count.found.values()):,} found")
    return Proof(PROMISE, _rows(count, len(scene.rows), controls + 1), count.missed)


def _effective(scene: Scene, edits: int, count: Count, home: Path) -> Iterator[Edit]:
    """Makes each edit, looks for it and undoes it; one that would change nothing is passed over."""
    for edit in chosen(scene, edits * 3):
        if sum(count.tried.values()) == edits:
            return
        undo = edit.make()
        if undo is None:
            continue
        try:
            findings = _findings(home)
        finally:
            undo()
        count.tried[edit.kind] += 1
        count.found[edit.kind] += bool(findings)
        if not findings:
            count.missed.append(f"{edit.kind}: {edit.what} was not found")
        yield edit


def _findings(home: Path) -> list[Finding]:
    """What another process would find, that knows nothing of before."""
    return verify(opened(home), datetime.now(UTC) + LATER)


def _nothing_found(home: Path, when: str) -> None:
    findings = _findings(home)
    if findings:
        raise EvergreenError(f"{when}, something was found although nothing is edited: {findings[0]}")


def _rows(count: Count, length: int, controls: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        {"edited": kind, "tried": count.tried[kind], "found": count.found[kind]}
        for kind in KINDS
        if count.tried[kind]
    ]
    tried, found = sum(count.tried.values()), sum(count.found.values())
    control = {"edited": "control: nothing", "tried": controls, "found": 0}
    return [*rows, {"edited": f"all, in a log of {length} entries", "tried": tried, "found": found}, control]


def _history(home: Path, say: Say) -> None:
    """Models trained, judged, promoted, overridden and rolled back, among batches taken in and refused."""
    stores = opened(home)
    _landed(stores, "before", BATCHES // 2)
    say("training and judging the models whose record is edited")
    built(home)
    _landed(stores, "after", BATCHES - BATCHES // 2)


def _landed(stores: Stores, name: str, count: int) -> None:
    """Batches in the ledger, and so in the log: every seventh was refused."""
    import hashlib

    for number in range(count):
        file = f"flights_{name}_{number}.csv"
        digest = hashlib.sha256(file.encode()).hexdigest()
        refused = number % 7 == 6
        state = BatchState.REFUSED if refused else BatchState.COMMITTED
        rows = (0, 0) if refused else (100 + number, 100 + number)
        stores.ledger.record(
            IngestResult(digest, "flights", file, state, *rows, reason="cut off" if refused else None)
        )
    events.batches(stores, "flights")
