"""Rows that outlived their dataset's retention are gone from every version, and what hangs on them is said before."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines import catalog
from pipelines.contracts import EvergreenError, NothingToDo, TransientError
from pipelines.erasure import again, retention
from pipelines.erasure.erase import erase, look
from pipelines.erasure.subjects import sought
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.prove.erasure.residues import residues
from pipelines.prove.worlds import sandbox
from pipelines.stores import Stores
from pipelines.stores.locks import at_work

NAME = "card_transactions"
BEGIN = datetime(2018, 4, 1, tzinfo=UTC)
NOW = datetime(2026, 12, 1, tzinfo=UTC)


def _land(stores: Stores, name: str, days: range) -> None:
    folder = stores.settings.landing_path
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(catalog.dataset(NAME).columns)
        for day in days:
            for customer in range(5):
                at = BEGIN + timedelta(days=day, hours=customer)
                known = at + timedelta(minutes=1)
                out.writerow(
                    [
                        day * 10 + customer + 1,
                        f"C{customer:05d}",
                        "T00001",
                        f"{at:%FT%TZ}",
                        5.0,
                        f"{known:%FT%TZ}",
                    ]
                )
    ingest_dataset(catalog.dataset(NAME), stores)


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    found = sandbox(tmp_path / "home")
    _land(found, "card_transactions_1.csv", range(30))
    _land(found, "card_transactions_2.csv", range(30, 60))
    return found


@pytest.fixture
def kept_for(monkeypatch: pytest.MonkeyPatch) -> "object":
    def bound(days: int) -> None:
        spec = catalog.dataset(NAME).model_copy(update={"retention": timedelta(days=days)})
        monkeypatch.setattr(retention.catalog, "dataset", lambda name: spec)

    return bound


def _rows(stores: Stores) -> list[datetime]:
    return stores.tables.silver(catalog.dataset(NAME)).to_table()["happened_at"].to_pylist()


def test_what_is_older_is_gone_and_what_is_younger_stays(stores: Stores, kept_for) -> None:  # type: ignore[no-untyped-def]
    kept_for(40)
    assert len(_rows(stores)) == 300
    before = stores.ledger.watermark(NAME) - timedelta(days=40)  # type: ignore[operator]
    wanted = sorted(at for at in _rows(stores) if at >= before)
    dry = retention.retain([NAME], stores, NOW, dry=True)
    assert (len(_rows(stores)), dry[0].rows) == (300, {f"silver/{NAME}": 300 - len(wanted)})
    done = retention.retain([NAME], stores, NOW)
    assert done[0].rows == dry[0].rows
    assert sorted(_rows(stores)) == wanted
    assert stores.tables.table("silver", NAME, 1) is None
    assert stores.audit.entries(f"dataset:{NAME}", "retain")[0].evidence["rows"] == dry[0].rows
    with pytest.raises(NothingToDo):
        retention.retain([NAME], stores, NOW)


def test_a_file_goes_once_all_its_rows_are_too_old(stores: Stores, kept_for) -> None:  # type: ignore[no-untyped-def]
    kept_for(32)
    archived = sorted((stores.settings.home / "archive" / NAME).iterdir())
    assert len(archived) == 2
    later = BEGIN + timedelta(days=70)
    assert retention.retain([NAME], stores, NOW, later)[0].files == 1
    assert [path.name[-5:] for path in (stores.settings.home / "archive" / NAME).iterdir()] == ["2.csv"]


def test_a_retention_shorter_than_a_look_back_is_refused_and_removes_nothing(
    stores: Stores, kept_for
) -> None:  # type: ignore[no-untyped-def]
    kept_for(29)
    with pytest.raises(EvergreenError, match=r"looks back 30d.*raise `retention` to at least 31d"):
        retention.retain([NAME], stores, NOW)
    assert len(_rows(stores)) == 300


def test_nobody_is_erased_while_something_is_at_work_or_files_wait(stores: Stores) -> None:
    one = sought([f"{NAME}.customer_id=C00001"])
    with at_work(stores.settings), pytest.raises(TransientError, match="nothing was removed"):
        erase(one, stores, "to try", NOW, patience=0.3)
    waits = stores.settings.landing_path / "card_transactions_3.csv"
    waits.write_text("x")
    with pytest.raises(TransientError, match="1 files of card_transactions wait"):
        erase(one, stores, "to try", NOW)
    waits.unlink()
    assert look(one, stores).rows > 60
    assert len(_rows(stores)) == 300


def test_who_was_erased_is_erased_again_after_a_restore_and_the_same_bytes_stay_out(
    stores: Stores, tmp_path: Path
) -> None:
    home, one = stores.settings.home, sought([f"{NAME}.customer_id=C00001"])
    with pytest.raises(EvergreenError, match="names the person"):
        erase(one, stores, "C00001 asked", NOW)
    first = erase(one, stores, "to try", NOW)
    assert first.rows > 60
    assert len(_rows(stores)) == 240
    assert residues(home, ["C00001"]) == {}
    assert again(sandbox(home)) is None
    assert "C00001" not in (home / "erasures.jsonl").read_text()
    _land(stores, "card_transactions_1.csv", range(30))  # the same bytes: known, removed, not archived
    assert residues(home, ["C00001"]) == {}
    _land(stores, "card_transactions_4.csv", range(60, 61))  # a new fact
    assert residues(home, ["C00001"])
    found = again(sandbox(home))
    assert found is not None
    assert found.persons == 1
    assert residues(home, ["C00001"]) == {}
    assert len(_rows(stores)) == 244
    assert [entry.evidence["state"] for entry in stores.audit.entries(action="erase")] == [
        "begun",
        "ended",
    ] * 2
    assert stores.audit.verify() == []
