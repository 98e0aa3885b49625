"""Whether each landed batch is in silver exactly once, as the Delta log and not our own code tells it."""

import json
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from pipelines.catalog import REFERENCE, model
from pipelines.contracts import EvergreenError
from pipelines.loop.replay import replay
from pipelines.reading.records import digest_of
from pipelines.stores import Stores
from pipelines.upstream import story

ENDED = {"committed", "archived", "refused"}


@dataclass(frozen=True)
class Landed:
    """A file that was put into the landing folder, its rows, and when (seconds since the epoch)."""

    dataset: str
    name: str
    digest: str
    rows: int
    at: float


class Supply:
    """Real files, one per dataset and day, made as they are asked for."""

    def __init__(self, folder: Path, first: date) -> None:
        self._source = replay(REFERENCE, first, story(model(REFERENCE)).end, "1d", folder)
        self._ready: dict[str, deque[Path]] = {}

    def take(self, dataset: str) -> Path:
        """The next file of a dataset."""
        while not self._ready.get(dataset):
            made = next(self._source, None)
            if made is None:
                raise EvergreenError(f"there are no more files of {dataset}; ask for fewer events or kills")
            self._ready.setdefault(made.name.partition("_")[0], deque()).append(made)
        return self._ready[dataset].popleft()


def land(file: Path, dataset: str, landing: Path) -> Landed:
    """Copies a file in as a careful exporter does: beside, then renamed."""
    part = landing / f".{file.name}.tmp"
    part.write_bytes(file.read_bytes())
    rows = len(part.read_bytes().splitlines()) - 1
    digest = digest_of(part)
    part.rename(landing / file.name)
    return Landed(dataset, file.name, digest, rows, time.time())


def commits(stores: Stores, dataset: str) -> dict[str, list[float]]:
    """When (seconds since the epoch) each transaction id was committed to silver, by the Delta log."""
    found: dict[str, list[float]] = {}
    log = Path(stores.tables.uri("silver", dataset)) / "_delta_log"
    for path in sorted(log.glob("*.json")):
        actions = [json.loads(line) for line in path.read_text().splitlines() if line]
        at = next((a["commitInfo"]["timestamp"] / 1000 for a in actions if "commitInfo" in a), 0.0)
        for action in actions:
            if "txn" in action:
                found.setdefault(action["txn"]["appId"], []).append(at)
    return found


def committed(stores: Stores, landed: Iterable[Landed]) -> bool:
    """Whether every one of them is in silver, in the ledger, and out of the landing folder."""
    files = list(landed)
    ended = {
        batch.digest
        for name in {file.dataset for file in files}
        for batch in stores.ledger.batches(name)
        if batch.state.value in ENDED
    }
    landing = stores.settings.landing_path
    return all(file.digest in ended and not (landing / file.name).exists() for file in files)


def longest_wait(stores: Stores, landed: Iterable[Landed], since: float | None = None) -> float:
    """Seconds from landing, or from a later moment, to commit, of the file that waited longest."""
    files = list(landed)
    logs = {name: commits(stores, name) for name in {file.dataset for file in files}}
    spans = [(max(file.at, since or 0.0), logs[file.dataset].get(file.digest, [])) for file in files]
    return max((at[0] - begun for begun, at in spans if at), default=0.0)


def breaches(stores: Stores, landed: Iterable[Landed], case: str) -> list[str]:
    """Every file that is not in silver exactly once, whole, and as the ledger says; a sentence each."""
    files = list(landed)
    found: list[str] = []
    for dataset in sorted({file.dataset for file in files}):
        mine = [file for file in files if file.dataset == dataset]
        found += _breaches_of(stores, dataset, mine)
    return [f"{case}: {sentence}" for sentence in found]


def whole(landed: Iterable[Landed], broken: list[str]) -> str:
    """How many of the files no sentence is about, as a row of a proof says it."""
    count = sum(not any(f": {file.name}: " in sentence for sentence in broken) for file in landed)
    return f"{count} in silver once"


def _breaches_of(stores: Stores, dataset: str, files: list[Landed]) -> list[str]:
    log = commits(stores, dataset)
    batches = stores.ledger.batches(dataset)
    known = Counter(batch.digest for batch in batches)
    ledger: dict[str, Any] = {batch.digest: batch for batch in batches}
    table = stores.tables.dataset("silver", dataset)
    rows = None if table is None else table.to_table(["_batch", "_line"])
    said = []
    for file in files:
        lines = (
            [] if rows is None else rows.filter(pc.equal(rows["_batch"], file.digest))["_line"].to_pylist()
        )
        batch = ledger.get(file.digest)
        counted = None if batch is None else batch.silver + batch.quarantined + batch.superseded
        state = "unknown" if batch is None else f"{batch.state.value}, {batch.reason}"
        checks = {
            f"the ledger says {state}": batch is not None and batch.state.value in ENDED - {"refused"},
            f"{len(log.get(file.digest, []))} silver commits": len(log.get(file.digest, [])) == 1,
            f"{known[file.digest]} ledger entries": known[file.digest] == 1,
            f"{len(lines) - len(set(lines))} lines twice in silver": len(lines) == len(set(lines)),
            f"ledger says {batch and batch.silver} rows, silver has {len(lines)}": batch is not None
            and batch.silver == len(lines),
            f"{counted} rows accounted for of {file.rows}": counted == file.rows,
        }
        said += [f"{file.name}: {what}" for what, good in checks.items() if not good]
    return said
