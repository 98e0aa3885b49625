"""Whom an erasure is about, and how their rows are known: by cells of a column, by keys in JSON, by words in texts."""

import csv
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipelines.catalog import datasets
from pipelines.contracts import EvergreenError

if TYPE_CHECKING:
    import pyarrow as pa

NAMED = re.compile(r"(?:(?P<dataset>[^.=]+)\.)?(?P<column>[^.=]+)=(?P<value>.+)", re.DOTALL)
ERASED = "[erased]"
SHORT = 4
"""A value of fewer characters, or of digits alone, is looked for where its column is named: texts are full of such."""


@dataclass(frozen=True)
class Sought:
    """Persons by column: `values` has the texts of the column's values, as they are kept. `beside` has values of other
    columns by which rows of theirs are known that name nobody."""

    values: Mapping[str, frozenset[str]]
    beside: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @cached_property
    def cells(self) -> dict[str, frozenset[str]]:
        """By column, each value whose row is theirs."""
        return {**self.beside, **self.values}

    @cached_property
    def _alone(self) -> re.Pattern[str]:
        """Values that tell whose they are wherever they stand, in any form; what stands before is looked at apart.

        A pattern that begins with such a look tries every place of a text, which takes several times as long.
        """
        found = [
            form
            for values in self.values.values()
            for v in sorted(values)
            if not _short(v)
            for form in _forms(v)
        ]
        return re.compile(f"(?:{'|'.join(map(re.escape, found))})(?![A-Za-z0-9])" if found else r"(?!)")

    @cached_property
    def _named(self) -> re.Pattern[str]:
        """The others, behind the name of their column."""
        found = [
            rf"\b{re.escape(column)}\b[\\\"']*\s*[:=]\s*[\\\"']*(?:{'|'.join(map(re.escape, short))})(?![A-Za-z0-9])"
            for column, values in self.values.items()
            if (short := [value for value in sorted(values) if _short(value)])
        ]
        return re.compile("|".join(found) or r"(?!)")

    def in_text(self, text: str) -> bool:
        """Whether a text names one of them, as it stands or as JSON, HTML and addresses write it."""
        return any(map(_begins, self._alone.finditer(text))) or self._named.search(text) is not None

    def named(self, text: str) -> int:
        """How often a text does."""
        return sum(map(_begins, self._alone.finditer(text))) + len(self._named.findall(text))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """From where to where it does."""
        alone = [match.span() for match in self._alone.finditer(text) if _begins(match)]
        return [*alone, *(match.span() for match in self._named.finditer(text))]

    def told_without(self, text: str) -> str:
        """The text with ERASED where one of them was named."""
        plain = self._alone.sub(lambda match: ERASED if _begins(match) else match[0], text)
        return self._named.sub(lambda match: _replaced(match[0]), plain)

    @cached_property
    def forms(self) -> tuple[bytes, ...]:
        """The bytes without any of which nothing names one of them."""
        return tuple(
            form.encode() for values in self.values.values() for v in sorted(values) for form in _forms(v)
        )

    def may_be_in(self, data: bytes) -> bool:
        """Whether it is worth while to take bytes apart: quick, and wrong only by saying yes."""
        return any(form in data for form in self.forms)

    def also(self, column: str, values: Iterable[str]) -> "Sought":
        """The same, and rows with one of these values in another column."""
        more = frozenset(values)
        return Sought(self.values, {**self.beside, column: more}) if more else self

    def in_fields(self, said: Any) -> bool:
        """Whether a JSON value has, at any depth, a column's name with one of its values."""
        if isinstance(said, Mapping):
            return any(
                str(value) in self.values.get(name, ()) or self.in_fields(value)
                for name, value in said.items()
            )
        return isinstance(said, list) and any(map(self.in_fields, said))

    def in_record(self, raw: str, header: Sequence[str]) -> bool:
        """Whether a line of a CSV file, or a row written as JSON, is one of theirs."""
        if raw.startswith(("{", "[")):
            with suppress(ValueError):
                return self.in_fields(json.loads(raw)) or self.in_text(raw)
        if any(name in self.values for name in header):
            cells = [cell.strip() for row in csv.reader(raw.splitlines(), strict=False) for cell in row]
            pairs = zip(header, cells, strict=False)
            if any(cell in self.values.get(name, ()) for name, cell in pairs):
                return True
        return self.in_text(raw)

    def mask(self, rows: "pa.Table") -> "pa.ChunkedArray":
        """Which rows of a table have one of them in a column of its name; none if it has no such column."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pa.chunked_array([pa.repeat(False, rows.num_rows)])
        for name in self.of(rows.column_names):
            hit = pc.is_in(rows[name].cast(pa.string()), pa.array(sorted(self.cells[name])))
            found = pc.or_(found, hit)
        return found

    def of(self, names: Iterable[str]) -> list[str]:
        """Those of some columns by which rows of theirs are known."""
        return [name for name in names if name in self.cells]


def said_in(text: str, column: str, header: Sequence[str] = ()) -> set[str]:
    """The values that a column has in a text: a row in JSON, or a line of a file with this header."""
    if text.startswith(("{", "[")):
        with suppress(ValueError):
            return set(_fields(json.loads(text), column))
    if column not in header:
        return set()
    return {cell.strip() for row in csv.reader(text.splitlines()) for cell in row}


def _fields(said: Any, column: str) -> Iterator[str]:
    inner = said.values() if isinstance(said, dict) else said if isinstance(said, list) else ()
    if isinstance(said, dict) and column in said:
        yield str(said[column])
    for each in inner:
        yield from _fields(each, column)


def sought(subjects: Iterable[str]) -> Sought:
    """The persons that words such as card_customers.customer_id=C00042 name; EvergreenError if no dataset knows such.

    One column names the same persons in every dataset whose `subject` it is.
    """
    found: dict[str, set[str]] = {}
    for text in subjects:
        match = NAMED.fullmatch(text)
        if match is None:
            raise EvergreenError(
                "a subject reads DATASET.COLUMN=VALUE, such as card_customers.customer_id=C00042"
            )
        column = _column(match["dataset"], match["column"])
        found.setdefault(column, set()).add(_kept(column, match["value"]))
    if not found:
        raise EvergreenError("nobody is named; name at least one --subject DATASET.COLUMN=VALUE")
    return Sought({column: frozenset(values) for column, values in found.items()})


def columns() -> dict[str, list[str]]:
    """The columns that name persons, and the datasets of each."""
    found: dict[str, list[str]] = {}
    for spec in datasets().values():
        if spec.subject is not None:
            found.setdefault(spec.subject, []).append(spec.name)
    return found


def _column(dataset: str | None, column: str) -> str:
    known = columns()
    if column in known and dataset in (None, *known[column]):
        return column
    there = ", ".join(f"{name}.{each}" for each, names in sorted(known.items()) for name in names)
    asked = column if dataset is None else f"{dataset}.{column}"
    raise EvergreenError(
        f"{asked} names no persons; those that do: {there or 'none'}; `subject: {column}` in the dataset's yaml says so"
    )


def _kept(column: str, value: str) -> str:
    """A value as tables have it: an integer without leading zeros, a text as it is."""
    kinds = {spec.columns[column].type for spec in datasets().values() if spec.subject == column}
    if "integer" not in kinds:
        return value
    try:
        return str(int(value))
    except ValueError:
        raise EvergreenError(f"{column} is an integer, and what was named is none") from None


def _short(value: str) -> bool:
    return len(value) < SHORT or value.isdigit()


def _begins(match: re.Match[str]) -> bool:
    """Whether a match is no end of a longer word."""
    before = match.string[match.start() - 1] if match.start() else ""
    return not (before.isascii() and before.isalnum())


def _forms(value: str) -> list[str]:
    """A value as it stands, and as JSON, HTML and addresses write it."""
    found = [value, json.dumps(value)[1:-1], html.escape(value), quote(value), quote(value, safe="")]
    return list(dict.fromkeys(found))


def _replaced(found: str) -> str:
    """What stands in place of a column's name and its value: the name, and ERASED, quoted where JSON has it so."""
    head = re.match(r"\w+[\\\"']*\s*[:=]\s*", found)
    before = head[0] if head else ""
    return f'{before}"{ERASED}"' if ":" in before else f"{before}{ERASED}"
