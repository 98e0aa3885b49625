"""Rules of materialization through the real FeatureStore, from Delta tables to both kinds of reading."""

import decimal
import io
import json
import os
import signal
import subprocess
import sys
import uuid
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from deltalake import write_deltalake
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.repo_config import RepoConfig
from feast.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    Set,
    String,
    UnixTimestamp,
    Uuid,
    ZonedTimestamp,
)  # fmt: skip
from feast.value_type import ValueType
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.contracts import EvergreenError
from pipelines.prove.features.materialization import Campaign, prove
from pipelines.prove.servers import redis_missing
from pipelines.stores.online.materialization import BulkComputeEngine
from pipelines.stores.online.store import Materialized, SqliteOnlineStore
from pipelines.stores.online.tables import Layout

START = datetime(2024, 1, 1, tzinfo=UTC)
MICROSECONDS = pa.timestamp("us", "UTC")
minutes = st.integers(0, 9)
KEY = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)
OURS = {"type": "pipelines.stores.online.store.SqliteOnlineStore", "path": "online.db"}
STOCK = {"type": "sqlite", "path": "stock.db"}


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def view(
    features: Any = (("f", Int64),), name: str = "v", keys: Any = (("k", Int64),), **source: Any
) -> FeatureView:
    place = {"path": name, "timestamp_field": "at", "created_timestamp_column": "made"} | source
    entities = [Entity(name=n, join_keys=[n], value_type=kind.to_value_type()) for n, kind in keys]
    schema = [Field(name=n, dtype=kind) for n, kind in (*keys, *features)]
    return FeatureView(
        name=name,
        entities=entities,
        ttl=timedelta(0),
        schema=schema,
        source=FileSource(name=name, **place),
    )


def opened(
    home: Path, *views: FeatureView, online: Any = OURS, engine: Any = None, **registry: Any
) -> FeatureStore:
    """A feature store with these views applied."""
    config = RepoConfig(
        project="p", provider="local", repo_path=home,
        registry={
            "path": str(home / f"{online['type']}.registry"), "serve_features_while_materializing": True, **registry
        },
        offline_store={"type": "pipelines.stores.offline.DeltaOfflineStore", "lake": str(home / "lake")},
        online_store=online, entity_key_serialization_version=3,
        batch_engine=engine or {"type": "pipelines.stores.online.materialization.BulkComputeEngine"},
    )  # fmt: skip
    store = FeatureStore(config=config)
    applied(store, *views)
    return store


def applied(store: FeatureStore, *views: FeatureView) -> None:
    entities = {name: KEY if name == "k" else None for v in views for name in v.entities}
    store.apply([*(e for e in entities.values() if e), *views])


def landed(home: Path, rows: list[tuple[int, int, int, int]], name: str = "v") -> None:
    """Appends (key, event, created, value) to a view's table."""
    columns = list(zip(*rows, strict=True)) or [[], [], [], []]
    table = pa.table(
        {
            "k": pa.array(columns[0], pa.int64()),
            "at": pa.array([at(m) for m in columns[1]], MICROSECONDS),
            "made": pa.array([at(m) for m in columns[2]], MICROSECONDS),
            "f": pa.array(columns[3], pa.int64()),
        }
    )
    write_deltalake(str(home / "lake" / name), table, mode="append")


def brought(store: FeatureStore, start: datetime, end: datetime, **options: Any) -> str:
    """Materializes quietly; what went to stderr."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        store.materialize(start, end, **options)
    return said.getvalue()


def online(store: FeatureStore, keys: list[int], feature: str = "v:f") -> list[Any]:
    found = store.get_online_features(features=[feature], entity_rows=[{"k": k} for k in keys]).to_dict()
    return list(found[feature.split(":")[1]])


def reached(store: FeatureStore, name: str = "v") -> Materialized | None:
    found: Materialized | None = store._get_provider().online_store.materialized(
        store.config, store.get_feature_view(name)
    )
    return found


rows = st.lists(st.tuples(st.integers(0, 4), minutes, minutes), max_size=12)
windows = st.lists(st.tuples(minutes, minutes), min_size=1, max_size=3)


@settings(max_examples=15)
@given(data=st.data(), landings=st.lists(st.tuples(rows, windows), min_size=1, max_size=3))
def test_windows_in_any_order_leave_the_newest_value_of_each_key(
    data: Any, landings: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    store = opened(home, view())
    known: dict[tuple[int, int, int], int] = {}
    newest: dict[int, Any] = {}
    last = None
    for found, asked in landings:
        fresh = {(k, e, e + late): 0 for k, e, late in found if (k, e, e + late) not in known}
        fresh = {row: len(known) + i for i, row in enumerate(fresh)}
        known |= fresh
        landed(home, [(*row, value) for row, value in fresh.items()])
        for window in data.draw(st.permutations([*asked, asked[0]])):
            start, end = min(window), max(window)
            brought(store, at(start), at(end))
            last = end if last is None else max(last, end)
            for (k, event, made), value in known.items():
                if start <= event <= end and newest.get(k, ((-1, -1), None))[0] < (event, made):
                    newest[k] = ((event, made), value)
            assert online(store, [0, 1, 2, 3, 4]) == [newest[k][1] if k in newest else None for k in range(5)]
            assert (state := reached(store))
            assert state.as_of == at(last)


def test_a_recomputed_view_replaces_values_of_the_same_times(tmp_path: Path) -> None:
    store = opened(tmp_path, view())
    landed(tmp_path, [(1, 0, 0, 5), (2, 0, 0, 6)])
    brought(store, at(0), at(1))
    write_deltalake(str(tmp_path / "lake/v"), pa.table({
        "k": pa.array([1], pa.int64()), "at": pa.array([at(0)], MICROSECONDS),
        "made": pa.array([at(0)], MICROSECONDS), "f": pa.array([7], pa.int64()),
    }), mode="overwrite")  # fmt: skip
    brought(store, at(0), at(1))
    assert online(store, [1, 2]) == [7, 6]


def test_an_apply_between_windows_keeps_what_is_online(tmp_path: Path) -> None:
    store = opened(tmp_path, view())
    landed(tmp_path, [(1, 0, 0, 5), (2, 3, 3, 6)])
    brought(store, at(0), at(1))
    wider = view([("f", Int64), ("g", Int64)])
    applied(store, wider)
    table = pa.table({
        "k": pa.array([2], pa.int64()), "at": pa.array([at(4)], MICROSECONDS), "made": pa.array([at(4)], MICROSECONDS),
        "f": pa.array([8], pa.int64()), "g": pa.array([9], pa.int64()),
    })  # fmt: skip
    write_deltalake(str(tmp_path / "lake/v"), table, mode="append", schema_mode="merge")
    brought(store, at(2), at(5))
    assert online(store, [1, 2]) == [5, 8]
    assert online(store, [1, 2], "v:g") == [None, 9]
    brought(store, at(0), at(1))
    assert online(store, [1, 2]) == [5, 8]


def test_what_is_online_says_which_version_of_its_source_it_was_read_from(tmp_path: Path) -> None:
    store = opened(tmp_path, view())
    assert reached(store) is None
    landed(tmp_path, [(1, 0, 0, 5)])
    landed(tmp_path, [(1, 2, 2, 6)])
    brought(store, at(0), at(3))
    state = reached(store)
    assert state is not None
    assert (state.as_of, state.source_version) == (at(3), 1)
    landed(tmp_path, [(2, 1, 1, 7)])
    brought(store, at(0), at(1))
    again = reached(store)
    assert again is not None
    assert (again.as_of, again.source_version) == (at(3), 1)
    assert again.at > state.at


def test_rows_that_land_during_a_materialization_belong_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version that is noted is the version that was read."""
    store = opened(tmp_path, view())
    landed(tmp_path, [(1, 0, 0, 5)])
    question = BulkComputeEngine._question

    def late(self: Any, *rest: Any) -> Any:
        landed(tmp_path, [(1, 1, 1, 6), (2, 1, 1, 6)])
        return question(self, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(BulkComputeEngine, "_question", late)
        brought(store, at(0), at(3))
    state = reached(store)
    assert state is not None
    assert (state.source_version, online(store, [1, 2])) == (0, [5, None])
    brought(store, at(0), at(3))
    assert online(store, [1, 2]) == [6, 6]


def test_increments_go_on_where_the_last_ended(tmp_path: Path) -> None:
    store = opened(tmp_path, view())
    landed(tmp_path, [(1, 0, 0, 5)])
    brought(store, at(0), at(1))
    landed(tmp_path, [(1, 2, 2, 6), (2, 2, 2, 7)])
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        store.materialize_incremental(at(3))
    assert online(store, [1, 2]) == [6, 7]


def test_progress_is_told_on_stderr_and_an_error_reaches_the_caller(tmp_path: Path) -> None:
    store = opened(tmp_path, view())
    with pytest.raises(EvergreenError, match="does not exist yet"):
        brought(store, at(0), at(1))
    assert reached(store) is None
    landed(tmp_path, [(k, 0, 0, k) for k in range(50)])
    assert "50/50" in brought(store, at(0), at(1))


def test_columns_are_found_under_the_names_that_the_source_has(tmp_path: Path) -> None:
    mapping = {"id": "k", "happened": "at", "known": "made", "value": "f"}
    store = opened(tmp_path, view(field_mapping=mapping))
    table = pa.table({
        "id": pa.array([1], pa.int64()), "happened": pa.array([at(0)], MICROSECONDS),
        "known": pa.array([at(0)], MICROSECONDS), "value": pa.array([5], pa.int64()),
    })  # fmt: skip
    write_deltalake(str(tmp_path / "lake/v"), table)
    brought(store, at(0), at(1))
    assert online(store, [1]) == [5]


def test_a_view_without_entities_has_one_value(tmp_path: Path) -> None:
    store = opened(tmp_path, view(keys=(), created_timestamp_column=""))
    for minute, value in ((2, 5), (1, 4)):
        table = pa.table({"at": pa.array([at(minute)], MICROSECONDS), "f": pa.array([value], pa.int64())})
        write_deltalake(str(tmp_path / "lake/v"), table, mode="overwrite")
        brought(store, at(0), at(3))
    found = store.get_online_features(features=["v:f"], entity_rows=[{"any": 1}, {"any": 2}]).to_dict()
    assert found["f"] == [5, 5]


def test_versions_of_a_view_are_served_side_by_side(tmp_path: Path) -> None:
    store = opened(tmp_path, enable_online_feature_view_versioning=True)
    applied(store, view())
    applied(store, view([("f", String)]))
    landed(tmp_path, [(1, 0, 0, 5)])
    brought(store, at(0), at(1), feature_views=["v"], version="v0")
    assert online(store, [1], "v@v0:f") == [5]
    table = pa.table({
        "k": pa.array([1], pa.int64()), "at": pa.array([at(0)], MICROSECONDS),
        "made": pa.array([at(0)], MICROSECONDS), "f": pa.array(["new"]),
    })  # fmt: skip
    write_deltalake(str(tmp_path / "lake/v"), table, mode="overwrite", schema_mode="overwrite")
    brought(store, at(0), at(1), feature_views=["v"], version="v1")
    assert online(store, [1], "v@v1:f") == ["new"]
    assert online(store, [1], "v@v0:f") == [5]


TYPED: dict[str, tuple[Any, pa.DataType, list[Any]]] = {
    "int32": (Int32, pa.int32(), [0, -(2**31), None]),
    "int64": (Int64, pa.int64(), [2**40, -1, None]),
    "narrow": (Int64, pa.int8(), [-7, 0, None]),
    "float32": (Float32, pa.float32(), [0.5, -0.0, None]),
    "rounded": (Float32, pa.float64(), [0.1, 1e30, None]),
    "float64": (Float64, pa.float64(), [0.1, float("inf"), None]),
    "string": (String, pa.string(), ["ä", "", None]),
    "bytes": (Bytes, pa.binary(), [b"\0\xff", b"", None]),
    "bool": (Bool, pa.bool_(), [True, False, None]),
    "moment": (UnixTimestamp, MICROSECONDS, [at(1), at(-1), None]),
    "floats": (Array(Float64), pa.list_(pa.float64()), [[0.5, 1.5], [], None]),
    "ints": (Array(Int64), pa.list_(pa.int64()), [[1, 2], [3], None]),
    "texts": (Array(String), pa.list_(pa.string()), [["a", ""], ["b"], None]),
    "json": (Json, pa.string(), [json.dumps({"a": [1]}), "1", None]),
}
ODD: dict[str, tuple[Any, pa.DataType, list[Any]]] = {
    "large": (Int64, pa.int64(), [2**63 - 1, 2**53 + 1, None]),
    "map": (Map, pa.map_(pa.string(), pa.int64()), [{"a": 1}, {}, None]),
    "set": (Set(Int64), pa.list_(pa.int64()), [[1, 2], [3], None]),
    "zoned": (ZonedTimestamp, MICROSECONDS, [at(1), at(2), None]),
    "category": (String, pa.dictionary(pa.int32(), pa.string()), ["a", "b", None]),
    "uuid": (Uuid, pa.string(), [str(uuid.UUID(int=1)), str(uuid.UUID(int=2)), None]),
    "decimal": (Decimal, pa.decimal128(9, 2), [decimal.Decimal("1.25"), decimal.Decimal("-3.00"), None]),
    "rational": (Float64, pa.decimal128(9, 2), [decimal.Decimal("1.25"), decimal.Decimal("-3.00"), None]),
}


def typed(home: Path, kinds: Any, online_store: Any, engine: Any = None) -> dict[str, list[Any]]:
    """What is online of each type, for the keys 0, 1, 2 and one that is not there."""
    table = pa.table(
        {"k": pa.array([0, 1, 2], pa.int64()), "at": pa.array([at(0)] * 3, MICROSECONDS)}
        | {"made": pa.array([at(0)] * 3, MICROSECONDS)}
        | {name: pa.array(values, kind) for name, (_, kind, values) in kinds.items()}
    )
    (home / "lake").mkdir(exist_ok=True)
    pa.parquet.write_table(table, home / "lake" / "v.parquet")
    typed_view = view([(name, kind) for name, (kind, _, _) in kinds.items()], path="v.parquet")
    store = opened(home, typed_view, online=online_store, engine=engine)
    brought(store, at(0), at(1))
    entity_rows = [{"k": k} for k in range(4)]
    found = store.get_online_features(features=[f"v:{name}" for name in kinds], entity_rows=entity_rows)
    return {name: values for name, values in found.to_dict().items() if name != "k"}


def test_every_type_is_read_as_from_feasts_own_store(tmp_path: Path) -> None:
    stock = typed(tmp_path, TYPED, STOCK, engine={"type": "local"})
    assert any(values[0] is not None for values in stock.values())
    assert typed(tmp_path, TYPED, OURS) == stock


def test_types_that_feasts_own_engine_cannot_bring_come_back_too(tmp_path: Path) -> None:
    found = typed(tmp_path, ODD, OURS)
    assert found["large"][:2] == [2**63 - 1, 2**53 + 1]
    assert found["map"][:2] == [{"a": 1}, {}]
    assert [set(values) for values in found["set"][:2]] == [{1, 2}, {3}]
    assert [moment.astimezone(UTC) for moment in found["zoned"][:2]] == [at(1), at(2)]
    assert found["category"][:2] == ["a", "b"]
    assert [str(value) for value in found["uuid"][:2]] == ODD["uuid"][2][:2]
    assert [decimal.Decimal(value) for value in found["decimal"][:2]] == ODD["decimal"][2][:2]
    assert found["rational"][:2] == [1.25, -3.0]
    assert all(values[2:] == [None, None] for values in found.values())


def test_views_that_python_transforms_go_through_feasts_own_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path, view())
    landed(tmp_path, [(1, 0, 0, 5)])
    monkeypatch.setattr("pipelines.stores.online.materialization._as_it_is", lambda view: False)
    brought(store, at(0), at(1))
    assert online(store, [1]) == [5]
    state = reached(store)
    assert state is not None
    assert state.as_of == at(1)


def test_feasts_own_online_store_is_filled_too(tmp_path: Path) -> None:
    store = opened(tmp_path, view(), online=STOCK)
    landed(tmp_path, [(1, 0, 0, 5)])
    brought(store, at(0), at(1))
    assert online(store, [1]) == [5]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.integration.stores import test_materialization as here
from pipelines.stores.online import batches as online_batches
home, at_batch = Path(sys.argv[1]), int(sys.argv[2])
online_batches.ROWS = 100
store = here.opened(home, here.view())
kept = store._get_provider().online_store
write = kept.write_arrow
def dying(config, view, rows, progress, reached):
    told = []
    def tell(count):
        told.append(count)
        if len(told) == at_batch:
            os.kill(os.getpid(), signal.SIGKILL)
    write(config, view, rows, tell, reached)
kept.write_arrow = dying
here.brought(store, here.at(0), here.at(9))
"""


def test_a_writer_that_is_killed_midway_leaves_the_old_state_whole(tmp_path: Path) -> None:
    store = opened(tmp_path, view())
    landed(tmp_path, [(k, 0, 0, 0) for k in range(1000)])
    brought(store, at(0), at(5))
    before = reached(store)
    landed(tmp_path, [(k, 1, 1, 1) for k in range(1000)])
    command = [sys.executable, "-c", KILLED, str(tmp_path), "5"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert online(store, list(range(1000))) == [0] * 1000
    assert reached(store) == before
    brought(store, at(0), at(9))
    assert online(store, list(range(1000))) == [1] * 1000


def test_the_promise_is_proven_in_both_stores_or_the_missing_one_is_named() -> None:
    proof = prove(40, 8, 3, lambda _: None)
    assert proof.holds, proof.failures
    sqlite, redis = proof.rows
    assert sqlite["windows"] == 8
    assert sqlite["killed"] + sqlite["not killed in time"] == 2
    assert sqlite["reads meanwhile"] > 0
    assert redis["windows"] == (8 if redis_missing() is None else f"not tried: {redis_missing()}")


def test_the_proof_does_not_hold_where_an_older_window_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    careful = Layout.__dict__["upsert"].func
    monkeypatch.setattr(Layout, "upsert", property(lambda self: careful(self).split(" where ")[0]))
    campaign = Campaign("SQLite", tmp_path / "home", OURS, 40, 3)
    campaign.run(8, lambda _: None)
    assert any("keys are wrong" in text for text in campaign.failures)


def test_the_proof_does_not_hold_where_half_a_window_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = SqliteOnlineStore.write_arrow

    def in_pieces(
        self: Any, config: Any, view: Any, rows: Any, progress: Any = None, reached: Any = None
    ) -> None:
        for batch in rows.to_batches(max_chunksize=3):
            write(self, config, view, pa.Table.from_batches([batch]), progress, reached)

    monkeypatch.setattr(SqliteOnlineStore, "write_arrow", in_pieces)
    campaign = Campaign("SQLite", tmp_path / "home", OURS, 300, 3)
    campaign.run(8, lambda _: None)
    assert any("half a materialization" in text for text in campaign.failures)
