"""The benchmark of volume makes the same days again, goes on where it was, and tells growth as it is."""

import csv
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.volume import flights
from benchmarks.volume.__main__ import slope
from benchmarks.volume.sides import Record
from pipelines.catalog import dataset

ROWS, SEED = 20_000, 7


def test_a_day_is_the_same_bytes_again_with_few_rows_broken_and_few_doubled(tmp_path: Path) -> None:
    pool, spec = flights.pool(), dataset("flights")
    files = [tmp_path / name for name in ("one.csv", "two.csv")]
    for file in files:
        flights.write(flights.FIRST, ROWS, SEED, file, pool)
    assert files[0].read_bytes() == files[1].read_bytes()
    with files[0].open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == ROWS
    assert set(rows[0]) == set(spec.columns)
    keys = Counter(tuple(row[name] for name in spec.key) for row in rows)
    assert sum(count - 1 for count in keys.values()) == ROWS // flights.COPIED
    broken = [row for row in rows if row["departure_delay"] == "9999" or row["distance"] == "unknown"]
    assert 0 < len(broken) < ROWS / 100


def test_the_days_hold_all_rows() -> None:
    found = flights.days(250, 100)
    assert [rows for _, rows in found] == [100, 100, 50]
    assert len({day for day, _ in found}) == 3


def test_what_an_ended_run_did_is_not_asked_again(tmp_path: Path) -> None:
    asked: list[Any] = []

    def ask(**what: Any) -> dict[str, Any]:
        asked.append(what)
        return {"wall": 1.0}

    side: Any = SimpleNamespace(ask=ask, base=1.0)
    Record(tmp_path / "steps").once("a", side, step="ingest")
    with (tmp_path / "steps").open("a") as file:
        file.write('{"step": "b", "wal')  # ended while it was written
    again = Record(tmp_path / "steps")
    assert again.once("a", side, step="ingest")["wall"] == 1.0
    assert len(asked) == 1
    again.once("b", side, step="ingest")
    assert len(asked) == 2
    assert set(Record(tmp_path / "steps").steps) == {"a", "b"}


def test_growth_is_told_by_its_slope_from_three_sizes_on() -> None:
    assert slope([10, 100, 1000], [0.5, 5.0, 50.0]) == "1.00"
    assert slope([10, 100, 1000], [0.1, 10.0, 1000.0]) == "2.00"
    assert slope([10, 100], [1.0, 2.0]) == ""
