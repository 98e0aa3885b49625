"""What the ledger promises about arrivals."""

import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.contracts import Batch, BatchState, EvergreenError, IngestResult
from pipelines.stores import Stores
from pipelines.stores.ledger import Ledger

KNOWN = datetime(2013, 1, 2, 3, 4, 5, tzinfo=UTC)
BATCH = Batch("d1", "weather", "weather_1.csv", 10)
DONE = IngestResult(
    "d1", "weather", "weather_1.csv", BatchState.COMMITTED, parsed=3, silver=2, quarantined=1,
    first_known=KNOWN, last_known=KNOWN,
)  # fmt: skip


def test_the_same_bytes_are_one_batch_under_all_their_names(stores: Stores) -> None:
    assert stores.ledger.see(BATCH) == BATCH
    again = stores.ledger.see(Batch("d1", "weather", "other.csv", 10))
    assert again == BATCH
    assert set(stores.ledger.names("d1", "weather")) == {"weather_1.csv", "other.csv"}
    assert stores.ledger.pending("weather") == [BATCH]


def test_a_batch_ends_once(stores: Stores) -> None:
    stores.ledger.see(BATCH)
    stores.ledger.record(DONE)
    stores.ledger.record(IngestResult("d1", "weather", "weather_1.csv", BatchState.REFUSED, reason="late"))
    assert stores.ledger.batches() == [DONE]
    assert stores.ledger.pending("weather") == []
    assert stores.ledger.see(BATCH).state is BatchState.COMMITTED


def test_a_result_is_recorded_even_if_the_file_was_never_seen(stores: Stores) -> None:
    stores.ledger.record(DONE)
    assert stores.ledger.result("d1", "weather") == DONE
    assert stores.ledger.batches(dataset="flights") == []
    assert stores.ledger.batches(state=BatchState.COMMITTED) == [DONE]


def test_times_come_back_in_utc_and_the_newest_is_the_watermark(stores: Stores) -> None:
    assert stores.ledger.watermark("weather") is None
    stores.ledger.record(DONE)
    stores.ledger.record(IngestResult("d2", "weather", "weather_2.csv", BatchState.COMMITTED))
    watermark = stores.ledger.watermark("weather")
    assert watermark == KNOWN
    assert watermark.tzinfo is not None


def test_a_live_claim_keeps_others_out_and_one_given_back_or_run_out_does_not(stores: Stores) -> None:
    stores.ledger.see(BATCH)
    first = stores.ledger.claim(BATCH, 60)
    assert first is not None
    assert stores.ledger.claim(BATCH, 60) is None
    stores.ledger.let_go(first)
    second = stores.ledger.claim(BATCH, 0)
    assert second is not None
    assert second.token == first.token + 1
    third = stores.ledger.claim(BATCH, 60)
    assert third is not None
    assert not stores.ledger.renew(second, 60)
    assert stores.ledger.renew(third, 60)


def test_a_claim_of_a_process_that_is_gone_is_free_at_once(stores: Stores) -> None:
    stores.ledger.see(BATCH)
    child = multiprocessing.get_context("fork").Process(
        target=lambda: Ledger(stores.settings.database).claim(BATCH, 3600)
    )
    child.start()
    child.join()
    assert [b.state for b in stores.ledger.pending("weather")] == [BatchState.CLAIMED]
    assert stores.ledger.claim(BATCH, 60) is not None


def test_an_outranked_claim_ends_nothing(stores: Stores) -> None:
    stores.ledger.see(BATCH)
    zombie = stores.ledger.claim(BATCH, 0)
    winner = stores.ledger.claim(BATCH, 60)
    assert zombie is not None
    assert winner is not None
    stores.ledger.record(DONE, zombie)
    assert stores.ledger.result("d1", "weather").state is BatchState.CLAIMED
    stores.ledger.record(DONE, winner)
    assert stores.ledger.result("d1", "weather") == DONE
    assert [s.step for s in stores.ledger.history("d1", "weather")] == [
        "seen",
        "claimed",
        "claimed",
        "committed",
    ]


def test_an_ended_batch_is_not_claimed_and_its_state_only_moves_on(stores: Stores) -> None:
    stores.ledger.record(DONE)
    stores.ledger.archived(DONE)
    assert stores.ledger.claim(BATCH, 60) is None
    stores.ledger.record(DONE)
    assert stores.ledger.result("d1", "weather").state is BatchState.ARCHIVED


def test_a_ledger_of_an_earlier_shape_is_named_with_the_remedy(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "old.db") as database:
        database.execute("CREATE TABLE batches (digest TEXT, dataset TEXT)")
    with pytest.raises(EvergreenError, match=r"table batches .* lacks name, seen_at: .*upgrade.md"):
        Ledger(f"sqlite:///{tmp_path / 'old.db'}")


def test_many_ledgers_may_start_and_write_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'ledger.db'}"

    def work(number: int) -> None:
        Ledger(url).see(Batch(f"d{number % 4}", "weather", f"weather_{number}.csv", 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    assert len(Ledger(url).pending("weather")) == 4
