"""Rules of the online store in Redis, on a real server of the test's own."""

import asyncio
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from feast.types import Array, Bool, Float32, Float64, Int64, String, UnixTimestamp
from feast.value_type import ValueType
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.prove.servers import redis_missing, redis_server

if reason := redis_missing():
    pytest.skip(reason, allow_module_level=True)

from feast.infra.online_stores.redis import RedisOnlineStore as FeastStore

from pipelines.stores.online.plain import lookup
from pipelines.stores.online.redis_store import RedisOnlineStore
from pipelines.stores.online.store import Materialized

START = datetime(2024, 1, 1, tzinfo=UTC)
MICROSECONDS = pa.timestamp("us", "UTC")
KEY = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)
minutes = st.integers(0, 4)
row = st.tuples(st.integers(0, 3), minutes, st.none() | minutes)


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a Redis that keeps nothing and ends with the tests."""
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture
def empty(server: str) -> str:
    """The server with nothing in it."""
    client(server).flushall()
    return server


def client(server: str) -> Any:
    import redis

    host, port = server.split(":")
    return redis.Redis(host, int(port))


def view(features: Any = (("f", Int64),), name: str = "v") -> FeatureView:
    source = FileSource(name=name, path=name, timestamp_field="at", created_timestamp_column="made")
    schema = [Field(name="k", dtype=Int64), *(Field(name=n, dtype=kind) for n, kind in features)]
    return FeatureView(name=name, entities=[KEY], ttl=timedelta(0), schema=schema, source=source)


def opened(home: Path, server: str, *views: FeatureView) -> FeatureStore:
    """A feature store on this server with these views applied."""
    config = RepoConfig(
        project="p", provider="local", repo_path=home, entity_key_serialization_version=3,
        registry={"path": str(home / "registry.db"), "serve_features_while_materializing": True},
        offline_store={"type": "pipelines.stores.offline.DeltaOfflineStore", "lake": str(home / "lake")},
        online_store={"type": "pipelines.stores.online.redis_store.RedisOnlineStore", "connection_string": server},
        batch_engine={"type": "pipelines.stores.online.materialization.BulkComputeEngine"},
    )  # fmt: skip
    store = FeatureStore(config=config)
    store.apply([KEY, *views])
    return store


def key(value: int) -> EntityKey:
    return EntityKey(join_keys=["k"], entity_values=[Value(int64_val=value)])


def written(k: int, event: float, made: float | None, value: int) -> Any:
    return key(k), {"f": Value(int64_val=value)}, at(event), None if made is None else at(made)


def arrow(rows: list[Any]) -> pa.Table:
    return pa.table(
        {
            "k": pa.array([r[0] for r in rows], pa.int64()),
            "at": pa.array([at(r[1]) for r in rows], MICROSECONDS),
            "made": pa.array([None if r[2] is None else at(r[2]) for r in rows], MICROSECONDS),
            "f": pa.array([r[3] for r in rows], pa.int64()),
        }
    )


def online(store: Any, config: RepoConfig, keys: list[int]) -> list[Any]:
    """Values as any reader of Feast's layout has them."""
    found = store.online_read(config, view(), [key(k) for k in keys])
    return [
        values["f"].int64_val if values and values["f"].WhichOneof("val") else None for _, values in found
    ]


@settings(max_examples=40)
@given(batches=st.lists(st.tuples(st.lists(row, max_size=8), st.booleans()), min_size=1, max_size=6))
def test_the_newest_value_wins_by_event_then_created_time_and_a_tie_goes_to_the_last_written(
    batches: Any, server: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    client(server).flushall()
    config = opened(tmp_path_factory.mktemp("home"), server).config
    store, newest, value = RedisOnlineStore(), dict[int, Any](), 0
    for found, in_bulk in batches:
        rows = [(*r, value + i) for i, r in enumerate(found)]
        value += len(rows)
        if in_bulk:
            store.write_arrow(config, view(), arrow(rows))
        else:
            store.online_write_batch(config, view(), [written(*r) for r in rows], None)
        for k, event, made, number in rows:
            time = (event, -1 if made is None else made)
            if k not in newest or newest[k][0] <= time:
                newest[k] = (time, number)
    expected = [newest[k][1] if k in newest else None for k in range(4)]
    assert online(store, config, [0, 1, 2, 3]) == expected
    assert online(FeastStore(), config, [0, 1, 2, 3]) == expected


@settings(max_examples=40)
@given(theirs=st.integers(-(10**16), 10**16), apart=st.integers(-2, 2) | st.integers(-(10**16), 10**16))
def test_values_that_feasts_own_store_wrote_are_ordered_by_their_event_time(
    theirs: int, apart: int, server: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Microseconds since 1970, from before 1970 too."""
    client(server).flushall()
    config = opened(tmp_path_factory.mktemp("home"), server).config
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    moments = [epoch + timedelta(microseconds=n) for n in (theirs, theirs + apart)]
    FeastStore().online_write_batch(
        config, view(), [(key(1), {"f": Value(int64_val=1)}, moments[0], None)], None
    )
    store = RedisOnlineStore()
    store.online_write_batch(
        config, view(), [(key(1), {"f": Value(int64_val=2)}, moments[1], moments[1])], None
    )
    assert online(store, config, [1]) == [2 if apart >= 0 else 1]


def test_a_feast_writer_between_two_of_ours_is_taken_into_account(empty: str, tmp_path: Path) -> None:
    config, store = opened(tmp_path, empty).config, RedisOnlineStore()
    store.online_write_batch(config, view(), [written(1, 1, 9, 1)], None)
    FeastStore().online_write_batch(config, view(), [written(1, 3, None, 3)], None)
    store.online_write_batch(config, view(), [written(1, 2, 9, 2)], None)
    assert online(store, config, [1]) == [3]
    store.online_write_batch(config, view(), [written(1, 3, 1, 4)], None)
    assert online(store, config, [1]) == [4]


def test_writers_at_once_leave_the_newest_value(empty: str, tmp_path: Path) -> None:
    config, rng = opened(tmp_path, empty).config, Random(0)  # noqa: S311 - a choice of cases
    rows = [(k, minute, minute, minute) for k in range(50) for minute in range(40)]
    rng.shuffle(rows)
    parts = [[written(*r) for r in rows[i::4]] for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: RedisOnlineStore().online_write_batch(config, view(), part, None), parts))
    assert online(RedisOnlineStore(), config, list(range(50))) == [39] * 50


def test_a_key_that_is_not_there_has_no_values(empty: str, tmp_path: Path) -> None:
    config, store = opened(tmp_path, empty).config, RedisOnlineStore()
    store.online_write_batch(config, view(), [written(1, 0, None, 5)], None)
    found = store.online_read(config, view(), [key(2), key(1)])
    assert found[0] == (None, None)
    assert found[1][0] == at(0)


def test_windows_through_feast_leave_the_newest_values_and_say_how_far_they_came(
    empty: str, tmp_path: Path
) -> None:
    store = opened(tmp_path, empty, view())
    write_deltalake(str(tmp_path / "lake/v"), arrow([(1, 5, 5, 5), (2, 1, 1, 1)]))
    write_deltalake(str(tmp_path / "lake/v"), arrow([(1, 1, 9, 6), (1, 5, 6, 7)]), mode="append")
    kept = store._get_provider().online_store
    assert kept.materialized(store.config, view()) is None
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        store.materialize(at(3), at(6))
        store.materialize(at(0), at(2))
    answer = store.get_online_features(features=["v:f"], entity_rows=[{"k": 1}, {"k": 2}, {"k": 3}]).to_dict()
    assert answer["f"] == [7, 1, None]
    state = kept.materialized(store.config, view())
    assert (state.as_of, state.source_version) == (at(6), 1)
    wish = lookup(store.config, view(), ["f"])
    assert wish is not None
    (read,) = kept.plain(store.config, [(wish, [(1,), (2,), (3,)])])
    assert (read.reached, [values for _, values in read.rows]) == (state, [[7], [1], [None]])


def test_how_far_a_view_has_come_never_moves_backwards(empty: str, tmp_path: Path) -> None:
    config, store = opened(tmp_path, empty).config, RedisOnlineStore()
    store.note(config, view(), Materialized(at(5), 7, at(100)))
    store.note(config, view(), Materialized(at(4), None, at(101)))
    assert store.materialized(config, view()) == Materialized(at(5), 7, at(101))
    store.note(config, view(), Materialized(at(6), None, at(102)))
    assert store.materialized(config, view()) == Materialized(at(6), None, at(102))


def test_every_kind_of_value_is_read_by_feasts_own_store(empty: str, tmp_path: Path) -> None:
    kinds = {
        "i": (Int64, pa.int64(), [2**53 + 1, None]), "d": (Float64, pa.float64(), [0.1, None]),
        "r": (Float32, pa.float64(), [0.5, None]), "s": (String, pa.string(), ["ä", None]),
        "b": (Bool, pa.bool_(), [False, None]), "t": (UnixTimestamp, MICROSECONDS, [at(1), None]),
        "l": (Array(Float64), pa.list_(pa.float64()), [[1.5], None]),
    }  # fmt: skip
    wide = view([(name, kind) for name, (kind, _, _) in kinds.items()])
    config = opened(tmp_path, empty).config
    table = arrow([(1, 0, 0, 0), (2, 0, 0, 0)]).drop_columns("f")
    for name, (_, kind, values) in kinds.items():
        table = table.append_column(name, pa.array(values, kind))
    RedisOnlineStore().write_arrow(config, wide, table)
    [(_, full), (_, nulls)] = FeastStore().online_read(config, wide, [key(1), key(2)])
    plain = {
        name: getattr(value, value.WhichOneof("val")) for name, value in (full or {}).items() if name != "l"
    }
    assert plain == {"i": 2**53 + 1, "d": 0.1, "r": 0.5, "s": "ä", "b": False, "t": int(at(1).timestamp())}
    assert list((full or {})["l"].double_list_val.val) == [1.5]
    assert {value.WhichOneof("val") for value in (nulls or {}).values()} == {None}
    wish = lookup(config, wide, list(kinds))
    assert wish is not None
    (read,) = RedisOnlineStore().plain(config, [(wish, [(2,), (1,), (3,)])])
    found = [0.1, 0.5, "ä", False, at(1), [1.5]]
    assert read.rows == [(at(0), [None] * 7), (at(0), [2**53 + 1, *found]), (None, [None] * 7)]
    assert read.reached is None


def test_a_view_that_is_removed_leaves_nothing_but_its_neighbours(empty: str, tmp_path: Path) -> None:
    config, store = opened(tmp_path, empty).config, RedisOnlineStore()
    for each in (view(), view(name="w")):
        store.write_arrow(config, each, arrow([(1, 0, 0, 5)]), reached=Materialized(at(1), 0, at(1)))
    store.update(config, [view()], [], [], [], partial=False)
    assert online(store, config, [1]) == [None]
    assert store.materialized(config, view()) is None
    [(_, values)] = store.online_read(config, view(name="w"), [key(1)])
    assert (values or {})["f"].int64_val == 5
    store.teardown(config, [view(name="w")], [])
    assert client(empty).keys() == []


def test_values_expire_when_asked_to_and_the_async_calls_do_as_the_others(empty: str, tmp_path: Path) -> None:
    config, store = opened(tmp_path, empty).config, RedisOnlineStore()
    config.online_store.key_ttl_seconds = 1000

    async def both() -> Any:
        await store.online_write_batch_async(config, view(), [written(1, 0, None, 5)], None)
        return await store.online_read_async(config, view(), [key(1)])

    [(_, values)] = asyncio.run(both())
    assert values["f"].int64_val == 5
    [name] = client(empty).keys()
    assert 0 < client(empty).ttl(name) <= 1000
