"""An empty deployment in which awkward files land, and what can be asked of it afterwards."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.compute as pc

from pipelines.catalog import DatasetSpec
from pipelines.contracts import BatchState, IngestResult
from pipelines.ingestion.accounting import places
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.prove.awkward.sheets import Sheet, real_rows, spec_of, suites, typed
from pipelines.settings import Settings
from pipelines.stores import Stores

LONG_AGO = 1e9
ALL = ("flights", "weather", "planes", "orders")


class Broken(Exception):
    """A promise was not kept; the message says which and how."""


def must(kept: Any, sentence: str) -> None:
    """Raises Broken with the sentence unless the promise was kept."""
    if not kept:
        raise Broken(sentence)


class Local(Settings):
    """A deployment of its own under one folder, whatever the environment says, with its own suites."""

    @property
    def expectations(self) -> Path:
        return self.home / "expectations"


def local(home: Path) -> Local:
    """The settings of a deployment under this folder."""
    return Local(_env_file=None, home=home, landing=None, lake=None, database_url=None)  # type: ignore[call-arg]


class Alerts(logging.Handler):
    """Keeps every warning the stages log, as people would be told it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


class Bench:
    """One empty deployment, real rows to cut files from, and seeded dice."""

    def __init__(self, home: Path, rows: Path, seed: str) -> None:
        settings = local(home)
        self.stores = Stores(settings)
        self.landing = settings.landing_path
        self.landing.mkdir(parents=True, exist_ok=True)
        self.dice = Random(seed)  # noqa: S311 - dice, not secrets
        self._rows = rows
        self._unused: dict[str, list[list[str]]] = {}
        self._all: dict[str, list[list[str]]] = {}
        self.specs: dict[str, DatasetSpec] = {}
        self.alerts = Alerts()
        suites(Settings(_env_file=None).expectations, settings.expectations)  # type: ignore[call-arg]

    def __enter__(self) -> "Bench":
        logging.getLogger("pipelines").addHandler(self.alerts)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("pipelines").removeHandler(self.alerts)

    def sheet(self, *names: str, rows: int | None = None) -> Sheet:
        """Rows of one of these datasets (any by default) that no other sheet of this bench holds."""
        wanted = rows or self.dice.randrange(25, 60)
        spec = spec_of(self.dice.choice([name for name in names or ALL if len(self._left(name)) >= wanted]))
        return Sheet(spec, [self._left(spec.name).pop() for _ in range(wanted)])

    def _left(self, name: str) -> list[Any]:
        """The rows of a dataset that no sheet has taken yet, shuffled."""
        if name not in self._unused:
            found = real_rows(self._rows, name)
            self._unused[name] = self.dice.sample(found, len(found))
        return self._unused[name]

    def fuzz_sheet(self, dice: Random) -> Sheet:
        """Rows of a dataset by these dice alone, whatever other sheets hold."""
        spec = spec_of(dice.choice(ALL))
        if spec.name not in self._all:
            self._all[spec.name] = real_rows(self._rows, spec.name)
        return Sheet(spec, dice.sample(self._all[spec.name], dice.choice([1, 5, 25, 60])))

    def name(self, spec: DatasetSpec, end: str = ".csv") -> str:
        return f"{spec.name}_{self.dice.randrange(16**8):08x}{end}"

    def land(self, name: str, content: bytes, when: float | None = LONG_AGO) -> Path:
        """A file in the landing folder, last written at `when` (None: just now)."""
        path = self.landing / name
        path.write_bytes(content)
        if when is not None:
            os.utime(path, (when, when))
        return path

    def take(self, spec: DatasetSpec) -> list[IngestResult]:
        """Takes in what landed, as the sweep does."""
        self.specs[spec.name] = spec
        return ingest_dataset(spec, self.stores)

    def batches(self, spec: DatasetSpec) -> list[IngestResult]:
        return self.stores.ledger.batches(dataset=spec.name)

    def silver(self, spec: DatasetSpec, digest: str) -> list[dict[str, Any]]:
        """A batch's rows in silver, by line."""
        rows = self.stores.tables.silver(spec).to_table(filter=pc.field("_batch") == digest)
        return sorted(rows.to_pylist(), key=lambda row: int(row["_line"]))

    def quarantine(self, spec: DatasetSpec, result: IngestResult) -> list[dict[str, Any]]:
        """A batch's refused rows, by line."""
        return self._aside("quarantine", spec, result)

    def superseded(self, spec: DatasetSpec, result: IngestResult) -> list[dict[str, Any]]:
        """A batch's rows that were there already, by line."""
        return self._aside("superseded", spec, result)

    def _aside(self, layer: str, spec: DatasetSpec, result: IngestResult) -> list[dict[str, Any]]:
        found = self.stores.tables.dataset(layer, spec.name)
        if found is None:
            return []
        # What an attempt left that never committed counts for nothing.
        mine = (pc.field("_batch") == result.digest) & (pc.field("_attempt") == result.attempt)
        return sorted(found.to_table(filter=mine).to_pylist(), key=lambda row: int(row["line"]))


def is_in(result: IngestResult) -> bool:
    """Whether a file was taken in, whether or not it is put away yet."""
    return result.state.value in ("committed", "archived")


def one(results: Sequence[IngestResult], name: str) -> IngestResult:
    """The only result of this name."""
    found = [result for result in results if result.name == name]
    must(len(found) == 1, f"{name!r} has {len(found)} results where one was due")
    return found[0]


def taken(bench: Bench, spec: DatasetSpec, name: str, content: bytes) -> IngestResult:
    """Lands a file, takes it in, and promises that it is in and gone from the landing folder."""
    path = bench.land(name, content)
    result = one(bench.take(spec), name)
    must(is_in(result), f"{name!r} was refused: {result.reason}")
    must(not path.exists(), f"{name!r} is in, and lies in the landing folder still")
    return result


def holds(
    bench: Bench, spec: DatasetSpec, result: IngestResult, expected: Mapping[int, Sequence[str]]
) -> None:
    """Promises that the batch's silver rows are exactly these texts, by line, read in plain Python."""
    found = {row["_line"]: row for row in bench.silver(spec, result.digest)}
    _alike("silver", found, expected)
    for line, texts in expected.items():
        wanted = typed(spec, texts)
        got = {name: found[line][name] for name in wanted}
        must(got == wanted, f"line {line} of {result.name!r} is {got} in silver, not {wanted}")


def bad_rows(
    bench: Bench, spec: DatasetSpec, result: IngestResult, expected: Mapping[int, tuple[str, bytes]]
) -> None:
    """Promises that exactly these lines are in quarantine, each with a rule that fits and its bytes."""
    import re

    found = {row["line"]: row for row in bench.quarantine(spec, result)}
    _alike("quarantine", found, expected)
    for line, (rule, raw) in expected.items():
        row = found[line]
        must(row["raw"] == raw, f"line {line} of {result.name!r} is kept as {row['raw']!r}, not {raw!r}")
        must(re.search(rule, row["rule"]), f"line {line} ({raw!r}) broke {row['rule']!r}, not {rule!r}")
        must(row["reason"] and row["file"] == result.name, f"line {line}: no reason, or another file's name")


def _alike(where: str, found: Iterable[int], expected: Iterable[int]) -> None:
    extra, missing = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    must(not extra, f"line {extra[:5]} should not be in {where}")
    must(not missing, f"line {missing[:5]} is not in {where}")


def adds_up(bench: Bench) -> None:
    """Promises of every batch that each parsed row is in one place, once, and that the ledger says so."""
    for spec in bench.specs.values():
        for result in bench.batches(spec):
            accounted(bench, spec, result)
        told = places(spec, bench.stores)
        pairs = set(zip(told["batch"].to_pylist(), told["line"].to_pylist(), strict=True))
        parsed = sum(result.parsed for result in bench.batches(spec) if is_in(result))
        must(
            len(pairs) == told.num_rows == parsed,
            f"{told.num_rows} places, {len(pairs)} lines and {parsed} parsed rows of {spec.name} are not as many",
        )


def accounted(bench: Bench, spec: DatasetSpec, result: IngestResult) -> None:
    """Promises that each parsed row of a batch is in one place, once, and that the ledger counts them so."""
    silver = [row["_line"] for row in bench.silver(spec, result.digest)]
    if not is_in(result):
        must(not silver, f"{result.name!r} is {result.state}, and {len(silver)} of its rows are in silver")
        return
    bad = [row["line"] for row in bench.quarantine(spec, result)]
    copies = [row["line"] for row in bench.superseded(spec, result)]
    counted = (len(silver), len(bad), len(copies))
    said = (result.silver, result.quarantined, result.superseded)
    must(
        counted == said,
        f"{result.name!r}: {counted} rows in silver, quarantine, superseded; the ledger says {said}",
    )
    must(result.parsed == sum(counted), f"{result.name!r}: {result.parsed} parsed rows are not {counted}")
    must(len({*silver, *bad, *copies}) == sum(counted), f"{result.name!r}: a line is in two places")


@dataclass(frozen=True)
class Case:
    """One class of awkward file: what must become of it, and the act that holds ours against it.

    `act` returns what became of it or raises Broken. `lay` runs before, in a process of its own whose
    memory is not counted. `needs` are modules imported before memory is counted.
    """

    name: str
    expected: str
    act: Callable[[Bench], str]
    lay: Callable[[Bench], None] | None = None
    needs: tuple[str, ...] = ()


def refused(bench: Bench, spec: DatasetSpec, name: str, mentions: str) -> str:
    """Promises that a file was refused with one clear reason, none of its rows got in, and its bytes are kept."""
    import re

    result = one(bench.batches(spec), name)
    must(result.state is BatchState.REFUSED, f"{name!r} was {result.state}: {result.parsed} rows parsed")
    reason = result.reason or ""
    must(
        re.search(mentions, reason),
        f"{name!r} was refused for {reason!r}, which says nothing of {mentions!r}",
    )
    must(reason.isprintable() and len(reason) < 1000, f"{name!r}: {reason!r} is not one clear reason")
    must(not bench.silver(spec, result.digest), f"{name!r} was refused, and has rows in silver")
    kept = list((bench.stores.settings.home / "refused" / spec.name).glob(f"{result.digest}*"))
    must(kept and not (bench.landing / name).exists(), f"{name!r} was refused, and not put away")
    return reason
