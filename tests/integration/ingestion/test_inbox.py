"""Rules of files that arrive on an object store: taken in once, archived before they leave it, whoever dies between."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.contracts import BatchState
from pipelines.ingestion import arrivals
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.settings import Settings
from pipelines.stores import Stores
from tests.integration.ingestion.test_ingest import GOOD, SPEC

Machine = Callable[[str], Stores]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """What an exporter writes to; here the store is a folder."""
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def machine(tmp_path: Path, inbox: Path, hardly_judged: None) -> Machine:
    """A machine by its name: a home and a landing folder of its own, the deployment's database, storage and inbox."""
    shared = {"storage": str(tmp_path / "storage"), "inbox": str(inbox), "keys": tmp_path / "keys"}
    database = f"sqlite:///{tmp_path}/shared.db"
    return lambda name: Stores(
        Settings(_env_file=None, home=tmp_path / name, database_url=database, lease_seconds=2, **shared)
    )


def test_a_file_of_the_inbox_is_taken_in_and_then_lies_in_the_archive_alone(
    machine: Machine, inbox: Path
) -> None:
    (inbox / "flights_1.csv").write_bytes(GOOD)
    stores = machine("a")
    [result] = ingest_dataset(SPEC, stores)
    assert (result.state, result.silver) == (BatchState.ARCHIVED, 30)
    assert not (inbox / "flights_1.csv").exists()
    assert arrivals.kept(result, machine("b")).read_bytes() == GOOD
    assert not list(stores.settings.landing_path.glob("[!.]*"))
    assert ingest_dataset(SPEC, stores) == []


def test_a_machine_that_dies_with_its_disk_leaves_the_file_to_another(
    machine: Machine, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (inbox / "flights_1.csv").write_bytes(GOOD)
    with monkeypatch.context() as patched:
        patched.setattr(arrivals, "put_away", _power_cut)
        patched.setattr("pipelines.ingestion.ingest.put_away", _power_cut)
        with pytest.raises(KeyboardInterrupt):
            ingest_dataset(SPEC, machine("a"))
    assert (inbox / "flights_1.csv").read_bytes() == GOOD
    other = machine("b")
    ingest_dataset(SPEC, other)
    [result] = other.ledger.batches("flights")
    assert (result.state, result.silver) == (BatchState.ARCHIVED, 30)
    assert other.tables.silver(SPEC).to_table().num_rows == 30
    assert not (inbox / "flights_1.csv").exists()
    assert arrivals.kept(result, other).read_bytes() == GOOD


def _power_cut(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_name_that_got_a_new_content_meanwhile_is_not_taken_away(
    machine: Machine, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores, newer = machine("a"), GOOD.replace(b"2013", b"2014")
    (inbox / "flights_1.csv").write_bytes(GOOD)
    real = arrivals.put_away

    def replaced(batch: object, shared: Stores) -> None:
        (inbox / "flights_1.csv").write_bytes(newer)
        real(batch, shared)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr("pipelines.ingestion.ingest.put_away", replaced)
        ingest_dataset(SPEC, stores)
    assert (inbox / "flights_1.csv").read_bytes() == newer
    ingest_dataset(SPEC, stores)
    assert len(stores.ledger.batches("flights")) == 2
    assert not (inbox / "flights_1.csv").exists()


def test_names_that_cannot_be_files_of_ours_are_noted_and_never_written_here(
    machine: Machine, inbox: Path
) -> None:
    for name in ("-flights_1.csv", "flights_..%2Fx.csv", "flights_2.csv.part", ".flights_3.csv", "other.txt"):
        (inbox / name).write_bytes(GOOD)
    (inbox / "deep").mkdir()
    (inbox / "deep" / "flights_4.csv").write_bytes(GOOD)
    stores = machine("a")
    assert ingest_dataset(SPEC, stores) == []
    assert [path.name for path in stores.settings.landing_path.glob("*")] == []
    told = [each.name for each in arrivals.passed_over("flights", stores)]
    assert told == ["-flights_1.csv", "flights_..%2Fx.csv"]
    assert len(list(inbox.rglob("*.*"))) == 6


def test_a_manifest_comes_and_goes_with_its_file(machine: Machine, inbox: Path) -> None:
    spec = SPEC.model_copy(update={"manifest": True})
    (inbox / "flights_1.csv").write_bytes(GOOD)
    stores = machine("a")
    assert ingest_dataset(spec, stores) == []
    (inbox / "flights_1.csv.manifest.json").write_text(json.dumps({"size": len(GOOD)}))
    [result] = ingest_dataset(spec, stores)
    assert result.silver == 30
    assert list(inbox.iterdir()) == []


def test_what_a_machine_that_is_gone_had_set_aside_in_a_shared_landing_folder_comes_back(
    machine: Machine, hardly_judged: None
) -> None:
    """Nobody can know whether a process of another machine lives; after an hour it is not putting a file away."""
    stores = machine("a")
    [theirs, recent] = [
        stores.settings.landing_path / ".evergreen" / f"another-host:1:2~{name}" for name in ("old", "new")
    ]
    for aside, name in ((theirs, "flights_1.csv"), (recent, "flights_2.csv")):
        aside.mkdir(parents=True)
        (aside / name).write_bytes(GOOD.replace(b"2013", b"2014") if aside == recent else GOOD)
    os.utime(theirs, (1e9, 1e9))
    [result] = ingest_dataset(SPEC, stores)
    assert (result.name, result.silver) == ("flights_1.csv", 30)
    assert (recent / "flights_2.csv").exists()
