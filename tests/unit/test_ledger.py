"""What the ledger promises about arrivals."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from pipelines.contracts import Batch, BatchState, IngestResult
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


def test_many_ledgers_may_start_and_write_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'ledger.db'}"

    def work(number: int) -> None:
        Ledger(url).see(Batch(f"d{number % 4}", "weather", f"weather_{number}.csv", 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    assert len(Ledger(url).pending("weather")) == 4
