"""How the features of a table in SQLite are read: the rows of many keys by one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from sqlite3 import Connection
from typing import Any

from pipelines.stores.online.values import Reader, kind_of, reader

EVENT, CREATED = "event_timestamp", "created_timestamp"
KEYS_A_QUERY = 512
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Column:
    """A join key or feature, its column, and the name of its Feast ValueType."""

    name: str
    column: str
    value_type: str


class Reading:
    """How some of a table's features are read; made once and used again."""

    def __init__(self, table: str, keys: Sequence[Column], features: Sequence[Column]) -> None:
        self.kinds = [(feature.name, kind_of(feature.value_type)) for feature in features]
        self._width = len(keys)
        named = [f"{quoted(table)}.{quoted(key.column)}" for key in keys]
        columns = [EVENT, *(feature.column for feature in features)]
        values = [f"{quoted(table)}.{quoted(name)}" for name in columns]
        self._select = f"select {', '.join([*named, *values])} from"
        # SQLite searches an index for `a in (...)`, but would scan the table for `(a, b) in (values ...)`.
        matches = " and ".join(f"{key} = column{at}" for at, key in enumerate(named, 1))
        alone = f"{quoted(table)} where {named[0]} in"
        self._where = alone if len(keys) == 1 else f"cross join {quoted(table)} on {matches}"
        self._queries: dict[int, str] = {}

    @cached_property
    def readers(self) -> dict[str, tuple[int, Reader]]:
        """Of each feature its place in a row, and what makes Python's own value of what is stored."""
        return {name: (at, reader(kind)) for at, (name, kind) in enumerate(self.kinds, 1)}

    def rows(self, connection: Connection, keys: list[Row]) -> dict[Row, Row]:
        """The event time and values of each key that is there."""
        width, found = self._width, {}
        for start in range(0, len(keys), KEYS_A_QUERY):
            some = keys[start : start + KEYS_A_QUERY]
            some += some[-1:] * ((1 << (len(some) - 1).bit_length()) - len(some))  # so that few statements do
            values = [value for key in some for value in key]
            for row in connection.execute(self.query(len(some)), values):
                found[row[:width]] = row[width:]
        return found

    def query(self, count: int) -> str:
        """Reads the rows of so many keys: the keys, the event time and the features."""
        if count not in self._queries:
            rows = ", ".join([f"({', '.join('?' * self._width)})"] * count)
            self._queries[count] = (
                f"{self._select} {self._where} ({', '.join('?' * count)})"
                if self._width == 1
                else f"{self._select} (values {rows}) {self._where}"
            )
        return self._queries[count]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
