"""Files as upstream systems export them on a bad day, and what must become of each, in plain Python."""

import csv
import hashlib
import io
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from pipelines.catalog import DatasetSpec, dataset

START = datetime(2013, 1, 1, tzinfo=UTC)
FRESH = 18
"""Rows of a file that never came before."""
RECENT = 2 * FRESH
"""Known rows are this young, so that their first file may still be in the hands of another writer."""
AIRPORTS = ("EWR", "JFK", "LGA")
CONVERT: dict[str, Callable[[str], Any]] = {
    "string": str,
    "integer": int,
    "float": float,
    "timestamp": datetime.fromisoformat,
}


@dataclass(frozen=True)
class Export:
    """One file as it lands."""

    dataset: str
    name: str
    content: bytes

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def truth(self) -> "Truth":
        return _truth(dataset(self.dataset), self.content.decode())

    def land(self, landing: Path) -> None:
        """Puts the file there whole, as if written a while ago."""
        landing.mkdir(parents=True, exist_ok=True)
        unfinished = landing / f"{self.name}.part"
        unfinished.write_bytes(self.content)
        os.utime(unfinished, (1e9, 1e9))
        unfinished.rename(landing / self.name)


@dataclass(frozen=True)
class Truth:
    """What must become of a file: refused, or its bad lines to quarantine and its rows known."""

    refused: bool = False
    bad: frozenset[int] = frozenset()
    rows: dict[int, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def lines(self) -> int:
        return len(self.bad) + len(self.rows)


def _truth(spec: DatasetSpec, text: str) -> Truth:
    """The rules told a second time, sharing no code with ingestion."""
    header, *records = csv.reader(io.StringIO(text))
    if not set(spec.columns) <= set(header):
        return Truth(refused=True)
    rows = {line: _row(spec, header, record) for line, record in enumerate(records, 2)}
    keys: dict[Any, set[Any]] = defaultdict(set)
    at = [list(spec.columns).index(name) for name in spec.key]
    for row in filter(None, rows.values()):
        keys[tuple(row[i] for i in at)].add(row)
    valid = {n: row for n, row in rows.items() if row and len(keys[tuple(row[i] for i in at)]) == 1}
    return Truth(bad=frozenset(rows.keys() - valid.keys()), rows=valid)


def _row(spec: DatasetSpec, header: list[str], record: list[str]) -> tuple[Any, ...] | None:
    if len(record) != len(header):
        return None
    fields = dict(zip(header, record, strict=True))
    try:
        return tuple(CONVERT[c.type](fields[n]) if fields[n] else None for n, c in spec.columns.items())
    except ValueError:
        return None


@dataclass
class Exporter:
    """Upstream systems that send every kind of row; one seed always sends the same bytes."""

    seed: int
    _sent: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _next: Counter[str] = field(default_factory=Counter)

    def files(self) -> Iterator[Export]:
        """Files without end; every sixth is refused, every sixth has come before under another name."""
        rng = random.Random(self.seed)  # noqa: S311 - it plays, it keeps no secret
        sent: list[Export] = []
        for number in count():
            sent.append(self._file(number, sent, rng))
            yield sent[-1]

    def _file(self, number: int, before: list[Export], rng: random.Random) -> Export:
        kind = ("flights", "weather", "flights", "refused", "flights", "again")[number % 6]
        if kind == "again":
            old = rng.choice([export for export in before if not export.truth.refused])
            return Export(old.dataset, f"{old.dataset}_{number:03}.csv", old.content)
        name = "flights" if kind == "refused" else kind
        lines = list(self._lines(name, rng))
        if kind == "refused":
            lines = [line[:-3] for line in lines]
        content = "".join(",".join(line) + "\n" for line in lines).encode()
        return Export(name, f"{name}_{number:03}.csv", content)

    def _lines(self, name: str, rng: random.Random) -> Iterator[list[str]]:
        """A header, good rows, copies, rows known from other files, corrections, and broken rows."""
        row, sent, first = ROWS[name], self._sent[name], self._next[name]
        self._next[name] += FRESH
        fresh = list(range(first, first + FRESH))
        known = rng.sample(sent[-RECENT:], min(4, len(sent)))
        lines = [row(serial, 0) for serial in fresh]
        lines += [row(serial, 0) for serial in known[:2]]
        lines += [row(serial, rng.randrange(1, 5)) for serial in known[2:]]
        lines += [row(fresh[0], 0), row(fresh[1], 7)]
        lines += [["miles" if text == "200" else text for text in row(first + 4000, 0)], ["EWR", "1"]]
        sent += fresh[2:]
        rng.shuffle(lines)
        yield list(dataset(name).columns)
        yield from lines


def _time(minutes: int) -> str:
    return (START + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def _flight(serial: int, revision: int) -> list[str]:
    """A flight by its number; a revision corrects its delays, later, and not so that a batch would stand out."""
    flight, origin, late = str(1000 + serial), AIRPORTS[serial % 3], str(serial % 6 + revision)
    arrival, known = _time(serial + 90), _time(serial + 100 + revision)
    return ["EV", flight, origin, "BOS", "N123EV", _time(serial), arrival, "200", late, late, known]


def _hour(serial: int, revision: int) -> list[str]:
    """An hour's weather; a revision corrects its temperature, later."""
    hour, end = _time(60 * serial), _time(60 * (serial + 1) + revision)
    weather = [f"{serial % 6 + revision}.5", "20", "60.2", "200", "9.1", "", "0", "1013", "10"]
    return [AIRPORTS[serial % 3], hour, *weather, end]


ROWS: dict[str, Callable[[int, int], list[str]]] = {"flights": _flight, "weather": _hour}
