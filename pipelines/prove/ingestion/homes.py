"""What a run left in a home: held against the landed bytes, and against a clean run."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from pipelines.catalog import dataset, datasets
from pipelines.contracts import BatchState, IngestResult
from pipelines.ingestion.accounting import places, quarantine, superseded
from pipelines.prove.exports import Export
from pipelines.prove.forks import Home
from pipelines.prove.ingestion.syscalls import Call
from pipelines.stores import Stores

LAYERS = ("silver", "quarantine", "superseded")
"""Where a row may end."""
ENTERING = ("link", "linkat", "rename", "renameat", "renameat2")
"""Calls after which the folder, too, must be brought to disk."""
FINAL = (BatchState.ARCHIVED, BatchState.REFUSED)
State = dict[str, list[str]]
"""What a home holds, each part by name as sorted text."""
Place = tuple[str, int]
"""A batch's digest and a line of its file."""


@dataclass
class Breaches:
    """Every breach in a sentence, by kind."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        return iter([*self.lost, *self.doubled, *self.torn])

    def __add__(self, other: "Breaches") -> "Breaches":
        return Breaches(self.lost + other.lost, self.doubled + other.doubled, self.torn + other.torn)

    def __str__(self) -> str:
        return ", ".join(f"{count} {kind}" for kind, count in self.counts().items())

    def counts(self) -> dict[str, int]:
        return {"lost": len(self.lost), "doubled": len(self.doubled), "torn": len(self.torn)}


def audit(exports: Iterable[Export], home: Home, ended: bool = True) -> Breaches:
    """Holds a home against the landed bytes alone, whichever writer or file came first.

    With ended=False only what the ledger says is committed must be whole.
    """
    by_dataset: dict[str, list[Export]] = defaultdict(list)
    for export in exports:
        by_dataset[export.dataset].append(export)
    stores, found = home.stores, Breaches()
    for name, files in by_dataset.items():
        found += _Audit(name, files, stores, ended).run()
    if ended:
        found.torn += _files(by_dataset, home)
    return found


def state(home: Home) -> State:
    """All that a run leaves and a clean run would leave too: no attempt that came to nothing, no wall-clock time."""
    stores = home.stores
    kept = {
        f"{layer} {name}": sorted(map(str, _rows(layer, name, stores)))
        for layer in LAYERS
        for name in sorted(datasets())
        if stores.tables.version(layer, name) is not None
    }
    results = [asdict(result) | {"report": bool(result.report)} for result in stores.ledger.batches()]
    kept["ledger"] = sorted(str({k: v for k, v in row.items() if k != "attempt"}) for row in results)
    for folder in ("archive", "refused"):
        kept[folder] = sorted(map(str, _kept(folder, stores).items()))
    kept["landing"] = sorted(path.name for path in home.landing.glob("[!.]*"))
    return {part: rows for part, rows in kept.items() if rows}


def _rows(layer: str, name: str, stores: Stores) -> list[dict[str, Any]]:
    """A table's rows that count, without the attempt that wrote them."""
    spec = dataset(name)
    if layer == "silver":
        rows = stores.tables.silver(spec).to_table()
    else:
        rows = {"quarantine": quarantine, "superseded": superseded}[layer](spec, stores).drop_columns(
            "_attempt"
        )
    return cast(list[dict[str, Any]], rows.to_pylist())


def differences(state: State, clean: State) -> list[str]:
    """Which parts of a state are not those of a clean run, each with one example."""
    return [
        f"{part} differs from a clean run's, for example {_example(state.get(part, []), clean.get(part, []))}"
        for part in sorted(state.keys() | clean.keys())
        if state.get(part, []) != clean.get(part, [])
    ]


def unsafe(calls: Iterable[Call], home: Home) -> list[str]:
    """Committed files and their folders that a power cut could still take: unflushed since they changed."""
    dirty: set[str] = set()
    for call in calls:
        if call.name in ("sync", "syncfs"):
            dirty.clear()
        elif call.name in ("fsync", "fdatasync"):
            dirty.discard(call.path)
        else:
            dirty.add(call.path.removesuffix("#1"))
            dirty |= {os.path.dirname(call.path)} if call.name in ENTERING else set()
    needed = {part for path in _committed(home) for part in (path, os.path.dirname(path))}
    return [f"{path} was never brought to disk" for path in sorted(dirty & needed)]


def _committed(home: Home) -> Iterator[str]:
    """The data and log files that the tables of rows stand on, within the home."""
    tables = home.stores.tables
    for layer in LAYERS:
        for folder in Path(tables.root, layer).glob("*"):
            logs = (str(log) for log in (folder / "_delta_log").glob("*.json"))
            found = tables.dataset(layer, folder.name)
            files = (str(folder / file) for file in found.files) if found else ()
            yield from (os.path.relpath(path, home.folder) for path in (*logs, *files))


def _example(ours: list[str], theirs: list[str]) -> str:
    more, less = Counter(ours) - Counter(theirs), Counter(theirs) - Counter(ours)
    return f"too much {next(iter(more), 'nothing')[:200]!s}, missing {next(iter(less), 'nothing')[:200]!s}"


@dataclass
class _Audit:
    """One dataset's files against its tables and ledger."""

    name: str
    files: list[Export]
    stores: Stores
    ended: bool

    def run(self) -> Breaches:
        spec = dataset(self.name)
        self.results = {result.digest: result for result in self.stores.ledger.batches(self.name)}
        self.exports = {file.digest: file for file in self.files}
        self.found, self.copies = Breaches(), Counter[Any]()
        self.places = {layer: Counter[Place]() for layer in LAYERS}
        for row in places(spec, self.stores).to_pylist():
            self.places[row["place"]][row["batch"], row["line"]] += 1
        for row in _rows("silver", self.name, self.stores):
            self._landed_so((row["_batch"], row["_line"]), tuple(row[name] for name in spec.columns))
        self._twice()
        for export in self.exports.values():
            self._file(export)
        return self.found

    def _landed_so(self, place: Place, values: tuple[Any, ...]) -> None:
        self.copies[values] += 1
        export = self.exports.get(place[0])
        if export is None or export.truth.rows.get(place[1]) != values:
            self.found.torn.append(f"silver {self.name}: line {place[1]} of {place[0][:8]} never landed so")

    def _twice(self) -> None:
        total = sum(self.places.values(), Counter[Place]())
        for place, times in total.items():
            if times > 1:
                where = ", ".join(
                    f"{n[place]} times in {layer}" for layer, n in self.places.items() if n[place]
                )
                self.found.doubled.append(f"{self.name}: line {place[1]} of {place[0][:8]} is {where}")
        for row, times in self.copies.items():
            if times > 1:
                self.found.doubled.append(f"silver {self.name}: {times} times {', '.join(map(str, row))}")

    def _file(self, export: Export) -> None:
        result = self.results.get(export.digest)
        if result is None or result.state not in FINAL:
            if self.ended:
                self.found.torn.append(
                    f"{export.name} is {result.state if result else 'unknown'} to the ledger"
                )
            if result is None or not result.state.ended:
                return
        if (result.state is BatchState.REFUSED) != export.truth.refused:
            self.found.torn.append(f"{export.name}: {result.state.value}, because {result.reason}")
            return
        self._lines(export)
        self._counts(export, result)

    def _lines(self, export: Export) -> None:
        """Each line is where it belongs: bad ones in quarantine, others in silver or, as a copy, superseded."""
        for line in export.truth.bad:
            if not self.places["quarantine"][export.digest, line]:
                self.found.lost.append(f"{export.name}: bad line {line} is not in quarantine")
        for line, row in export.truth.rows.items():
            layer = "silver" if self.places["silver"][export.digest, line] else "superseded"
            if not self.places[layer][export.digest, line] or not self.copies[row]:
                self.found.lost.append(f"{export.name}: line {line} is nowhere")

    def _counts(self, export: Export, result: IngestResult) -> None:
        said = (result.silver, result.quarantined, result.superseded)
        found = tuple(
            sum(n for (batch, _), n in self.places[layer].items() if batch == export.digest)
            for layer in LAYERS
        )
        if said != found or result.parsed != export.truth.lines:
            self.found.torn.append(
                f"{export.name}: of {export.truth.lines} lines the ledger says {said}, the tables {found}"
            )


def _files(by_dataset: dict[str, list[Export]], home: Home) -> Iterator[str]:
    """Landed files that are not, byte for byte, where an ended file lies."""
    names = {file.name for files in by_dataset.values() for file in files}
    yield from (f"{name} is still in the landing folder" for name in names if (home.landing / name).exists())
    for name, files in by_dataset.items():
        kept = {f: set(_kept(f"{f}/{name}", home.stores).values()) for f in ("archive", "refused")}
        for export in files:
            folder = "refused" if export.truth.refused else "archive"
            if export.digest not in kept[folder]:
                yield f"{export.name} is not in {folder}/{name} with its bytes"


def _kept(name: str, stores: Stores) -> dict[str, str]:
    """SHA-256 by name of the files of a folder that bear their final name, wherever the deployment keeps them."""
    folder = stores.files.fetch_all(stores.settings.home / name)
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith(".")]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
