"""Online values as Python has them, of several views of one moment: what serving asks for, without Feast's messages.

Feast's own answer makes a message of every key, value and event time, which callers then take apart; that is most
of what a read costs. The values are those of that answer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from pipelines.stores.online.files import Session
from pipelines.stores.online.reached import Materialized, moment, noted
from pipelines.stores.online.tables import DUMMY_KEY, Place, place, wanted

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.repo_config import RepoConfig

LOOKS = 5
"""How often values are read again when a materialization ended meanwhile."""
KEYS = {"STRING": str, "INT64": int}
"""Keys that need no conversion; those of other types are Feast's to convert."""
FIELDS = {str: "string_val", int: "int64_val"}
Seen = TypeVar("Seen")
Found = TypeVar("Found")
Key = tuple[Any, ...]
Row = tuple[datetime | None, Sequence[Any]]
"""The event time and the values in the order they were asked for; no time and None for a key that is not there."""


@dataclass(frozen=True)
class Lookup:
    """Features of a view as they are asked for: where they lie, and its keys in the order of their names."""

    view: "FeatureView"
    place: Place
    keys: tuple[tuple[str, type], ...]
    features: tuple[str, ...]

    def key(self, entities: Mapping[str, Any]) -> Key | None:
        """The key that entities name; None if one is missing or of another type than the view's."""
        found = tuple(entities.get(name) for name, _ in self.keys)
        fits = all(type(value) is kind for value, (_, kind) in zip(found, self.keys, strict=True))
        return found if fits else None

    def entity_key(self, key: Key) -> EntityKey:
        """A key as Feast has it."""
        values = [Value(**{FIELDS[type(value)]: value}) for value in key]
        return EntityKey(join_keys=[name for name, _ in self.keys], entity_values=values)

    @property
    def absent(self) -> Row:
        """What there is for a key that is not there."""
        return None, [None] * len(self.features)


Asked = Sequence[tuple[Lookup, Sequence[Key]]]


@dataclass(frozen=True)
class Read:
    """How far a view had come, and what was there for each key that it was asked for."""

    reached: Materialized | None
    rows: list[Row]


def lookup(config: "RepoConfig", view: "FeatureView", features: Sequence[str]) -> Lookup | None:
    """How to ask for some features of a view; None if its keys are Feast's to convert."""
    spot = place(config, view)
    keys = [(key.name, KEYS.get(key.value_type)) for key in wanted(spot, view).keys]
    if any(kind is None or name == DUMMY_KEY for name, kind in keys):
        return None
    return Lookup(view, spot, tuple((name, kind) for name, kind in keys if kind), tuple(features))


def from_session(session: Session | None, wish: Lookup, keys: Sequence[Key]) -> Read:
    """What a snapshot of a SQLite file has."""
    if session is None:
        return Read(None, [wish.absent] * len(keys))
    rows = _rows(session, wish, list(dict.fromkeys(keys)))
    return Read(noted(session.connection, wish.place.table), [rows.get(key, wish.absent) for key in keys])


def _rows(session: Session, wish: Lookup, keys: list[Key]) -> dict[Key, Row]:
    layout = session.layout(wish.place.table)
    if layout is None or not keys or layout.key_names != [name for name, _ in wish.keys]:
        return {}
    reading = layout.reading(wish.features)
    readers = [reading.readers.get(name, (0, _nothing)) for name in wish.features]
    found = reading.rows(session.connection, keys)
    return {key: (moment(row[0]), [read(row[at]) for at, read in readers]) for key, row in found.items()}


def _nothing(value: Any) -> None:
    """Of a feature that the table does not have."""


def unmoved(look: Callable[[], Seen], read: Callable[[], Found]) -> tuple[Seen, Found]:
    """What was read, again and again while a materialization ended meanwhile, and what a look before it saw."""
    for _ in range(LOOKS):
        seen, found = look(), read()
        if seen == look():
            break
    return seen, found
