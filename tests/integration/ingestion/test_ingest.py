"""Every landed row is in exactly one place, exactly once, whatever lands and wherever a run dies."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from pipelines.catalog import dataset
from pipelines.contracts import BatchState, IngestResult, TransientError
from pipelines.ingestion import ingest as stage
from pipelines.ingestion.accounting import quarantine
from pipelines.ingestion.ingest import discover, ingest, ingest_dataset
from pipelines.loop import steps
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.ledger import Ledger
from tests.staged import read

DATA = Path(__file__).parents[2] / "data"
SPEC = dataset("flights")
GOOD = (DATA / "flights_good.csv").read_bytes()
LINES = GOOD.splitlines(keepends=True)


def land(stores: Stores, content: bytes, name: str = "flights_1.csv") -> Path:
    """A file that lies in the landing folder, written a while ago."""
    path = stores.settings.landing_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (1e9, 1e9))
    return path


def state(stores: Stores) -> tuple[list[dict[str, object]], list[dict[str, object]], list[IngestResult]]:
    """All that ingestion left: silver, quarantine and ledger."""
    order = [("_batch", "ascending"), ("_line", "ascending")]
    return (
        stores.tables.silver(SPEC).to_table().sort_by(order).to_pylist(),
        quarantine(SPEC, stores).drop(["_attempt"]).sort_by([("line", "ascending")]).to_pylist(),
        stores.ledger.batches(),
    )


def test_a_good_file_lands_whole_and_leaves_the_landing_folder(stores: Stores) -> None:
    path = land(stores, GOOD)
    [result] = ingest_dataset(SPEC, stores)
    assert (result.state, result.parsed, result.silver) == (BatchState.ARCHIVED, 30, 30)
    assert not path.exists()
    kept = stores.settings.home / "archive" / "flights" / f"{result.digest}_flights_1.csv"
    assert kept.read_bytes() == GOOD
    known = stores.tables.silver(SPEC).to_table()["available_at"]
    assert (result.first_known, result.last_known) == (pc.min(known).as_py(), pc.max(known).as_py())
    assert stores.ledger.watermark("flights") == result.last_known
    assert Path(result.report or "").exists()


def test_a_broken_row_goes_to_quarantine_and_the_rest_goes_on(stores: Stores) -> None:
    land(stores, (DATA / "flights_broken_row.csv").read_bytes())
    [result] = ingest_dataset(SPEC, stores)
    assert (result.parsed, result.silver, result.quarantined) == (30, 29, 1)
    _, [bad], _ = state(stores)
    assert (bad["_batch"], bad["file"], bad["line"], bad["rule"]) == (
        result.digest, "flights_1.csv", 6, "integer",
    )  # fmt: skip
    assert "distance" in str(bad["reason"])
    assert b"miles" in bad["raw"]  # type: ignore[operator]


def test_a_file_with_a_missing_column_is_refused_and_the_others_go_on(stores: Stores) -> None:
    land(stores, (DATA / "flights_missing_column.csv").read_bytes(), "flights_0.csv")
    land(stores, GOOD, "flights_1.csv")
    refused, taken = ingest_dataset(SPEC, stores)
    assert (refused.state, refused.parsed) == (BatchState.REFUSED, 0)
    assert "required column missing: 'distance'" in str(refused.reason)
    assert (stores.settings.home / "refused" / "flights" / f"{refused.digest}_flights_0.csv").exists()
    assert taken.silver == 30
    assert len(state(stores)[0]) == 30


def test_a_row_that_breaks_an_expectation_goes_to_quarantine_with_its_bytes(stores: Stores) -> None:
    line = LINES[3].replace(b",JFK,", b",BOS,").replace(b",EWR,", b",BOS,").replace(b",LGA,", b",BOS,")
    assert line != LINES[3]
    land(stores, b"".join([*LINES[:3], line, *LINES[4:]]))
    [result] = ingest_dataset(SPEC, stores)
    assert (result.silver, result.quarantined) == (29, 1)
    _, [bad], _ = state(stores)
    assert (bad["line"], bad["raw"]) == (4, line)


def test_the_same_bytes_again_change_nothing_under_any_name(stores: Stores) -> None:
    land(stores, GOOD)
    ingest_dataset(SPEC, stores)
    before = state(stores)
    for name in ("flights_1.csv", "flights_other.csv"):
        path = land(stores, GOOD, name)
        assert ingest_dataset(SPEC, stores) == []
        assert not path.exists()
    assert state(stores) == before
    assert set(stores.ledger.names(before[2][0].digest, "flights")) == {"flights_1.csv", "flights_other.csv"}


def test_calling_ingest_twice_is_calling_it_once(stores: Stores) -> None:
    land(stores, GOOD)
    [batch] = discover(SPEC, stores)
    first = ingest(SPEC, batch, stores)
    before = state(stores)
    assert ingest(SPEC, batch, stores) == first
    assert state(stores) == before


def test_two_runs_at_once_do_no_more_than_one(stores: Stores) -> None:
    land(stores, GOOD)
    [batch] = discover(SPEC, stores)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: ingest(SPEC, batch, Stores(stores.settings)), range(2)))
    assert results[0] == results[1]
    assert len(state(stores)[0]) == 30


def test_equal_rows_count_once_and_rows_that_contradict_each_other_not_at_all(stores: Stores) -> None:
    contradiction = LINES[2].replace(b"\n", b"").rsplit(b",", 2)
    other = b",".join([contradiction[0], b"99", contradiction[2]]) + b"\n"
    assert other != LINES[2]
    land(stores, GOOD + LINES[1] + other)
    [result] = ingest_dataset(SPEC, stores)
    assert (result.parsed, result.silver, result.quarantined, result.superseded) == (32, 29, 2, 1)
    assert [(bad["line"], bad["rule"]) for bad in state(stores)[1]] == [
        (3, "conflicting rows"), (33, "conflicting rows"),
    ]  # fmt: skip


def test_a_row_silver_holds_already_is_superseded_and_a_correction_is_kept_beside_it(stores: Stores) -> None:
    land(stores, GOOD)
    ingest_dataset(SPEC, stores)
    fields = LINES[2].rstrip(b"\n").split(b",")
    correction = b",".join([*fields[:-2], b"99", b"2013-02-01T00:00:00Z"]) + b"\n"
    land(stores, LINES[0] + LINES[1] + correction)
    [result] = ingest_dataset(SPEC, stores)
    assert (result.parsed, result.silver, result.superseded) == (2, 1, 1)
    assert len(state(stores)[0]) == 31


class Crash(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("moment", ["before silver", "after silver", "after ledger"])
def test_a_run_that_died_and_ran_again_ends_like_a_clean_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    content = (DATA / "flights_broken_row.csv").read_bytes() + LINES[1]
    clean, broken = (
        Stores(Settings(_env_file=None, home=tmp_path / name, lease_seconds=3))
        for name in ("clean", "broken")
    )
    for stores in (clean, broken):
        land(stores, content)
    ingest_dataset(SPEC, clean)

    def die(*_: object) -> None:
        raise Crash

    where = {
        "before silver": (broken.tables, "append", lambda layer, *rest: die() if layer == "silver" else None),
        "after silver": (Ledger, "record", die),
        "after ledger": (stage, "put_away", die),
    }[moment]
    with monkeypatch.context() as patched:
        if moment == "before silver":
            real = broken.tables.append
            patched.setattr(
                broken.tables,
                "append",
                lambda layer, *rest: die() if layer == "silver" else real(layer, *rest),
            )
        else:
            patched.setattr(*where)
        with pytest.raises(Crash):
            ingest_dataset(SPEC, broken)
    ingest_dataset(SPEC, Stores(broken.settings))
    ours, theirs = state(Stores(broken.settings)), state(clean)
    assert len(ours[0]) == 29
    assert ours[:2] == theirs[:2]
    assert [(r.parsed, r.silver, r.quarantined, r.superseded) for r in ours[2]] == [(31, 29, 1, 1)]
    assert [(r.first_known, r.last_known) for r in ours[2]] == [
        (r.first_known, r.last_known) for r in theirs[2]
    ]
    assert list(broken.settings.landing_path.iterdir()) == []


def test_a_file_that_vanished_is_tried_again_later(stores: Stores) -> None:
    path = land(stores, GOOD)
    [batch] = discover(SPEC, stores)
    path.unlink()
    with pytest.raises(TransientError):
        ingest(SPEC, batch, stores)
    assert [waiting.digest for waiting in stores.ledger.pending("flights")] == [batch.digest]


def test_a_file_that_changed_after_it_was_seen_is_not_taken_for_the_old_one(stores: Stores) -> None:
    land(stores, GOOD)
    [batch] = discover(SPEC, stores)
    land(stores, b"".join(LINES[:5]))
    with pytest.raises(TransientError, match="changed"):
        ingest(SPEC, batch, stores)
    assert state(stores)[0] == []


def test_what_is_no_file_of_ours_is_never_opened(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    good = land(stores, GOOD)
    folder = good.parent
    (folder / "flights_link.csv").symlink_to(good)
    os.mkfifo(folder / "flights_fifo.csv")
    (folder / "flights_folder.csv").mkdir()
    for name in (b"flights_new\nline.csv", b"-flights_dash.csv", b"flights_\xff.csv", b"flights_..%2fx.csv"):
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_bytes(GOOD)
    for name in (".flights_2.csv", "flights_2.csv.tmp", "flights_2.csv.part", "other.csv"):
        shutil.copy(good, folder / name)
    assert [batch.name for batch in discover(SPEC, stores)] == ["flights_1.csv"]
    assert len([record for record in caplog.records if "refused unopened" in record.getMessage()]) == 7


def test_what_is_never_opened_or_claimed_by_no_dataset_is_told_once(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = land(stores, GOOD)
    (good.parent / "flights_link.csv").symlink_to(good)
    land(stores, GOOD, "nobodys.csv")
    monkeypatch.setattr("pipelines.loop.steps.stores", lambda: stores)
    first, *rest = steps.ingest("flights")
    assert first["state"] == "archived"
    assert [(told["name"], told["state"]) for told in rest] == [
        ("flights_link.csv", "refused"), ("nobodys.csv", "refused"),
    ]  # fmt: skip
    assert steps.ingest("flights") == []
    assert steps.ingest("weather") == []
    assert (good.parent / "nobodys.csv").exists()


def test_a_file_from_the_future_waits(stores: Stores) -> None:
    path = land(stores, GOOD)
    os.utime(path, (4e9, 4e9))
    assert discover(SPEC, stores) == []


def test_a_header_alone_is_a_batch_without_rows(stores: Stores) -> None:
    land(stores, LINES[0])
    [result] = ingest_dataset(SPEC, stores)
    assert (result.state, result.parsed, result.last_known) == (BatchState.ARCHIVED, 0, None)


VALUES = st.sampled_from([b"", b"x", b"-1", b"EWR", b'"'])


@hypothesis(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(1, 29), st.integers(0, 10), VALUES), max_size=4),
    st.lists(st.integers(1, 30), max_size=4),
)
def test_parsed_is_silver_and_quarantine_and_superseded(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int, bytes]], copies: list[int]
) -> None:
    stores = Stores(Settings(_env_file=None, home=tmp_path_factory.mktemp("home")))
    lines = list(LINES)
    for at, column, value in changes:
        fields = lines[at].rstrip(b"\n").split(b",")
        fields[min(column, len(fields) - 1)] = value
        lines[at] = b",".join(fields) + b"\n"
    land(stores, b"".join(lines + [LINES[copy] for copy in copies]))
    [result] = ingest_dataset(SPEC, stores)
    if result.state is BatchState.REFUSED:
        assert result.reason
        return
    assert result.parsed == result.silver + result.quarantined + result.superseded
    silver, bad, _ = state(stores)
    assert (len(silver), len(bad)) == (result.silver, result.quarantined)
    assert not {row["_line"] for row in silver} & {row["line"] for row in bad}


@pytest.mark.parametrize("number", [253_402_300_800_000, 2**63 - 1, -(2**63)])
def test_a_parquet_time_for_ever_is_quarantined_and_the_next_file_is_taken(
    stores: Stores, number: int
) -> None:
    table = read(land(stores, GOOD), SPEC).table.select(list(SPEC.columns))
    times = table["scheduled_arrival"].cast(pa.timestamp("ms", "UTC")).cast(pa.int64()).to_pylist()
    odd = pa.array([*times[:4], number, *times[5:]]).view(pa.timestamp("ms", "UTC"))
    at = table.schema.get_field_index("scheduled_arrival")
    pq.write_table(table.set_column(at, "scheduled_arrival", odd), out := pa.BufferOutputStream())
    land(stores, out.getvalue().to_pybytes(), "flights_0.parquet")
    first, second = ingest_dataset(SPEC, stores)
    assert (first.name, first.silver, first.quarantined) == ("flights_0.parquet", 29, 1)
    assert (second.name, second.silver, second.superseded) == ("flights_1.csv", 1, 29)
    [row] = quarantine(SPEC, stores).to_pylist()
    assert (row["line"], row["rule"]) == (5, "timestamp")
    assert (
        str(number) in row["raw"].decode()
        or "10000-01-01" in row["raw"].decode()
        or "292278994" in row["raw"].decode()
    )
