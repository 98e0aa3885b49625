"""The proof of the triggers itself: a small run on a real Airflow holds, tries every case and leaves nothing."""

import os
import re
from datetime import date
from pathlib import Path

import pytest
from deltalake import CommitProperties, Transaction, write_deltalake

from pipelines.catalog import dataset
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.prove import Proof
from pipelines.prove.triggers import CASES, prove
from pipelines.prove.triggers.once import Supply, breaches, land
from pipelines.stores import Stores

pytestmark = pytest.mark.timeout(1200)  # three minutes on an idle machine of two cores, nine on a busy one
SMALL = {"events": 2, "kills": 1}


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def proof(said: list[str]) -> Proof:
    return prove(**SMALL, say=said.append)


def test_the_proof_sees_a_batch_that_is_missing_or_in_silver_twice(stores: Stores, tmp_path: Path) -> None:
    """A proof that cannot fail proves nothing."""
    landing = stores.settings.landing_path
    landing.mkdir(parents=True)
    landed = land(Supply(tmp_path / "upstream", date(2013, 1, 1)).take("weather"), "weather", landing)
    assert "0 silver commits" in " ".join(breaches(stores, [landed], "before"))
    ingest_dataset(dataset("weather"), stores)
    assert breaches(stores, [landed], "after") == []
    rows = stores.tables.silver(dataset("weather")).to_table()
    again = CommitProperties(app_transactions=[Transaction(landed.digest, 9)])
    write_deltalake(stores.tables.uri("silver", "weather"), rows, mode="append", commit_properties=again)
    said = " ".join(breaches(stores, [landed], "doubled"))
    assert "2 silver commits" in said
    assert f"{len(rows)} lines twice" in said


def test_each_landed_file_is_in_silver_exactly_once_whatever_happens(proof: Proof) -> None:
    assert proof.failures == []
    assert proof.holds


def test_every_case_tried_something(proof: Proof) -> None:
    assert len(proof.rows) == len(CASES) + 2
    for row in proof.rows:
        assert any(number in row["tried"] for number in "123456789"), row
        assert int(row["expected"].split()[0]) >= 1, row
        assert row["got"] == row["expected"], row


def test_an_orphaned_task_and_its_retry_were_both_there(proof: Proof) -> None:
    (row,) = [row for row in proof.rows if "supervisor" in row["case"]]
    assert row["tried"].startswith("1 kills")
    assert "orphan and retry ran at once 1 times" in row["tried"]


def test_a_person_is_told_how_far_it_has_come(proof: Proof, said: list[str]) -> None:
    assert len(said) > len(proof.rows)


def test_nothing_is_left_running(proof: Proof, said: list[str], tmp_path: Path) -> None:
    with (tmp_path / "open").open("w"):
        assert os.getpid() in holding(str(tmp_path))
    (home,) = re.findall(r"/\S*evergreen-prove-\w+", said[0])
    assert proof.rows
    # The proof's own ledger, read in this process, stays open until it is collected.
    assert holding(home) - {os.getpid()} == set()
    assert not Path(home).exists()


def holding(folder: str) -> set[int]:
    """Processes that have a file of a folder open; every service has its log there."""
    return {int(fd.parts[2]) for fd in Path("/proc").glob("[0-9]*/fd/*") if folder in target(fd)}


def target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
