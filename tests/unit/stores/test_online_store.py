"""Rules of the online store in SQLite, held against an oracle of a few lines."""

import asyncio
import os
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, FileSource
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Array, Bool, Bytes, Float32, Float64, Int64, String, UnixTimestamp
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts import EvergreenError
from pipelines.stores.online import wire as wire
from pipelines.stores.online.store import Materialized, SqliteOnlineStore
from pipelines.stores.online.tables import place, wanted
from pipelines.stores.online.values import KINDS

START = datetime(2024, 1, 1, tzinfo=UTC)
MICROSECONDS = pa.timestamp("us", "UTC")
minutes = st.integers(0, 4)
row = st.tuples(st.integers(0, 3), minutes, st.none() | minutes, st.integers())


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def view(name: str = "v", keys: Any = (("k", Int64),), features: Any = (("f", Int64),)) -> FeatureView:
    entities = [Entity(name=key, join_keys=[key], value_type=kind.to_value_type()) for key, kind in keys]
    source = FileSource(name=name, path=name, timestamp_field="at", created_timestamp_column="made")
    schema = [Field(name=n, dtype=kind) for n, kind in (*keys, *features)]
    return FeatureView(name=name, entities=entities, schema=schema, source=source)


def config(folder: Path, versions: bool = False, project: str = "p") -> Any:
    return SimpleNamespace(
        project=project,
        repo_path=folder,
        online_store=SimpleNamespace(path="data/online.db", timeout=60),
        registry=SimpleNamespace(enable_online_feature_view_versioning=versions),
        entity_key_serialization_version=3,
    )


def key(value: Any, name: str = "k") -> EntityKey:
    found = Value(string_val=value) if isinstance(value, str) else Value(int64_val=value)
    return EntityKey(join_keys=[name], entity_values=[found])


def written(value: Any, event: int, made: int | None, **features: Any) -> Any:
    values = {name: Value(int64_val=number) for name, number in features.items()}
    return key(value), values, at(event), None if made is None else at(made)


def arrow(rows: list[Any]) -> pa.Table:
    return pa.table(
        {
            "k": pa.array([r[0] for r in rows], pa.int64()),
            "at": pa.array([at(r[1]) for r in rows], MICROSECONDS),
            "made": pa.array([None if r[2] is None else at(r[2]) for r in rows], MICROSECONDS),
            "f": pa.array([r[3] for r in rows], pa.int64()),
        }
    )


def online(store: SqliteOnlineStore, where: Any, keys: list[Any], of: FeatureView | None = None) -> list[Any]:
    found = store.online_read(where, of or view(), [key(k) for k in keys])
    return [values and values["f"].int64_val for _, values in found]


@settings(max_examples=60)
@given(batches=st.lists(st.tuples(st.lists(row, max_size=8), st.booleans()), min_size=1, max_size=6))
def test_the_newest_value_wins_by_event_then_created_time_and_a_tie_goes_to_the_last_written(
    batches: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path_factory.mktemp("online"))
    newest: dict[int, Any] = {}
    for rows, in_bulk in batches:
        rows = [(k, event, made, value % 2**40) for k, event, made, value in rows]
        if in_bulk:
            store.write_arrow(where, view(), arrow(rows))
        else:
            store.online_write_batch(where, view(), [written(k, e, m, f=v) for k, e, m, v in rows], None)
        for k, event, made, value in rows:
            time = (event, -1 if made is None else made)
            if k not in newest or newest[k][0] <= time:
                newest[k] = (time, value)
    assert online(store, where, [0, 1, 2, 3]) == [newest[k][1] if k in newest else None for k in range(4)]


def test_where_nothing_was_written_nothing_is_found_and_nothing_is_made(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    assert store.online_read(where, view(), [key(1), key(2)]) == [(None, None)] * 2
    assert store.materialized(where, view()) is None
    store.update(where, [view()], [], [], [], partial=False)
    store.teardown(where, [view()], [])
    assert list(tmp_path.iterdir()) == []
    store.update(where, [], [view("other")], [], [], partial=False)
    assert store.online_read(where, view(), [key(1)]) == [(None, None)]
    assert store.materialized(where, view()) is None


def test_text_and_numbers_are_different_keys(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    texts = view(keys=[("k", String)])
    store.online_write_batch(where, texts, [written("1", 0, None, f=1), written("01", 0, None, f=2)], None)
    assert online(store, where, ["1", "01", "1.0", 1, "1 "], texts) == [1, 2, None, None, None]


@settings(max_examples=30)
@given(
    pairs=st.lists(st.tuples(st.text(max_size=3), st.integers(-(2**63), 2**63 - 1)), min_size=1, unique=True),
    asked=st.data(),
)
def test_keys_of_several_columns_are_found_in_the_order_asked(
    pairs: Any, asked: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path_factory.mktemp("online"))
    both = view(keys=[("b", String), ("a", Int64)])

    def pair(text: str, number: int) -> EntityKey:
        values = [Value(string_val=text), Value(int64_val=number)]
        return EntityKey(join_keys=["b", "a"], entity_values=values)

    rows = [(pair(*p), {"f": Value(int64_val=i)}, at(0), None) for i, p in enumerate(pairs)]
    store.online_write_batch(where, both, rows, None)
    wanted = asked.draw(st.lists(st.sampled_from([*pairs, ("nobody", 0)]), max_size=8))
    found = store.online_read(where, both, [pair(*p) for p in wanted])
    numbers = [values and values["f"].int64_val for _, values in found]
    assert numbers == [pairs.index(p) if p in pairs else None for p in wanted]


@pytest.mark.parametrize("keys", [[("k", Int64)], [("k", Int64), ("b", String)]])
def test_keys_are_searched_for_and_no_table_is_scanned(keys: Any, tmp_path: Path) -> None:
    where = config(tmp_path)
    asked = view(keys=keys)
    layout = wanted(place(where, asked), asked)
    connection = sqlite3.connect(":memory:")
    connection.execute(layout.create)
    plan = connection.execute(
        f"explain query plan {layout.reading(None).query(8)}", (1,) * 8 * len(keys)
    ).fetchall()
    steps = [step for *_, step in plan if "p_v" in step]
    assert steps
    assert all(step.startswith("SEARCH") for step in steps)


def test_many_keys_at_once_come_back_in_order_with_none_for_the_missing(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    store.write_arrow(where, view(), arrow([(k, 0, 0, k * 3) for k in range(0, 3000, 2)]))
    keys = [(k * 7919) % 3001 for k in range(3001)]
    assert online(store, where, keys) == [k * 3 if k % 2 == 0 and k < 3000 else None for k in keys]


def test_names_that_sqlite_would_confuse_stay_apart(tmp_path: Path) -> None:
    names = ["f", "F", "f_2", "event_timestamp", "Created_Timestamp", 'quo"te', "order by", "K"]
    odd = view("odd name", features=[(name, Int64) for name in names])
    store, where = SqliteOnlineStore(), config(tmp_path)
    store.update(where, [], [odd], [], [], partial=True)
    store.online_write_batch(where, odd, [written(1, 0, None, **{n: i for i, n in enumerate(names)})], None)
    [(_, values)] = store.online_read(where, odd, [key(1)])
    assert {name: value.int64_val for name, value in (values or {}).items()} == {
        n: i for i, n in enumerate(names)
    }


def test_anybody_with_a_sqlite_shell_can_read_it(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    kinds = {"i": Int64, "d": Float64, "s": String, "b": Bool}
    wide = view(features=list(kinds.items()))
    values = {
        "i": Value(int64_val=7),
        "d": Value(double_val=0.5),
        "s": Value(string_val="x"),
        "b": Value(bool_val=True),
    }
    store.online_write_batch(where, wide, [(key(1), values, at(0), None)], None)
    found = sqlite3.connect(tmp_path / "data/online.db").execute(
        "select k, i, d, s, b, event_timestamp from p_v"
    )
    assert found.fetchall() == [(1, 7, 0.5, "x", 1, int(START.timestamp() * 1e6))]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Float64, Value(double_val=float("nan"))),
        (Float64, Value(double_val=float("-inf"))),
        (Float32, Value(double_val=0.1)),
        (Int64, Value(string_val="12")),
        (String, Value(int64_val=12)),
        (String, Value(string_val="a\0b")),
        (UnixTimestamp, Value(unix_timestamp_val=-(2**63))),
        (Bytes, Value(bytes_val=b"\xff\0")),
        (Array(Float64), Value(double_list_val={"val": [1.0, float("nan")]})),
        (Int64, Value()),
    ],
)
def test_a_value_comes_back_as_it_was_written_even_if_it_is_not_of_the_declared_type(
    kind: Any, value: Value, tmp_path: Path
) -> None:
    store, where, odd = SqliteOnlineStore(), config(tmp_path), view(features=[("f", kind)])
    store.online_write_batch(where, odd, [(key(1), {"f": value}, at(0), None)], None)
    [(event, values)] = store.online_read(where, odd, [key(1)])
    assert event == at(0)
    assert str((values or {})["f"]) == str(value)


def test_apply_adds_columns_and_keeps_values(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    store.write_arrow(where, view(), arrow([(1, 0, 0, 5)]), reached=Materialized(at(9), 3, at(10)))
    wider = view(features=[("f", Int64), ("g", Int64)])
    store.update(where, [], [wider], [], [], partial=True)
    [(_, values)] = store.online_read(where, wider, [key(1)])
    assert {name: v.WhichOneof("val") for name, v in (values or {}).items()} == {"f": "int64_val", "g": None}
    store.online_write_batch(where, wider, [written(1, 0, 0, f=5, g=6)], None)
    narrow = view(features=[("g", Int64)])
    store.update(where, [], [narrow], [], [], partial=True)
    store.update(where, [], [wider], [], [], partial=True)
    [(_, values)] = store.online_read(where, wider, [key(1)])
    assert (values or {})["g"].int64_val == 6
    assert (values or {})["f"].WhichOneof("val") is None, (
        "a feature that was gone does not bring old values back"
    )


@pytest.mark.parametrize(
    "other", [view(features=[("f", String)]), view(keys=[("j", Int64)]), view(keys=[("k", String)])]
)
def test_apply_empties_a_table_whose_types_or_keys_change_and_a_writer_alone_does_not(
    other: FeatureView, tmp_path: Path
) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    store.write_arrow(where, view(), arrow([(1, 0, 0, 5)]), reached=Materialized(at(9), 3, at(10)))
    with pytest.raises(EvergreenError, match="feast apply"):
        store.note(where, other, Materialized(at(10), 3, at(10)))
    assert online(store, where, [1]) == [5]
    store.update(where, [], [other], [], [], partial=True)
    assert online(store, where, [1]) == [None]
    assert store.materialized(where, other) is None


def test_versions_lie_apart_and_go_with_their_view(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path, versions=True)
    first, second = view(), view()
    first.current_version_number, second.current_version_number = 1, 2
    store.online_write_batch(where, first, [written(1, 0, None, f=1)], None)
    store.online_write_batch(where, second, [written(1, 0, None, f=2)], None)
    assert online(store, where, [1], first) == [1]
    assert online(store, where, [1], second) == [2]
    store.update(where, [second], [], [], [], partial=False)
    assert online(store, where, [1], first) == online(store, where, [1], second) == [None]


def test_two_views_whose_tables_would_be_one_are_refused(tmp_path: Path) -> None:
    store = SqliteOnlineStore()
    store.online_write_batch(config(tmp_path, project="a_b"), view("c"), [written(1, 0, None, f=1)], None)
    with pytest.raises(EvergreenError, match="a_b_c"):
        store.online_write_batch(config(tmp_path, project="a"), view("b_c"), [written(1, 1, None, f=2)], None)
    assert online(store, config(tmp_path, project="a_b"), [1], view("c")) == [1]


def test_teardown_leaves_what_belongs_to_others(tmp_path: Path) -> None:
    store, mine, theirs = SqliteOnlineStore(), config(tmp_path), config(tmp_path, project="q")
    for where in (mine, theirs):
        store.online_write_batch(where, view(), [written(1, 0, None, f=1)], None)
    store.teardown(mine, [view()], [])
    assert online(store, mine, [1]) == [None]
    assert online(store, theirs, [1]) == [1]
    store.teardown(theirs, [view()], [])
    assert list((tmp_path / "data").iterdir()) == []


def test_how_far_a_view_has_come_never_moves_backwards(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    store.write_arrow(where, view(), arrow([]), reached=Materialized(at(5), 7, at(100)))
    assert store.materialized(where, view()) == Materialized(at(5), 7, at(100))
    store.write_arrow(where, view(), arrow([]), reached=Materialized(at(4), 8, at(101)))
    assert store.materialized(where, view()) == Materialized(at(5), 7, at(101))
    store.write_arrow(where, view(), arrow([]), reached=Materialized(at(5), 9, at(50)))
    found = store.materialized(where, view())
    assert found is not None
    assert (found.as_of, found.source_version) == (at(5), 9)
    assert found.at > at(101), "whoever looks twice sees that something changed"


def test_a_write_that_fails_midway_changes_nothing(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    store.write_arrow(where, view(), arrow([(1, 0, 0, 5)]), reached=Materialized(at(1), 1, at(1)))

    def batches() -> Any:
        yield from arrow([(1, 1, 1, 6), (2, 1, 1, 6)]).to_batches()
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="went away"):
        store.write_arrow(where, view(), batches(), reached=Materialized(at(2), 2, at(2)))
    assert online(store, where, [1, 2]) == [5, None]
    assert store.materialized(where, view()) == Materialized(at(1), 1, at(1))


def test_rows_without_a_key_or_event_time_are_left_out_and_said(tmp_path: Path, caplog: Any) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    rows = arrow([(1, 0, 0, 5), (2, 0, 0, 6), (3, 0, 0, 7)])
    rows = rows.set_column(0, "k", pa.array([1, None, 3]))
    rows = rows.set_column(1, "at", pa.array([at(0), at(0), None], MICROSECONDS))
    store.write_arrow(where, view(), rows)
    assert online(store, where, [1, 2, 3]) == [5, None, None]
    assert "2 rows" in caplog.text


@pytest.mark.parametrize(
    "kind", [MICROSECONDS, pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("ms"), pa.timestamp("s", "UTC")]
)
def test_times_are_moments_in_whatever_unit_and_zone_the_source_has_them(kind: Any, tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    rows = arrow([(1, 2, 0, 5)])
    store.write_arrow(where, view(), rows.set_column(1, "at", rows["at"].cast(kind)))
    store.online_write_batch(where, view(), [written(1, 1, 0, f=6)], None)
    assert store.online_read(where, view(), [key(1)])[0][0] == at(2)
    naive = (key(1), {"f": Value(int64_val=7)}, at(2).replace(tzinfo=None), at(1).replace(tzinfo=None))
    store.online_write_batch(where, view(), [naive], None)
    assert online(store, where, [1]) == [7]


def test_a_column_that_the_source_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvergreenError, match="no column f"):
        SqliteOnlineStore().write_arrow(config(tmp_path), view(), arrow([(1, 0, 0, 5)]).drop_columns("f"))


def test_a_row_without_its_key_is_refused(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    store.update(where, [], [view()], [], [], partial=True)
    for broken in (key(1, "other"), EntityKey(join_keys=["k"], entity_values=[Value()])):
        with pytest.raises(EvergreenError, match="key"):
            store.online_write_batch(where, view(), [(broken, {"f": Value(int64_val=1)}, at(0), None)], None)


def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    store.online_write_batch(where, view(), [written(1, 0, None, f=1)], None)
    assert online(store, where, [1]) == [1]
    for file in (tmp_path / "data").iterdir():
        file.unlink()
    assert online(store, where, [1]) == [None]
    SqliteOnlineStore().online_write_batch(where, view(), [written(1, 0, None, f=2)], None)
    assert online(store, where, [1]) == [2]


def test_threads_and_forks_have_connections_of_their_own(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    store.online_write_batch(where, view(), [written(1, 0, None, f=1)], None)
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.extend(online(store, where, [1])))
    thread.start()
    thread.join()
    child = os.fork()
    if not child:
        store.online_write_batch(where, view(), [written(1, 1, None, f=2)], None)
        os._exit(0 if online(store, where, [1]) == [2] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [*seen, *online(store, where, [1])] == [1, 2]


def test_many_writers_that_start_at_once_all_succeed(tmp_path: Path) -> None:
    store, where, gate = SqliteOnlineStore(), config(tmp_path), threading.Barrier(8)
    wrong: list[BaseException] = []

    def write(number: int) -> None:
        try:
            gate.wait()
            store.online_write_batch(where, view(), [written(number, 0, None, f=number)], None)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert online(store, where, list(range(8))) == list(range(8))


def test_readers_never_wait_and_see_a_whole_write_or_nothing_of_it(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    store.write_arrow(where, view(), arrow([(k, 0, 0, 0) for k in range(600)]))

    def batches() -> Any:
        yield from arrow([(k, 1, 1, 1) for k in range(300)]).to_batches()
        assert set(read()) == {0}, "half of it is written"
        yield from arrow([(k, 1, 1, 1) for k in range(300, 600)]).to_batches()
        assert set(read()) == {0}, "nothing is committed"

    def read() -> list[Any]:
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.extend(online(store, where, list(range(600)))))
        thread.start()
        thread.join(20)
        assert len(seen) == 600, "the reader waits"
        return seen

    store.write_arrow(where, view(), batches())
    assert set(read()) == {1}


def test_a_snapshot_holds_values_and_how_far_they_came_together(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    store.write_arrow(where, view(), arrow([(1, 0, 0, 5)]), reached=Materialized(at(1), 1, at(1)))
    with store.snapshot(where):
        before = store.materialized(where, view())
        rows = arrow([(1, 1, 1, 6)])
        writer = threading.Thread(
            target=lambda: store.write_arrow(where, view(), rows, reached=Materialized(at(2), 2, at(2)))
        )
        writer.start()
        writer.join()
        assert online(store, where, [1]) == [5]
        assert store.materialized(where, view()) == before
    assert online(store, where, [1]) == [6]
    assert store.materialized(where, view()) == Materialized(at(2), 2, at(2))


def test_a_file_of_feasts_own_store_is_named_and_not_touched(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    (tmp_path / "data").mkdir()
    with sqlite3.connect(tmp_path / "data/online.db") as other:
        other.execute("create table p_v (entity_key blob, feature_name text, value blob)")
    with pytest.raises(EvergreenError, match="another layout"):
        store.update(where, [], [view()], [], [], partial=True)
    assert online(store, where, [1]) == [None]


def test_the_async_calls_do_as_the_others(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)

    async def both() -> Any:
        await store.online_write_batch_async(where, view(), [written(1, 0, None, f=1)], None)
        return await store.online_read_async(where, view(), [key(1)])

    [(_, values)] = asyncio.run(both())
    assert values["f"].int64_val == 1


def test_vectors_that_feast_computes_ahead_are_kept_without_an_apply(tmp_path: Path) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path)
    store.write_precomputed_vector(where, "service", "p", key(1), b"vector")
    assert store.read_precomputed_vectors(where, "service", "p", [key(1), key(2)]) == [b"vector", None]


whole = st.integers(-(2**63), 2**63 - 1)
COLUMNS = {
    "INT32": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "INT64": (pa.int64(), whole),
    "DOUBLE": (pa.float64(), st.floats()),
    "FLOAT": (pa.float32(), st.floats(width=32)),
    "BOOL": (pa.bool_(), st.booleans()),
    "STRING": (pa.string(), st.text()),
    "BYTES": (pa.binary(), st.binary()),
}


@settings(max_examples=60)
@given(kind=st.sampled_from(sorted(COLUMNS)), data=st.data())
def test_bytes_made_in_bulk_are_those_of_feast(kind: str, data: Any) -> None:
    arrow_type, values = COLUMNS[kind]
    column = pa.array(data.draw(st.lists(st.none() | values)), arrow_type)
    field = KINDS[kind].field
    protos = [Value() if v is None or v != v else Value(**{field: v}) for v in column.to_pylist()]
    assert wire.value_bytes(column, kind) == [value.SerializeToString() for value in protos]


@settings(max_examples=60)
@given(texts=st.lists(st.text(), min_size=1), number=whole, small=st.integers(-(2**31), 2**31 - 1))
def test_keys_made_in_bulk_are_those_of_feast(texts: list[str], number: int, small: int) -> None:
    n = len(texts)
    columns = [
        ("a", "INT32", pa.array([small] * n, pa.int32())),
        ("é", "INT64", pa.array([number] * n, pa.int64())),
        ("z", "STRING", pa.array(texts, pa.string())),
    ]
    columns.sort(key=lambda column: column[0])
    values = {"a": Value(int32_val=small), "é": Value(int64_val=number)}
    keys = [{**values, "z": Value(string_val=text)} for text in texts]
    feasts = [EntityKey(join_keys=list(k), entity_values=list(k.values())) for k in keys]
    assert wire.entity_keys(columns) == [serialize_entity_key(k, 3) for k in feasts]


@given(microseconds=st.integers(-62135596800 * 10**6, 253402300799 * 10**6))
def test_times_made_in_bulk_are_those_of_feast(microseconds: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    expected = Timestamp()
    expected.FromDatetime(moment)
    assert wire.timestamp_bytes(microseconds) == expected.SerializeToString()
