"""Columns change on purpose: by a version in the yaml; silver follows and keeps what it has."""

import shutil
from pathlib import Path

import pytest

from pipelines.catalog import HERE, DatasetSpec, dataset, read_spec
from pipelines.contracts import BatchState, EvergreenError
from pipelines.ingestion import quarantine
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.reading import schema
from pipelines.stores import Stores
from tests.integration.ingestion.test_ingest import GOOD, LINES, land

SPEC = dataset("flights")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the datasets' yaml files to edit."""
    return Path(shutil.copytree(HERE / "datasets", tmp_path / "datasets"))


def with_column(value: bytes, name: bytes = b"gate") -> bytes:
    lines = [line.rstrip(b"\n") for line in LINES]
    return b"\n".join([lines[0] + b"," + name, *(line + b"," + value for line in lines[1:])]) + b"\n"


def test_an_added_column_is_null_before_and_read_after_and_old_files_still_land(
    stores: Stores, folder: Path
) -> None:
    land(stores, GOOD)
    ingest_dataset(SPEC, stores)
    land(stores, with_column(b"B7"), "flights_2.csv")
    [rescued] = ingest_dataset(SPEC, stores)
    assert "evergreen schema add flights gate" in str(rescued.reason)
    wider = schema.add(SPEC, "gate", "string", "the gate it left from", folder)
    assert (wider.version, wider.columns["gate"].since) == (2, 2)
    land(stores, with_column(b"C9"), "flights_3.csv")
    land(stores, GOOD + LINES[1], "flights_4.csv")
    results = ingest_dataset(wider, stores)
    assert [(r.state, r.quarantined) for r in results] == [(BatchState.ARCHIVED, 0)] * 2
    table = stores.tables.silver(wider).to_table()
    assert set(table["gate"].to_pylist()) == {None, "C9"}
    assert set(table["_rescued"].to_pylist()) == {None, '{"gate":"B7"}'}


def test_a_widened_type_keeps_every_value_and_takes_the_new_ones(stores: Stores, folder: Path) -> None:
    land(stores, GOOD)
    ingest_dataset(SPEC, stores)
    before = stores.tables.silver(SPEC).to_table()
    at = LINES[0].rstrip().split(b",").index(b"distance")
    halves = [line.rstrip(b"\n").split(b",") for line in LINES]
    fractions = b"\n".join(
        [LINES[0].rstrip(), *(b",".join([*f[:at], f[at] + b".5", *f[at + 1 :]]) for f in halves[1:])]
    )
    land(stores, fractions + b"\n", "flights_2.csv")
    [refused] = ingest_dataset(SPEC, stores)
    assert refused.state is BatchState.REFUSED
    assert "evergreen schema widen flights distance --to float" in str(refused.reason)
    wider = schema.widen(SPEC, "distance", "float", folder)
    land(stores, fractions + b"\n\n", "flights_3.csv")
    [taken] = ingest_dataset(wider, stores)
    assert (taken.silver, taken.superseded) == (30, 0)
    table = stores.tables.silver(wider).to_table()
    old = table.filter([digest != taken.digest for digest in table["_batch"].to_pylist()])
    assert sorted(old["distance"].to_pylist()) == sorted(map(float, before["distance"].to_pylist()))
    assert (
        stores.tables.silver(SPEC, version=1).to_table().schema.field("distance").type
        == before.schema.field("distance").type
    )


def test_a_deprecated_column_may_be_left_out_and_what_was_refused_can_be_released(
    stores: Stores, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line.rstrip(b"\n").split(b",") for line in LINES]
    at = lines[0].index(b"tailnum")
    land(stores, b"\n".join(b",".join(line[:at] + line[at + 1 :]) for line in lines) + b"\n")
    [refused] = ingest_dataset(SPEC, stores)
    assert "evergreen schema deprecate flights tailnum" in str(refused.reason)
    assert quarantine.release(refused, stores, "look again").state is BatchState.REFUSED
    spec = schema.deprecate(SPEC, "tailnum", folder)
    monkeypatch.setattr(quarantine, "dataset", lambda name: spec)
    taken = quarantine.release(
        quarantine.find(refused.digest, stores), stores, "the column is no longer sent"
    )
    assert (taken.state, taken.silver) == (BatchState.ARCHIVED, 30)
    assert set(stores.tables.silver(spec).to_table()["tailnum"].to_pylist()) == {None}
    assert list(stores.settings.landing_path.iterdir()) == []


def test_the_yaml_keeps_its_other_lines_and_says_the_new_version(folder: Path) -> None:
    path = folder / "flights.yaml"
    before = path.read_text().splitlines()
    schema.add(SPEC, "gate", "string", "the gate: where it left", folder)
    schema.deprecate(read_spec(path, DatasetSpec), "tailnum", folder)
    after = path.read_text().splitlines()
    assert "version: 3" in after
    assert [line for line in before if "tailnum" not in line] == [
        line for line in after if not any(word in line for word in ("version", "gate", "tailnum"))
    ]


def test_columns_that_change_without_a_version_stop_ingestion_with_the_remedy(stores: Stores) -> None:
    land(stores, GOOD)
    ingest_dataset(SPEC, stores)
    columns = {**SPEC.columns, "distance": SPEC.columns["distance"].model_copy(update={"type": "float"})}
    with pytest.raises(EvergreenError, match="version: 2"):
        ingest_dataset(SPEC.model_copy(update={"columns": columns}), stores)


def test_what_would_lose_values_is_refused_by_name(stores: Stores, folder: Path) -> None:
    land(stores, GOOD)
    ingest_dataset(SPEC, stores)
    fewer = {name: column for name, column in SPEC.columns.items() if name != "distance"}
    with pytest.raises(EvergreenError, match=r"distance.*deprecated"):
        ingest_dataset(SPEC.model_copy(update={"columns": fewer, "version": 2}), stores)
    with pytest.raises(EvergreenError, match="can become"):
        schema.widen(SPEC, "tailnum", "integer", folder)
    with pytest.raises(EvergreenError, match="cannot do without carrier"):
        schema.deprecate(SPEC, "carrier", folder)
    with pytest.raises(EvergreenError, match="already"):
        schema.add(SPEC, "carrier", "string", "x", folder)
