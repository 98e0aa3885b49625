"""Real rows as texts, and the bytes an exporter makes of them: what awkward files are cut from."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.catalog import REFERENCE, Column, DatasetSpec, dataset, datasets
from pipelines.loop.replay import replay
from pipelines.stores.tables import arrow_schema

QUOTED = '"{}"'
SPECIAL = re.compile(r'[,"\r\n]')
FIRST = date(2013, 1, 1)
DAYS = 4
ORDERS = DatasetSpec(
    name="orders",
    description="Made up, so that what holds for the real datasets holds for others.",
    owner="nobody",
    pattern="orders_*",
    key=("order_id",),
    event_time="placed_at",
    available_at="known_at",
    columns={
        "note": Column(type="string", nullable=True, description="free text"),
        "placed_at": Column(type="timestamp", description="when it was placed"),
        "order_id": Column(type="string", description="digits, leading zeros kept"),
        "amount": Column(type="float", description="euros"),
        "items": Column(type="integer", description="how many"),
        "known_at": Column(type="timestamp", description="when it could be known"),
        "refunded": Column(type="integer", description="the label: 0 or 1"),
        "city": Column(type="string", description="where to"),
    },
)
ORDER_RULES: list[dict[str, Any]] = [
    {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "amount", "min_value": 0},
        "meta": {"rule": "an amount is not negative"},
    },
    {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "items", "min_value": 0},
        "meta": {"rule": "a count is not negative"},
    },
    {
        "type": "expect_column_values_to_be_in_set",
        "kwargs": {"column": "refunded", "value_set": [0, 1]},
        "meta": {"rule": "the label is 0 or 1"},
    },
]
NOTES = ("", "", "gift", "Grüße, Jürgen", 'say "hello"', "two\nlines", "東京", "0", "NULL", "-", "a;b|c\td")


@dataclass(frozen=True)
class Sheet:
    """Rows of one dataset as texts in the order of its columns, and how they are written."""

    spec: DatasetSpec
    rows: list[list[str]]
    end: str = "\n"

    @property
    def names(self) -> list[str]:
        return list(self.spec.columns)

    @property
    def header(self) -> bytes:
        return self.record(self.names)

    @property
    def records(self) -> list[bytes]:
        return [self.record(row) for row in self.rows]

    @property
    def content(self) -> bytes:
        return self.header + b"".join(self.records)

    @property
    def expected(self) -> dict[int, list[str]]:
        """The rows by the line each begins on."""
        return dict(zip(lines(self.header, self.records), self.rows, strict=True))

    def record(self, fields: Sequence[str]) -> bytes:
        """One record as an exporter writes it, quoted only where it must be."""
        texts = [QUOTED.format(text.replace('"', '""')) if SPECIAL.search(text) else text for text in fields]
        return (",".join(texts) + self.end).encode()

    def reordered(self, dice: Random) -> "Sheet":
        """The same rows with the dataset's columns in another order."""
        order = dice.sample(range(len(self.names)), len(self.names))
        columns = {self.names[i]: self.spec.columns[self.names[i]] for i in order}
        spec = self.spec.model_copy(update={"columns": columns})
        return replace(self, spec=spec, rows=[[row[i] for i in order] for row in self.rows])

    def some(self, *types: str, filled: bool = False) -> list[int]:
        """Where the columns of these types stand; `filled`: only those without an empty value."""
        found = [i for i, column in enumerate(self.spec.columns.values()) if column.type in types]
        return [i for i in found if not filled or all(row[i] for row in self.rows)]

    def at(self, name: str) -> int:
        return self.names.index(name)


def lines(header: bytes, records: Sequence[bytes]) -> list[int]:
    """The line on which each record begins; the header's is 1."""
    found, line = [], 1 + header.count(b"\n")
    for record in records:
        found.append(line)
        line += record.count(b"\n")
    return found


def value(column: Column, text: str) -> Any:
    """What a text means by its column's type, in plain Python: the reading ours is held against."""
    if text == "":
        return None
    if column.type == "timestamp":
        return datetime.fromisoformat(text).astimezone(UTC)
    kinds = {"string": str, "integer": int, "float": float}
    return kinds[column.type](text)


def typed(spec: DatasetSpec, row: Sequence[str]) -> dict[str, Any]:
    """A row's values by column."""
    pairs = zip(spec.columns.items(), row, strict=True)
    return {name: value(column, text) for (name, column), text in pairs}


def columns_of(sheet: Sheet) -> pa.Table:
    """The sheet as typed columns."""
    return pa.Table.from_pylist([typed(sheet.spec, row) for row in sheet.rows], arrow_schema(sheet.spec))


def parquet(table: pa.Table, **options: Any) -> bytes:
    """A Parquet file's bytes."""
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def lay_in(folder: Path, seed: int) -> None:
    """Writes some days' real rows of every dataset, and made-up orders, for cases to be cut from."""
    start = FIRST + timedelta(days=seed % 300)
    paths = list(replay(REFERENCE, start, start + timedelta(days=DAYS - 1), "bulk", folder / "raw"))
    for path in paths:
        path.rename(folder / f"{path.name.split('_')[0]}.csv")
    rows = list(_orders(Random(seed), 2000))  # noqa: S311 - dice, not secrets
    (folder / "orders.csv").write_bytes(Sheet(ORDERS, rows).content)


@lru_cache(maxsize=8)
def real_rows(folder: Path, name: str) -> list[list[str]]:
    """All rows of a dataset that `lay_in` wrote; to be read, not changed."""
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def spec_of(name: str) -> DatasetSpec:
    return ORDERS if name == ORDERS.name else dataset(name)


def suites(source: Path, target: Path) -> None:
    """Copies the project's suites and adds the one of the made-up dataset."""
    target.mkdir(parents=True, exist_ok=True)
    for name in datasets():
        (target / f"{name}.json").write_bytes((source / f"{name}.json").read_bytes())
    suite = {"name": ORDERS.name, "expectations": ORDER_RULES}
    (target / f"{ORDERS.name}.json").write_text(json.dumps(suite))


def _orders(dice: Random, count: int) -> Iterator[list[str]]:
    for number in range(count):
        placed = datetime(2013, 1, 1, tzinfo=UTC) + timedelta(minutes=dice.randrange(500_000))
        known = placed + timedelta(hours=1)
        yield [
            dice.choice(NOTES),
            f"{placed:%Y-%m-%dT%H:%M:%SZ}",
            f"{number:08}",
            f"{dice.uniform(0, 900):.2f}",
            str(dice.randrange(1, 9)),
            f"{known:%Y-%m-%d %H:%M:%S.%f+00:00}",
            str(dice.randrange(2)),
            dice.choice(["Oslo", "Århus", "Łódź", "Paris"]),
        ]
