"""What serving reads without Feast's messages is what Feast would answer, whatever the types and keys."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Int64List, Value
from feast.type_map import feast_value_type_to_python_type
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stores.online.plain import lookup
from pipelines.stores.online.store import Materialized, SqliteOnlineStore
from tests.unit.stores.test_online_store import config, view

START = datetime(2024, 1, 1, tzinfo=UTC)
KEYS = (("b", String), ("a", Int64))
whole = st.integers(-(2**63), 2**63 - 1)
VALUES: dict[str, tuple[Any, st.SearchStrategy[Value]]] = {
    "flag": (Bool, st.builds(lambda v: Value(bool_val=v), st.booleans())),
    "small": (Int32, st.builds(lambda v: Value(int32_val=v), st.integers(-(2**31), 2**31 - 1))),
    "count": (Int64, st.builds(lambda v: Value(int64_val=v), whole)),
    "narrow": (Float32, st.builds(lambda v: Value(float_val=v), st.floats(width=32))),
    "wide": (Float64, st.builds(lambda v: Value(double_val=v), st.floats())),
    "text": (String, st.builds(lambda v: Value(string_val=v), st.text(max_size=4) | st.just("NaN"))),
    "raw": (Bytes, st.builds(lambda v: Value(bytes_val=v), st.binary(max_size=4))),
    "when": (UnixTimestamp, st.builds(lambda v: Value(unix_timestamp_val=v), st.integers(0, 2**32))),
    "many": (Array(Int64), st.builds(lambda v: Value(int64_list_val=Int64List(val=v)), st.lists(whole, max_size=3))),
}  # fmt: skip
OTHER = st.builds(lambda v: Value(double_val=v), st.floats(allow_nan=False))
"""A value of another type than its column's is kept as it came."""
pairs = st.tuples(st.sampled_from(["", "x", "1"]), st.sampled_from([0, 1, -(2**63)]))
values = st.fixed_dictionaries(
    {}, optional={name: strategy | OTHER if name != "raw" else strategy for name, (_, strategy) in VALUES.items()}
)  # fmt: skip


def entity_key(text: str, number: int) -> EntityKey:
    return EntityKey(join_keys=["b", "a"], entity_values=[Value(string_val=text), Value(int64_val=number)])


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and (one == other or (one != one and other != other))


@settings(max_examples=80)
@given(
    rows=st.lists(st.tuples(pairs, values), max_size=5),
    asked=st.lists(pairs, min_size=1, max_size=6),
    names=st.lists(st.sampled_from([*VALUES, "gone"]), min_size=1, unique=True),
)
def test_plain_values_are_those_that_feast_makes_of_its_messages(
    rows: Any, asked: Any, names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store, where = SqliteOnlineStore(), config(tmp_path_factory.mktemp("online"))
    of = view(keys=KEYS, features=[(name, kind) for name, (kind, _) in VALUES.items()])
    data = [
        (entity_key(*key), found, START + timedelta(minutes=n), None) for n, (key, found) in enumerate(rows)
    ]
    store.online_write_batch(where, of, data, None)
    wish = lookup(where, of, names)
    assert wish is not None
    (read,) = store.plain(where, [(wish, [wish.key({"a": number, "b": text}) for text, number in asked])])
    expected = store.online_read(where, of, [entity_key(*pair) for pair in asked], names)
    assert len(read.rows) == len(asked)
    for (at, found), (event, messages) in zip(read.rows, expected, strict=True):
        assert at == event
        for name, value in zip(names, found, strict=True):
            assert same(value, feast_value_type_to_python_type((messages or {}).get(name, Value())))


def test_what_is_read_and_how_far_a_view_has_come_are_of_one_moment(tmp_path: Any) -> None:
    store, where, of = SqliteOnlineStore(), config(tmp_path), view(keys=KEYS)
    wish = lookup(where, of, ["f"])
    assert wish is not None
    assert store.plain(where, [(wish, [("x", 1)])])[0].rows == [(None, [None])]
    store.online_write_batch(where, of, [(entity_key("x", 1), {"f": Value(int64_val=7)}, START, None)], None)
    (read,) = store.plain(where, [(wish, [wish.key({"a": 1, "b": "x"}), wish.key({"a": 2, "b": "x"})])])
    assert (read.reached, read.rows) == (None, [(START, [7]), (None, [None])])
    reached = Materialized(START, 3, START)
    store.note(where, of, reached)
    assert store.plain(where, [(wish, [])])[0].reached == reached


@pytest.mark.parametrize(
    "entities", [{"a": 1}, {"a": True, "b": "x"}, {"a": 1, "b": 2}, {"a": 1.0, "b": "x"}]
)
def test_a_key_that_needs_conversion_or_is_not_whole_is_left_to_feast(entities: Any, tmp_path: Any) -> None:
    wish = lookup(config(tmp_path), view(keys=KEYS), ["f"])
    assert wish is not None
    assert wish.key({"a": 1, "b": "x", "c": 3}) == (1, "x")
    assert wish.key(entities) is None


@pytest.mark.parametrize("keys", [(), (("k", UnixTimestamp),), (("k", Bytes),), (("k", Int32),)])
def test_views_with_keys_of_other_types_or_without_keys_are_left_to_feast(keys: Any, tmp_path: Any) -> None:
    assert lookup(config(tmp_path), view(keys=keys), ["f"]) is None
