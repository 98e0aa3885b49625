"""What is kept of a column however many rows it has: quantiles of numbers, frequent values of words, what is missing.

Sketches of parts merge into that of the whole: Apache DataSketches' KLL, and its frequent items for words.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = str
"""numeric or categorical."""
K = 400
"""KLL's size: the rank of any value is within 0.7% in 99 of 100 sketches, and exact up to as many values; 10 kB."""
LG_WORDS = 10
"""Frequent items' size: up to 768 different words are counted exactly, of more those that are frequent."""
WHOLE = -1
"""The part of rows that have no label."""


class Part(NamedTuple):
    """Rows that are kept together: of one day (counted from 1970, UTC), with the label below or above its middle."""

    day: int
    half: int = WHOLE


@dataclass
class Numbers:
    """A sketch of numbers; a value that is no number is missing."""

    rows: int = 0
    missing: int = 0
    kept: Any = None

    def take(self, values: "NDArray[np.float64]") -> None:
        """Take more rows in."""
        import numpy as np

        self.rows += len(values)
        self.missing += int(np.count_nonzero(np.isnan(values)))
        self.kept = self.kept or _kll()
        self.kept.update(np.sort(values))  # a third of the time: KLL need not sort what is in order

    @classmethod
    def kept_as(cls, rows: int, missing: int, kept: bytes) -> "Numbers":
        """The sketch that was kept as these bytes."""
        from datasketches import kll_doubles_sketch

        return cls(rows, missing, kll_doubles_sketch.deserialize(kept))

    def merge(self, other: "Numbers") -> None:
        self.rows, self.missing = self.rows + other.rows, self.missing + other.missing
        self.kept = self.kept or _kll()
        if other.kept is not None:
            self.kept.merge(other.kept)


@dataclass
class Words:
    """A sketch of categories; null is missing."""

    rows: int = 0
    missing: int = 0
    kept: Any = None

    def take(self, values: Any) -> None:
        """Take more rows in: an Arrow array of texts."""
        import pyarrow.compute as pc

        self.rows, self.missing = self.rows + len(values), self.missing + values.null_count
        self.kept = self.kept or _frequent()
        counted = pc.value_counts(values)
        for word, many in zip(counted.field("values").to_pylist(), counted.field("counts"), strict=True):
            if word is not None:
                self.kept.update(str(word), int(many.as_py()))

    @classmethod
    def kept_as(cls, rows: int, missing: int, kept: bytes) -> "Words":
        """The sketch that was kept as these bytes."""
        from datasketches import frequent_strings_sketch

        return cls(rows, missing, frequent_strings_sketch.deserialize(kept))

    def merge(self, other: "Words") -> None:
        self.rows, self.missing = self.rows + other.rows, self.missing + other.missing
        self.kept = self.kept or _frequent()
        if other.kept is not None:
            self.kept.merge(other.kept)

    def frequent(self) -> dict[str, int]:
        """How often each word was seen that was seen often."""
        from datasketches import frequent_items_error_type as kind

        found = self.kept.get_frequent_items(kind.NO_FALSE_NEGATIVES) if self.kept is not None else []
        return {word: int(estimate) for word, estimate, *_ in found}

    def count(self, word: str) -> int:
        return int(self.kept.get_estimate(word)) if self.kept is not None else 0


Column = Numbers | Words
KINDS: dict[str, type[Column]] = {"numeric": Numbers, "categorical": Words}


def _kll() -> Any:
    from datasketches import kll_doubles_sketch

    return kll_doubles_sketch(K)


def _frequent() -> Any:
    from datasketches import frequent_strings_sketch

    return frequent_strings_sketch(LG_WORDS)


@dataclass
class Sketches:
    """The columns of some rows, part by part."""

    kinds: Mapping[str, Kind]
    parts: dict[Part, dict[str, Column]] = field(default_factory=dict)

    def take(self, part: Part, columns: Mapping[str, Any]) -> None:
        """Take rows of one part in: numpy's float64 for numbers, Arrow's texts for categories."""
        kept = self.parts.setdefault(part, {name: KINDS[kind]() for name, kind in self.kinds.items()})
        for name, column in kept.items():
            column.take(columns[name])

    def merge(self, other: "Sketches") -> None:
        for part, columns in other.parts.items():
            kept = self.parts.setdefault(part, {name: KINDS[kind]() for name, kind in self.kinds.items()})
            for name, column in kept.items():
                column.merge(columns[name])  # type: ignore[arg-type]  # of one name, of one kind

    def of(self, name: str, parts: Iterable[Part] | None = None) -> Any:
        """One column over some parts, or over all."""
        whole = KINDS[self.kinds[name]]()
        for part in self.parts if parts is None else parts:
            if name in self.parts[part]:
                whole.merge(self.parts[part][name])  # type: ignore[arg-type]
        return whole

    def between(self, first: int, last: int) -> "Sketches":
        """The same of the days from one to another, both counted in."""
        those = {part: columns for part, columns in self.parts.items() if first <= part.day <= last}
        return Sketches(self.kinds, those)

    def days(self) -> list[int]:
        return sorted({part.day for part in self.parts})

    def __iter__(self) -> Iterator[tuple[Part, dict[str, Column]]]:
        return iter(sorted(self.parts.items()))


def taken(
    kinds: Mapping[str, Kind], columns: Mapping[str, Any], days: Any, halves: Any | None = None
) -> Sketches:
    """The sketches of rows: their columns, the day of each row, and in which half of the labels each is, if known.

    Rows that lie in order of their days are read once, others are put in order first.
    """
    import numpy as np

    found, days = Sketches(kinds), np.asarray(days, "int64")
    if not len(days):
        return found
    key = days * 4 + (WHOLE if halves is None else np.asarray(halves, "int64")) + 1
    if np.any(key[1:] < key[:-1]):
        order = np.argsort(key, kind="stable")
        key, columns = key[order], {name: columns[name].take(order) for name in kinds}
    cuts = np.flatnonzero(np.diff(key)) + 1
    for start, end in zip([0, *cuts], [*cuts, len(key)], strict=True):
        part = Part(int(key[start] // 4), int(key[start] % 4) - 1)
        found.take(part, {name: columns[name][start:end] for name in kinds})
    return found
