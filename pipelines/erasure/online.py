"""Redis as online store: the keys of persons, under which all their newest values lie."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.erasure.delta import Found
from pipelines.erasure.subjects import Sought

AT_ONCE = 500


@dataclass(frozen=True)
class Redis:
    """Feast's keys of one project in one server or cluster."""

    name: str
    client: Any
    project: str

    def find(self, sought: Sought) -> Found:
        return Found(sum(1 for _ in self._keys(sought)))

    def remove(self, sought: Sought, _now: datetime) -> None:
        """They are gone from memory, and the server is asked to write its files anew."""
        keys = list(self._keys(sought))
        for key in keys:
            self.client.delete(key)
        if keys:
            self._persisted()

    def _persisted(self) -> None:
        """A snapshot or log of the server's has the keys until it is written anew."""
        from redis.exceptions import RedisError

        for again in (self.client.bgrewriteaof, self.client.bgsave):
            try:
                again()
            except RedisError:  # it does so already, keeps no such file, or forbids it
                continue

    def _keys(self, sought: Sought) -> Iterator[bytes]:
        from feast.infra.key_encoding_utils import deserialize_entity_key

        tail = self.project.encode()
        for key in self.client.scan_iter(b"*" + tail, count=AT_ONCE):
            try:
                found = deserialize_entity_key(key[: -len(tail)], 3)
            except (ValueError, IndexError, UnicodeDecodeError):
                continue
            pairs = zip(found.join_keys, found.entity_values, strict=True)
            if any(
                str(getattr(v, v.WhichOneof("val") or "null_val")) in sought.values.get(n, ())
                for n, v in pairs
            ):
                yield key
