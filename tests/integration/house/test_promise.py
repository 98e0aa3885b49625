"""The production test's count of rows finds what is lost, doubled or untold, in a home that one file was taken into."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.catalog import dataset
from pipelines.contracts import BatchState
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores
from tests.production.promise import Landed, landed, of_champions, of_files, taken

NAME = "flights_20130101T0000_20130102T0000.csv"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stores, Landed]:
    stores = Stores(Settings(_env_file=None, home=tmp_path_factory.mktemp("home")))
    stores.settings.landing_path.mkdir()
    path = stores.settings.landing_path / NAME
    shutil.copyfile(PROJECT / "tests" / "data" / "flights_good.csv", path)
    file = landed(path)
    assert not taken([file], stores)
    ingest_dataset(dataset("flights"), stores)
    return stores, file


def test_a_file_that_is_in_once_breaks_no_promise(whole: tuple[Stores, Landed]) -> None:
    stores, file = whole
    assert file.dataset == "flights"
    assert file.rows > 5
    assert taken([file], stores)
    assert list(of_files([file], stores)) == []


def test_a_row_that_landed_and_is_nowhere_is_told(whole: tuple[Stores, Landed]) -> None:
    stores, file = whole
    more = replace(file, rows=file.rows + 1)
    assert [f"{file.rows + 1} rows landed" in said for said in of_files([more], stores)] == [True]


def test_a_file_that_nobody_took_is_told(whole: tuple[Stores, Landed]) -> None:
    stores, file = whole
    other = replace(file, digest="0" * 64)
    assert not taken([other], stores)
    assert list(of_files([other], stores)) == [f"{NAME} is unknown to the ledger"]


def test_a_row_that_is_in_silver_twice_is_told(whole: tuple[Stores, Landed], tmp_path: Path) -> None:
    stores, file = whole
    spec = dataset("flights")
    shutil.copytree(stores.settings.home, tmp_path / "home")
    twice = Stores(Settings(_env_file=None, home=tmp_path / "home"))
    rows = twice.tables.silver(spec).to_table()
    assert twice.tables.append("silver", "flights", rows.slice(0, 1), "another")
    said = list(of_files([file], twice))
    assert said[0] == "flights: 1 rows lie in more than one place"
    assert said[-1] == "silver of flights has 1 keys more than once"
    batch = twice.ledger.batches("flights")[0]
    assert batch.state is BatchState.ARCHIVED


def test_no_champion_at_all_is_told(whole: tuple[Stores, Landed]) -> None:
    assert "flight_delays never had a champion" in list(of_champions(whole[0]))
