"""Feast's Redis online store, its keys and values as they are, under the rule of the newest value.

Feast's own reads the times first and writes afterwards, so that two writers at once may leave the older value,
and never looks at created times. Here the server itself compares and writes, a key at a time.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal

import pyarrow as pa
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores import redis as feast_redis
from feast.infra.online_stores.helpers import _mmh3, _redis_key_prefix
from feast.repo_config import RepoConfig

from pipelines.contracts import EvergreenError
from pipelines.stores.online.batches import Arrived, slices
from pipelines.stores.online.plain import Asked, Lookup, Read, unmoved
from pipelines.stores.online.plain import Row as Answered
from pipelines.stores.online.store import Materialized, Progress, microseconds_of
from pipelines.stores.online.tables import place, wanted
from pipelines.stores.online.values import listed, python_value
from pipelines.stores.online.wire import entity_keys, timestamp_bytes, value_bytes

KEYS_A_CALL = 100
"""Rows that one call writes; the server does nothing else meanwhile."""
Row = tuple[bytes, tuple[bytes, bytes], list[bytes]]
"""A key, its order with its event time as Feast keeps it, and the values."""
logger = logging.getLogger(__name__)

WRITE = """
-- KEYS: entities. ARGV: the fields of event time and order, seconds to live, how many features, their
-- fields; then for each key order, event time and values.
local function order_of(time, mark)
    if mark and string.sub(mark, 37) == time then return string.sub(mark, 1, 36) end
    local found, at = {[8] = 0, [16] = 0}, 1      -- written by another: read its Timestamp
    while at <= #time do
        local tag, scale, value, rest, length = string.byte(time, at), 1, 0, 0, 0
        repeat
            at, length = at + 1, length + 1
            local byte = string.byte(time, at)
            if length < 10 then rest = rest + (127 - byte % 128) * scale end
            value, scale = value + byte % 128 * scale, scale * 128
        until byte < 128
        found[tag], at = length < 10 and value or -1 - rest, at + 1      -- ten bytes: a negative number
    end
    return string.format('%012.0f%06.0f', found[8] + 1e11, math.floor(found[16] / 1000)) .. string.rep('0', 18)
end
local width = tonumber(ARGV[4])
local at = 4 + width
for _, key in ipairs(KEYS) do
    local order, time = ARGV[at + 1], ARGV[at + 2]
    local have = redis.call('HMGET', key, ARGV[1], ARGV[2])
    if not have[1] or order_of(have[1], have[2]) <= order then
        local row = {ARGV[1], time, ARGV[2], order .. time}
        for i = 1, width do
            row[#row + 1] = ARGV[4 + i]
            row[#row + 1] = ARGV[at + 2 + i]
        end
        redis.call('HSET', key, unpack(row))
        if ARGV[3] ~= '0' then redis.call('EXPIRE', key, ARGV[3]) end
    end
    at = at + 2 + width
end
"""
NOTE = """
-- as_of only moves forward, with the version that its window was read from; at always moves.
local have = redis.call('HGET', KEYS[1], 'as_of')
if not have or have <= ARGV[1] then
    redis.call('HSET', KEYS[1], 'as_of', ARGV[1], 'source_version', ARGV[2])
end
redis.call('HSET', KEYS[1], 'at', ARGV[3])
"""


class RedisOnlineStoreConfig(feast_redis.RedisOnlineStoreConfig):  # type: ignore[misc]
    """As Feast's; `skip_dedup` has no effect, as every write keeps the newest value."""

    type: Literal["pipelines.stores.online.redis_store.RedisOnlineStore"] = (
        "pipelines.stores.online.redis_store.RedisOnlineStore"
    )


class RedisOnlineStore(feast_redis.RedisOnlineStore):  # type: ignore[misc]
    """The newest values of each key: by event time, then by created time, whatever order they are written in.

    Each key changes at once, also among several writers; a materialization as a whole does not, but it is
    noted as done only after its last key. Any reader that knows Feast's layout can read it.
    """

    def online_write_batch(
        self,
        config: RepoConfig,
        table: Any,
        data: list[tuple[Any, dict[str, Any], datetime, datetime | None]],
        progress: Progress | None,
    ) -> None:
        """Writes rows; a feature that a row lacks becomes null, and an older row changes nothing."""
        names = [feature.name for feature in table.features]
        self._write(config, table, names, _proto_rows(config, names, data))
        if progress and data:
            progress(len(data))

    async def online_write_batch_async(self, *arguments: Any, **named: Any) -> None:
        """As `online_write_batch`, in a thread."""
        await asyncio.to_thread(self.online_write_batch, *arguments, **named)

    def write_arrow(
        self,
        config: RepoConfig,
        view: Any,
        rows: pa.Table | Iterable[pa.RecordBatch],
        progress: Progress | None = None,
        reached: Materialized | None = None,
    ) -> None:
        """Writes rows whose columns are called as the view's keys, features and times; then how far it has come."""
        names, skipped = [feature.name for feature in view.features], 0
        for batch in slices(rows):
            arrived = Arrived(batch, view)
            skipped += arrived.skipped
            self._write(config, view, names, _arrow_rows(config, view, arrived))
            if progress:
                progress(batch.num_rows)
        if reached:
            self.note(config, view, reached)
        if skipped:
            logger.warning("%s: %d rows without a key or event time are not online", view.name, skipped)

    def materialized(self, config: RepoConfig, view: Any) -> Materialized | None:
        """How far a view has come online; None before its first materialization."""
        return _noted(self._get_client(config.online_store).hgetall(_marker(config, view)))

    def plain(self, config: RepoConfig, asked: Asked) -> list[Read]:
        """What there is for each view's keys, and how far it has come; three questions to the server."""
        seen, rows = unmoved(lambda: self._reached(config, asked), lambda: self._rows(config, asked))
        return [Read(*pair) for pair in zip(seen, rows, strict=True)]

    def _reached(self, config: RepoConfig, asked: Asked) -> list[Materialized | None]:
        with self._get_client(config.online_store).pipeline(transaction=False) as pipe:
            for wish, _ in asked:
                pipe.hgetall(_marker(config, wish.view))
            return [_noted(found) for found in pipe.execute()]

    def _rows(self, config: RepoConfig, asked: Asked) -> list[list[Answered]]:
        """The values of all views, read and taken apart by Feast's own."""
        named = [
            self._generate_hset_keys_for_features(wish.view, [*wish.features], wish.place.versioned)
            for wish, _ in asked
        ]
        sent: list[tuple[bytes, list[Any]]] = []
        for (wish, keys), (_, fields) in zip(asked, named, strict=True):
            protos = [wish.entity_key(key) for key in keys]
            sent += [(key, fields) for key in self._generate_redis_keys_for_entities(config, protos)]
        found = iter(self._read_hash_fields(config, sent))
        return [
            self._told(wish, names, list(islice(found, len(keys))))
            for (wish, keys), (names, _) in zip(asked, named, strict=True)
        ]

    def _told(self, wish: Lookup, names: list[str], replies: list[Any]) -> list[Answered]:
        """Rows of replies whose fields are these, an entity's event time last."""
        rows = self._convert_redis_values_to_protobuf(replies, wish.place.versioned, names)
        return [
            (at, [python_value(values[name]) for name in wish.features]) if values else wish.absent
            for at, values in rows
        ]

    def snapshot(self, config: RepoConfig) -> AbstractContextManager[None]:
        """Nothing: Redis has no moment that several questions share. Ask `materialized` before and after."""
        return nullcontext()

    def note(self, config: RepoConfig, view: Any, reached: Materialized) -> None:
        """Records how far a view has come; never backwards."""
        version = "" if reached.source_version is None else reached.source_version
        self._get_client(config.online_store).eval(
            NOTE, 1, _marker(config, view), _text(reached.as_of), version, _text(reached.at)
        )

    def delete_table(self, config: RepoConfig, table: Any) -> None:
        """Removes a view's values."""
        super().delete_table(config, table)
        client, field = self._get_client(config.online_store), _order_field(config, table)
        pattern = _redis_key_prefix(table.join_keys) + b"*" + config.project.encode()
        with client.pipeline(transaction=False) as pipe:
            pipe.delete(_marker(config, table))
            for key in client.scan_iter(pattern):
                pipe.hdel(key, field)
            pipe.execute()

    def teardown(self, config: RepoConfig, tables: Any, entities: Any) -> None:
        """Removes the values of all entities of these views."""
        super().teardown(config, tables, entities)
        for table in tables:
            self._get_client(config.online_store).delete(_marker(config, table))

    def _get_features_for_entity(self, values: Any, feature_view: str, requested_features: list[str]) -> Any:
        """Feast's answer, nothing for a key that is not there: the event time is the last of its fields."""
        if values[-1] is None:
            return None, None
        return super()._get_features_for_entity(values, feature_view, requested_features)

    def _write(self, config: RepoConfig, view: Any, names: list[str], rows: Iterator[Row]) -> None:
        """Sends rows in calls that each keep the newest of their keys; in a cluster a key at a time."""
        store = config.online_store
        client, name = self._get_client(store), place(config, view).versioned
        fields = [_mmh3(f"{name}:{feature}") for feature in names]
        head = [f"_ts:{name}", _order_field(config, view), store.key_ttl_seconds or 0, len(names), *fields]
        if store.redis_type == feast_redis.RedisType.redis_cluster:
            for key, times, values in rows:
                client.eval(WRITE, 1, key, *head, *times, *values)
            return
        script = client.register_script(WRITE)
        with client.pipeline(transaction=False) as pipe:
            while some := list(islice(rows, KEYS_A_CALL)):
                cells = [cell for _, times, values in some for cell in (*times, *values)]
                script(keys=[key for key, _, _ in some], args=[*head, *cells], client=pipe)
            pipe.execute()


def _order_field(config: RepoConfig, view: Any) -> str:
    """The extra field beside Feast's event time: digits in the order of event and created time, then that time."""
    return f"_order:{place(config, view).versioned}"


def _marker(config: RepoConfig, view: Any) -> str:
    return f"_materialized:{config.project}:{place(config, view).versioned}"


def _noted(found: dict[bytes, bytes]) -> Materialized | None:
    """What a view's marker says; None if there is none."""
    texts = {name.decode(): value.decode() for name, value in found.items()}
    if not texts:
        return None
    version = int(texts["source_version"]) if texts["source_version"] else None
    return Materialized(datetime.fromisoformat(texts["as_of"]), version, datetime.fromisoformat(texts["at"]))


def _text(moment: datetime) -> str:
    """A moment as text in the order of time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _times(event: int, created: int | None) -> tuple[bytes, bytes]:
    """The digits by which rows are ordered, an unknown created time first, and the event time for Feast."""
    known = b"0" * 18 if created is None else _digits(created)
    return _digits(event) + known, timestamp_bytes(event)


def _digits(microseconds: int) -> bytes:
    seconds, rest = divmod(microseconds, 1_000_000)
    return b"%012d%06d" % (seconds + 10**11, rest)


def _proto_rows(config: RepoConfig, names: list[str], data: Any) -> Iterator[Row]:
    for entity_key, values, event, created in data:
        key = serialize_entity_key(entity_key, config.entity_key_serialization_version)
        times = _times(microseconds_of(event), microseconds_of(created) if created else None)
        found = [values[name].SerializeToString() if name in values else b"" for name in names]
        yield key + config.project.encode(), times, found


def _arrow_rows(config: RepoConfig, view: Any, arrived: Arrived) -> Iterator[Row]:
    if config.entity_key_serialization_version != 3:
        raise EvergreenError("set entity_key_serialization_version: 3 in feature_store.yaml")
    layout = wanted(place(config, view), view)
    keys = entity_keys([(key.name, key.value_type, arrived.column(key.name)) for key in layout.keys])
    moments = list(zip(listed(arrived.event), listed(arrived.created), strict=True))
    times = {moment: _times(*moment) for moment in set(moments)}
    columns = [value_bytes(arrived.column(f.name), f.value_type) for f in layout.features]
    project = config.project.encode()
    for key, moment, *values in zip(keys, moments, *columns, strict=True):
        yield key + project, times[moment], values
