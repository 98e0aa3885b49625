"""One thing that differs, in words; and where two values of a spec do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

ABSENT = None
"""A rule that is not there and one that says nothing are one thing."""


class Weight(StrEnum):
    """What a change means for whoever relies on a rule. CHANGED: it asks something else, neither less nor more."""

    LOOSENED = "LOOSENED"
    CHANGED = "CHANGED"
    TIGHTENED = "TIGHTENED"
    PLAIN = ""


class Leaf(NamedTuple):
    """A place in a spec where two sides differ; ABSENT where one has nothing."""

    path: tuple[str, ...]
    before: Any
    after: Any


@dataclass(frozen=True)
class Change:
    """`part` says where it belongs: gate, data, features, label and so on. `diff` is text for those who read code."""

    part: str
    what: str
    before: str | None = None
    after: str | None = None
    weight: Weight = Weight.PLAIN
    note: str = ""
    diff: str = ""

    def __str__(self) -> str:
        parts = [self.what]
        if self.before is not None or self.after is not None:
            parts.append(_moved(self.before, self.after))
        said = " ".join(parts) + (f": {self.weight}" if self.weight else "")
        return f"{said} ({self.note})" if self.note else said


def _moved(before: str | None, after: str | None) -> str:
    if before is None:
        return f"added: {after}" if after else "added"
    if after is None:
        return f"removed, was: {before}" if before else "removed"
    return f"{before} -> {after}"


def leaves(before: Any, after: Any, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every place where two values differ; a block that only one side has is one place."""
    if before == after and type(before) is type(after):
        return
    before, after = _by_name(before), _by_name(after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            yield from leaves(before.get(key, ABSENT), after.get(key, ABSENT), (*path, str(key)))
    elif before != after:
        yield Leaf(path, before, after)


def block(value: Any, name: str) -> Mapping[str, Any]:
    """A part of a spec that should be one; nothing where it is not."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def listed(value: Any, name: str) -> list[str]:
    """The words of a list in a spec; none where it is no list."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return [str(each) for each in found] if isinstance(found, list | tuple) else []


def _by_name(value: Any) -> Any:
    """A list of words as what it has, whatever their order."""
    if isinstance(value, list | tuple) and not any(
        isinstance(each, Mapping | list | tuple) for each in value
    ):
        return {str(each): "" for each in value}
    return value


def words(value: Any) -> str | None:
    """A value as a person would write it in a spec; None for nothing."""
    if value is ABSENT:
        return None
    if isinstance(value, timedelta):
        return _length(value)
    if isinstance(value, time):
        return f"{value:%H:%M}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {said}" for key, each in value.items() if (said := words(each)) is not None)
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(str(words(each)) for each in value) + "]"
    return str(value)


def _length(value: timedelta) -> str:
    for size, unit in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "m")):
        if value and value % size == timedelta(0):
            return f"{value // size}{unit}"
    return "0m" if not value else str(value)
