"""Rules of corrections: a moment's features say what was known then, in whatever order one computes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from pipelines import catalog
from pipelines.contracts import Batch, BatchState, IngestResult
from pipelines.features import compute
from pipelines.prove.worlds import sandbox
from pipelines.stores import Stores
from pipelines.stores.tables import silver_schema
from tests.integration.conftest import AS_OF
from tests.once import copied_home

BEGIN = datetime(2012, 12, 31, tzinfo=UTC)


def correct(
    stores: Stores, name: str, at: datetime, later: timedelta, column: str, digest: str, rows: int = 40
) -> int:
    """Lands a batch that says something else of rows known before `at`, itself known `later` after it."""
    spec = catalog.dataset(name)
    known = stores.tables.silver(spec).to_table().to_pandas()
    old = known[(known[spec.available_at] <= at)].nlargest(rows, spec.available_at)
    new = old.assign(
        **{
            column: 150.0,
            spec.available_at: pd.Timestamp(at + later),
            "_batch": digest,
            "_line": range(2, 2 + len(old)),
        }
    )
    table = pa.Table.from_pandas(new, silver_schema(spec), preserve_index=False)
    stores.tables.append("silver", name, table, digest)
    stores.ledger.see(Batch(digest, name, f"{digest[:6]}.csv", 1))
    stores.ledger.record(
        IngestResult(
            digest,
            name,
            f"{digest[:6]}.csv",
            BatchState.COMMITTED,
            len(new),
            len(new),
            first_known=at + later,
            last_known=at + later,
        )
    )
    return len(new)


def copy(home: Path, to: Path) -> Stores:
    """A home whose views have no suites: what is asked here is their time, not their quality."""
    copied_home(home, to)
    return sandbox(to)


def table(stores: Stores, view: str) -> pd.DataFrame:
    version = stores.features.version(view)
    rows = stores.tables.dataset("features", version.table).to_table().to_pandas()
    keys = [c for c in rows if rows[c].dtype == object]
    return rows.sort_values([*keys, "event_timestamp"], ignore_index=True)


def test_features_before_a_correction_do_not_see_it(january: Path, tmp_path: Path) -> None:
    """Computed at once after the correction, or day by day as it happened: the same tables."""
    at, later = AS_OF - timedelta(days=2), timedelta(hours=5)
    as_it_happened, at_once = copy(january, tmp_path / "a"), copy(january, tmp_path / "b")
    compute.compute(at + timedelta(hours=2), as_it_happened)
    for stores in (as_it_happened, at_once):
        assert correct(stores, "departures", at, later, "departure_delay", "c" * 64) == 40
    for hours in (4, 5, 48):
        compute.compute(at + timedelta(hours=hours), as_it_happened)
    compute.compute(at + timedelta(hours=48), at_once)
    changed = 0
    for view in at_once.features.current:
        one, other = table(as_it_happened, view), table(at_once, view)
        pd.testing.assert_frame_equal(one, other, rtol=1e-9)
        changed += len(one)
    assert changed > 10_000


def test_a_correction_changes_what_comes_after_it_and_nothing_before(counted: Stores) -> None:
    before = table(counted, "origin_congestion")
    moment = AS_OF - timedelta(hours=20)
    correct(
        counted, "departures", moment - timedelta(hours=1), timedelta(hours=1), "departure_delay", "d" * 64
    )
    run = compute.compute(AS_OF, counted)
    after = table(counted, "origin_congestion")
    assert "origin_congestion" in run.rows
    early = before.event_timestamp < pd.Timestamp(moment)
    pd.testing.assert_frame_equal(before[early], after[after.event_timestamp < pd.Timestamp(moment)])
    assert not before[~early].equals(after[~(after.event_timestamp < pd.Timestamp(moment))])


def test_a_late_batch_computes_its_look_back_and_no_more(counted: Stores) -> None:
    moment = AS_OF - timedelta(days=6)
    correct(counted, "weather", moment, timedelta(hours=1), "temp", "e" * 64, rows=3)
    version = counted.features.version("origin_weather")
    windows, new = compute.pending(version, AS_OF, counted.ledger.batches(), counted)
    assert len(new) == 1
    [(start, end)] = windows
    assert start < moment + timedelta(hours=1) < end
    assert end - start <= version.look_back + compute.TICK + timedelta(seconds=1)


def test_a_backfill_that_was_stopped_goes_on_and_ends_as_one_that_was_not(
    counted: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = table(counted, "carrier_delays")
    window, step = (BEGIN, AS_OF), timedelta(days=3)
    done, real = [], compute.write

    def dies(version: object, part: tuple[datetime, datetime], *rest: object) -> object:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(part)
        return real(version, part, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(compute, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        compute.backfill(["carrier_delays"], window, step, counted)
    monkeypatch.setattr(compute, "write", lambda *a: (done.append(a[1]), real(*a))[1])
    compute.backfill(["carrier_delays"], window, step, counted)
    assert len(done) == len(set(done)) == len(compute.parts(window, step)) == 4
    pd.testing.assert_frame_equal(before, table(counted, "carrier_delays"), rtol=1e-9)
