"""A source's rows as a point-in-time question needs them: first keys and times, then the values of the winners."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from pipelines.stores.offline import instants
from pipelines.stores.offline.instants import Numbers
from pipelines.stores.offline.sources import Source

READAHEAD = {"batch_readahead": 4, "fragment_readahead": 2}
"""What Arrow may read before it is asked: little, for it lies outside DuckDB's memory limit."""


@dataclass(frozen=True)
class History:
    """An opened source with its key and time columns; rows are numbered in the order of its files.

    The numbers of one History agree between its scans, for both use the same filter.
    """

    rows: pads.Dataset
    keys: list[str]
    event: pa.Field
    created: pa.Field | None
    where: pc.Expression

    @property
    def unit(self) -> str:
        """The unit of `e` and `c`."""
        return instants.unit_of(*(field.type for field in (self.event, self.created) if field))

    def known(self, latest: int, earliest: int) -> "History":
        """Only rows that happened between the bounds and were known by the latest."""
        where = self.where & instants.not_after(self.event, latest, self.unit)
        if self.created is not None:
            where &= instants.not_after(self.created, latest, self.unit)
        if earliest > instants.LEAST:
            where &= instants.not_before(self.event, earliest, self.unit)
        return History(self.rows, self.keys, self.event, self.created, where)

    def happened(self, start: datetime | None, end: datetime | None) -> "History":
        """Only rows with an event time from `start` to `end`, both included; None is no bound."""
        where = self.where
        if start is not None:
            where &= instants.not_before(self.event, instants.of(start), "us")
        if end is not None:
            where &= instants.not_after(self.event, instants.of(end), "us")
        return History(self.rows, self.keys, self.event, self.created, where)

    def narrow(self) -> pads.Scanner:
        """Keys as k0, k1, ...; event time as e and knowledge time as c (e if the source has none), as numbers."""
        columns = {f"k{i}": pc.field(key) for i, key in enumerate(self.keys)}
        columns["e"] = instants.number(self.event, self.unit)
        columns["c"] = instants.number(self.created or self.event, self.unit)
        return self.rows.scanner(columns=columns, filter=self.where, **READAHEAD)

    def wide(self, columns: Mapping[str, str]) -> pads.Scanner:
        """All rows' columns, under new names."""
        chosen = {new: pc.field(old) for new, old in columns.items()}
        return self.rows.scanner(columns=chosen, filter=self.where, **READAHEAD)

    def values(self, columns: Mapping[str, str], ids: Numbers) -> pa.Table:
        """The columns, under new names, of the rows with these numbers; nulls for a number below zero."""
        wanted, places = np.unique(ids[ids >= 0], return_inverse=True)
        found = _picked(self.wide(columns), wanted)
        positions = np.zeros(len(ids), dtype=np.int64)
        positions[ids >= 0] = places
        return found.take(pa.array(positions, mask=ids < 0))

    def content(self, ids: Numbers) -> pa.Table:
        """Everything in the rows with these numbers, in columns that can be put in order: v0, v1, ..."""
        names = sorted(self.rows.schema.names)
        chosen = {f"v{i}": _orderable(self.rows.schema.field(name)) for i, name in enumerate(names)}
        scanner = self.rows.scanner(columns=chosen, filter=self.where, **READAHEAD)
        wanted = np.unique(ids)
        return _picked(scanner, wanted).append_column("id", pa.array(wanted))


def opened(source: Source, keys: Iterable[str], event: str, created: str | None) -> History:
    """A source's rows that have an event time; names are as the view knows them."""
    rows = source.dataset()
    schema = rows.schema
    field = schema.field(source.column(event, schema))
    return History(
        rows=rows,
        keys=[source.column(key, schema) for key in keys],
        event=field,
        created=schema.field(source.column(created, schema)) if created else None,
        where=pc.field(field.name).is_valid(),
    )


def _picked(scanner: pads.Scanner, wanted: Numbers) -> pa.Table:
    """The rows with these ascending numbers."""
    batches, seen = [], 0
    for batch in scanner.to_batches() if len(wanted) else ():
        start, end = np.searchsorted(wanted, [seen, seen + batch.num_rows])
        if end > start:
            batches.append(batch.take(pa.array(wanted[start:end] - seen)))
        seen += batch.num_rows
    return pa.Table.from_batches(batches, scanner.projected_schema)


def _orderable(field: pa.Field) -> Any:
    """DuckDB would cut nanoseconds off a time with a zone, and rows would look alike that are not."""
    kind = field.type
    column = pc.field(field.name)
    return column.cast(pa.int64()) if pa.types.is_timestamp(kind) and kind.unit == "ns" else column
