"""Whatever a refusal advises is done by this test, to the letter, and the same file is then taken."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from decimal import Decimal
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from pipelines import catalog
from pipelines.catalog import HERE, Column, DatasetSpec, dataset, read_spec
from pipelines.cli import app
from pipelines.contracts import BatchState, IngestResult
from pipelines.ingestion import ingest
from pipelines.ingestion.ingest import dry_run
from pipelines.reading import schema
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores
from tests.integration.ingestion.test_ingest import GOOD

pytestmark = pytest.mark.usefixtures("hardly_judged")
SPEC = dataset("flights")
COMMAND = re.compile(r"`evergreen (schema [^`]+)`")
SETTING = re.compile(r"`(\w+: [^`]+)`")
COLUMN = re.compile(r"\bon (\w+)(?: in |, `)|'(\w+)' is |(?:^|: )(\w+): ")
KINDS = {
    "string": pa.string(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "timestamp[us, tz=UTC]": pa.timestamp("us", "UTC"),
}
ROWS = [line.split(b",") for line in GOOD.rstrip(b"\n").split(b"\n")]


def csv(name: str, change: Callable[[bytes], bytes], every: int = 1) -> bytes:
    """The flights with a column changed in every so many rows."""
    at = ROWS[0].index(name.encode())
    rows = [ROWS[0]] + [
        [*row[:at], change(row[at]) if i % every == 0 else row[at], *row[at + 1 :]]
        for i, row in enumerate(ROWS[1:])
    ]
    return b"\n".join(b",".join(row) for row in rows) + b"\n"


def without(*names: str) -> bytes:
    keep = [i for i, name in enumerate(ROWS[0]) if name.decode() not in names]
    return b"\n".join(b",".join(row[i] for i in keep) for row in ROWS) + b"\n"


def typed_table() -> pa.Table:
    """The flights as Parquet has them."""
    texts = {name.decode(): [row[i].decode() for row in ROWS[1:]] for i, name in enumerate(ROWS[0])}
    columns = {}
    for name, column in SPEC.columns.items():
        kind = {"string": pa.string(), "integer": pa.int64(), "timestamp": pa.timestamp("us", "UTC")}[
            column.type
        ]
        array = pa.array([text or None for text in texts[name]], pa.string())
        columns[name] = array.cast(kind)
    return pa.table(columns)


def parquet(name: str, array: Callable[[pa.Array], pa.Array]) -> pa.Table:
    rows = typed_table()
    return rows.set_column(rows.schema.get_field_index(name), name, array(rows[name].combine_chunks()))


def padded(line: bytes) -> bytes:
    return line.replace(b",", b", ")


def _a_nanosecond_later(array: pa.Array) -> pa.Array:
    kind = pa.timestamp("ns", "UTC")
    return pa.array([value + 1 for value in array.cast(kind).view(pa.int64()).to_pylist()]).view(kind)


MILLI = pa.timestamp("ms", "UTC")
CASES: dict[str, bytes | pa.Table] = {
    "a mark of MySQL": csv("departure_delay", lambda _: b"\\N", 2),
    "a mark in a column that may not be empty": csv("distance", lambda _: b"\\N", 2),
    "NULL": csv("arrival_delay", lambda _: b"NULL", 2),
    "NaN": csv("arrival_delay", lambda _: b"NaN", 2),
    "blanks around all": b"\n".join(padded(line) for line in GOOD.split(b"\n")),
    "blanks around names": GOOD.replace(GOOD.split(b"\n")[0], padded(GOOD.split(b"\n")[0])),
    "names in capitals": GOOD.replace(GOOD.split(b"\n")[0], GOOD.split(b"\n")[0].upper()),
    "one name in capitals": GOOD.replace(b"tailnum", b"TailNum", 1),
    "blanks around names in capitals": GOOD.replace(
        GOOD.split(b"\n")[0], padded(GOOD.split(b"\n")[0]).upper()
    ),
    "a name in capitals and one left out": without("tailnum").replace(b"distance", b"Distance", 1),
    "Parquet in capitals": typed_table().rename_columns([name.upper() for name in SPEC.columns]),
    "blanks around values": csv("distance", lambda value: b" " + value),
    "local times": csv("scheduled_arrival", lambda value: value[:19].replace(b"T", b" ")),
    "local times of the event": csv("scheduled_departure", lambda value: value[:19]),
    "nanoseconds": csv("scheduled_arrival", lambda value: value[:19] + b".123456789Z"),
    "7.0": csv("distance", lambda value: value + b".0"),
    "7.5": csv("distance", lambda value: value + b".5"),
    "words": csv("distance", lambda value: value + b" miles"),
    "a code beyond 64 bits": csv("flight", lambda value: b"9" * 25 + value),
    "times in words": csv("scheduled_arrival", lambda _: b"at noon"),
    "a column left out": without("tailnum"),
    "a column of numbers left out": without("distance"),
    "columns left out": without("tailnum", "scheduled_arrival"),
    "Parquet with fractions": parquet("distance", lambda a: pa.array([v + 0.5 for v in a.to_pylist()])),
    "Parquet with decimals": parquet("distance", lambda a: pa.array([Decimal(v) / 2 for v in a.to_pylist()])),
    "Parquet beyond doubles": parquet("distance", lambda a: pa.array([2.0**60] * len(a))),
    "Parquet beyond 64 bits": parquet("distance", lambda a: pa.array([2**64 - 1] * len(a), pa.uint64())),
    "Parquet with integers as ids": parquet("carrier", lambda a: pa.array(range(10, 10 + len(a)))),
    "Parquet with flags": parquet("distance", lambda a: pa.array([True] * len(a))),
    "Parquet with days": parquet("scheduled_arrival", lambda a: a.cast(pa.date32())),
    "Parquet with local times": parquet("scheduled_departure", lambda a: a.cast(pa.timestamp("us"))),
    "Parquet with nanoseconds": parquet("scheduled_departure", lambda a: _a_nanosecond_later(a)),
    "Parquet for ever": parquet("scheduled_arrival", lambda a: pa.array([253_402_300_800_000] * len(a)).view(MILLI)),
    "Parquet with nan": parquet("arrival_delay", lambda a: pa.array([float("nan")] * len(a))),
    "Parquet without a column": typed_table().drop_columns(["tailnum"]),
}  # fmt: skip


WILD = {
    "Parquet beyond doubles": "distance",
    "Parquet with flags": "distance",
    "Parquet with days": "scheduled_arrival",
}
"""Whose values are beyond what the dataset's expectations allow, which is not the question here."""


class Place:
    """A checkout of one's own: its datasets and expectations may be changed, by its own commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(HERE / "datasets", folder / "pipelines" / "datasets")
        shutil.copytree(PROJECT / "expectations", folder / "expectations")
        self.yaml, self.suite = (
            folder / "pipelines/datasets/flights.yaml",
            folder / "expectations/flights.json",
        )
        self.stores = Stores(Settings(_env_file=None, home=folder / "home"))

    def judged(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> IngestResult:
        """What would become of the file now."""
        monkeypatch.setattr(Settings, "expectations", property(lambda _: self.suite.parent))
        monkeypatch.setattr(ingest, "datasets", lambda: {"flights": read_spec(self.yaml, DatasetSpec)})
        return dry_run(file, self.stores)

    def evergreen(self, command: str) -> None:
        """Runs a command of the command line here."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(catalog, "HERE", self.yaml.parent.parent)
            for change in (schema.add, schema.widen, schema.deprecate):
                patched.setattr(change, "__defaults__", (self.yaml.parent,))
            done = CliRunner().invoke(app, shlex.split(command))
        assert done.exit_code == 0, done.output

    def set(self, key: str, value: object, column: str) -> None:
        """Writes a setting into the dataset's yaml, on a column if it is a column's."""
        whole = yaml.safe_load(self.yaml.read_text())
        (whole["columns"][column] if key in Column.model_fields else whole)[key] = value
        self.yaml.write_text(yaml.safe_dump(whole, sort_keys=False))

    def ask_nothing_of(self, column: str) -> None:
        """Takes the column out of the expectations."""
        suite = json.loads(self.suite.read_text())
        suite["expectations"] = [e for e in suite["expectations"] if column not in e["kwargs"].values()]
        self.suite.write_text(json.dumps(suite))

    def follow(self, reason: str, file: Path) -> None:
        """Does all that a reason advises, to the letter."""
        column = next(filter(None, chain.from_iterable(COLUMN.findall(reason))), "")
        for command in COMMAND.findall(reason):
            self.evergreen(command)
        for text in SETTING.findall(reason):
            self.set(*yaml.safe_load(text).popitem(), column)
        if "expectations/" in reason:
            for name in dict.fromkeys(
                [column, *re.findall(r"flights (\w+)", " ".join(COMMAND.findall(reason)))]
            ):
                self.ask_nothing_of(name)
        if (
            kind := re.search(r"written as (string|int64|double|timestamp\[us, tz=UTC\])", reason)
        ) and file.suffix == ".parquet":
            rows = pq.read_table(file)
            at = rows.schema.get_field_index(column)
            pq.write_table(rows.set_column(at, column, rows[column].cast(KINDS[kind[1]], safe=False)), file)


@pytest.mark.parametrize("name", CASES)
def test_what_a_refusal_advises_takes_the_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = CASES[name]
    file = tmp_path / ("flights_1.csv" if isinstance(content, bytes) else "flights_1.parquet")
    file.write_bytes(content) if isinstance(content, bytes) else pq.write_table(content, file)
    place = Place(tmp_path / "checkout")
    if name in WILD:
        place.ask_nothing_of(WILD[name])
    before = place.judged(file, monkeypatch)
    assert before.state is BatchState.REFUSED
    place.follow(str(before.reason), file)
    after = place.judged(file, monkeypatch)
    assert (after.state, after.silver, after.quarantined) == (BatchState.COMMITTED, 30, 0), (
        before.reason,
        after.reason,
    )


UNAIDED = {
    "a key left out": without("carrier"),
    "a time left out": without("available_at"),
    "a mark in a key": csv("flight", lambda _: b"\\N"),
    "a time in words": csv("scheduled_departure", lambda _: b"at noon"),
    "a day that is none": csv("scheduled_arrival", lambda value: b"2013-02-30" + value[10:19]),
    "another age": csv("scheduled_arrival", lambda value: b"3" + value[1:]),
    "Parquet of another age": parquet("scheduled_arrival", lambda a: pa.array([2**52] * len(a)).view(MILLI)),
}


@pytest.mark.parametrize("name", UNAIDED)
def test_what_nothing_here_would_take_is_refused_without_advice(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = UNAIDED[name]
    file = tmp_path / ("flights_1.csv" if isinstance(content, bytes) else "flights_1.parquet")
    file.write_bytes(content) if isinstance(content, bytes) else pq.write_table(content, file)
    refused = dry_run(file, Stores(Settings(_env_file=None, home=tmp_path / "home")))
    assert refused.state is BatchState.REFUSED
    assert "`evergreen" not in str(refused.reason)


@pytest.mark.parametrize(
    ("name", "kind"),
    {
        "gate": pa.string(),
        "stops": pa.int64(),
        "fare": pa.float64(),
        "paid": pa.decimal128(10, 2),
        "miles": pa.decimal128(38, 0),
        "boarded": pa.timestamp("us", "UTC"),
    }.items(),
)
def test_a_column_that_is_new_is_added_as_the_type_it_has(
    name: str, kind: pa.DataType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, place = tmp_path / "flights_1.parquet", Place(tmp_path / "checkout")
    pq.write_table(typed_table().append_column(name, pa.nulls(30, kind)), file)
    told = place.judged(file, monkeypatch)
    assert (told.state, told.silver) == (BatchState.COMMITTED, 30)
    place.follow(str(told.reason), file)
    assert (place.judged(file, monkeypatch).silver, place.judged(file, monkeypatch).reason) == (30, None)
