"""Rules of files that others wrote beside a Delta table: one commit makes them its rows, or nothing happened."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.contracts import TransientError
from pipelines.stores.spark import staged
from pipelines.stores.spark.staged import Staging, Window
from pipelines.stores.tables import rows_of

TIMES = ("event_timestamp", "created_timestamp")
ZONED = pa.timestamp("us", "UTC")
SCHEMA = pa.schema([(TIMES[0], ZONED), (TIMES[1], ZONED), ("k", pa.string()), ("x", pa.float64())])
START = datetime(2013, 1, 1, tzinfo=UTC)
GENTLY = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def at(tick: int | None) -> datetime | None:
    """Ticks of a third of a millisecond, which Delta's log cannot tell apart."""
    return None if tick is None else START + timedelta(microseconds=333 * tick)


def rows(*found: tuple[int, int | None, str, float]) -> pa.Table:
    columns = list(zip(*found, strict=True)) or [(), (), (), ()]
    times = [pa.array([at(tick) for tick in column], ZONED) for column in columns[:2]]
    return pa.table(
        [*times, pa.array(columns[2], pa.string()), pa.array(columns[3], pa.float64())], schema=SCHEMA
    )


def window(after: int, until: int) -> Window:
    return Window(
        TIMES, START + timedelta(microseconds=333 * after), START + timedelta(microseconds=333 * until)
    )


def put(folder: str, found: pa.Table, parts: int = 1) -> None:
    """What an executor does: files of its own in a folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for n in range(parts):
        share = found.slice(n * len(found) // parts, (n + 1) * len(found) // parts - n * len(found) // parts)
        pq.write_table(share, f"{folder}/part-{n}.parquet")


def keeping(put_away: Window, calls: list[int] | None = None) -> Any:
    def keep(files: list[str], into: str) -> None:
        if calls is not None:
            calls.append(len(files))
        outside = ~pc.coalesce(put_away.rows(), pa.scalar(False))
        put(into, pads.dataset(files, schema=SCHEMA).to_table(filter=outside))

    return keep


def replaced(where: str, share: Window, found: pa.Table, parts: int = 1) -> list[int]:
    staging, calls = Staging(DeltaTable(where)), list[int]()
    put(f"{staging.uri}/0", found, parts)
    staged.replace(staging, share, keeping(share, calls))
    return calls


def told(where: str) -> list[str]:
    found = rows_of(DeltaTable(where)).to_table()
    assert found.schema == SCHEMA
    return listed(found)


def listed(found: pa.Table) -> list[str]:
    return sorted(map(repr, zip(*(found[n].to_pylist() for n in SCHEMA.names), strict=True)))


ticks = st.integers(0, 12)
row = st.tuples(
    ticks, st.one_of(ticks, st.none()), st.sampled_from("abc"), st.sampled_from([1.0, float("nan")])
)


@GENTLY
@given(
    before=st.lists(st.lists(row, max_size=6), min_size=1, max_size=3),
    after=ticks, length=st.integers(1, 6), made=st.lists(row, max_size=6), parts=st.integers(1, 3),
)  # fmt: skip
def test_a_replacement_leaves_what_was_outside_the_window_and_what_was_made(
    tmp_path_factory: pytest.TempPathFactory, before: Any, after: int, length: int, made: Any, parts: int
) -> None:
    """The oracle goes through the rows one by one."""
    where = str(tmp_path_factory.mktemp("t") / "table")
    DeltaTable.create(where, SCHEMA)
    for each in before:
        if each:
            write_deltalake(where, rows(*each), mode="append")
    share = window(after, after + length)
    replaced(where, share, rows(*made), parts)
    stays = [
        (e, c, k, x)
        for each in before
        for e, c, k, x in each
        if c is None or not (max(e, c) > after and max(e, c) <= after + length)
    ]
    assert told(where) == listed(rows(*stays, *made))


def test_done_again_it_changes_nothing_and_untouched_files_are_not_read_anew(tmp_path: Path) -> None:
    where = str(tmp_path / "table")
    write_deltalake(where, rows((1, 1, "a", 1.0), (2, 2, "b", 2.0)))
    made = rows((3, 3, "a", 3.0), (4, 4, "b", 4.0))
    assert replaced(where, window(2, 4), made) == []
    once = told(where)
    files = set(DeltaTable(where).file_uris())
    assert replaced(where, window(2, 4), made) == []
    assert told(where) == once
    assert len(once) == 4
    assert len(files & set(DeltaTable(where).file_uris())) == 1, "the file outside the window stayed"
    assert replaced(where, window(1, 3), rows()) == [2], "both files hold rows of it and others"
    assert len(told(where)) == 2


def test_another_commit_in_between_is_seen_and_nothing_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = str(tmp_path / "table")
    write_deltalake(where, rows((1, 1, "a", 1.0), (5, 5, "a", 5.0)))
    between = [rows((3, 3, "late", 3.0))]
    commit = Staging.commit

    def then(self: Staging, removed: Any) -> bool:
        if between:
            write_deltalake(where, between.pop(), mode="append")
        return commit(self, removed)

    monkeypatch.setattr(Staging, "commit", then)
    replaced(where, window(2, 5), rows((4, 4, "new", 4.0)))
    assert not between
    assert told(where) == listed(rows((1, 1, "a", 1.0), (4, 4, "new", 4.0)))


def test_who_always_comes_second_gives_up_and_leaves_the_table_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = str(tmp_path / "table")
    write_deltalake(where, rows((1, 1, "a", 1.0)))
    monkeypatch.setattr(Staging, "commit", lambda self, removed: False)
    with pytest.raises(TransientError, match="others kept committing"):
        replaced(where, window(0, 5), rows((2, 2, "b", 2.0)))
    assert len(told(where)) == 1


def test_what_was_never_committed_is_not_there_and_can_be_taken_away(tmp_path: Path) -> None:
    where = tmp_path / "100% é" / "table"
    where.parent.mkdir()
    write_deltalake(str(where), rows((1, 1, "a", 1.0)))
    staging = Staging(DeltaTable(str(where)))
    put(f"{staging.uri}/0", rows((2, 2, "b", 2.0)))
    put(f"{staging.uri}/_temporary/0", rows((3, 3, "half", 2.0)))
    (Path(staging.uri) / "0" / ".part-0.parquet.crc").write_bytes(b"crc")
    assert staging.rows().count_rows() == 1
    assert len(told(str(where))) == 1
    staging.forget()
    assert not Path(staging.uri).exists()
    assert replaced(str(where), window(1, 2), rows((2, 2, "b", 2.0))) == []
    assert len(told(str(where))) == 2


def test_the_log_says_of_each_file_what_lets_readers_skip_it_and_nothing_of_floats(tmp_path: Path) -> None:
    where = str(tmp_path / "table")
    DeltaTable.create(where, SCHEMA)
    replaced(where, window(0, 9), rows((1, 2, "a", float("nan")), (5, 8, "b", 1.0)))
    (found,) = pa.table(DeltaTable(where).get_add_actions(flatten=True)).to_pylist()
    assert (found["num_records"], found["null_count.x"], found["min.k"], found["max.k"]) == (2, 0, "a", "b")
    assert found.get("max.x") is None
    assert (found["min.event_timestamp"], found["max.created_timestamp"]) == (at(1), at(8))
    read = rows_of(DeltaTable(where))
    assert read.count_rows(filter=pc.field(TIMES[1]) >= pa.scalar(at(8), ZONED)) == 1
    assert DeltaTable(where).to_pyarrow_dataset().count_rows(filter=pc.field("k") == "z") == 0
