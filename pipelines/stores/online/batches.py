"""Arrow rows on their way online: in bounded batches, without those that nobody could look up."""

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.contracts import EvergreenError
from pipelines.stores.online.tables import DUMMY_KEY
from pipelines.stores.online.values import microseconds

ROWS = 20_000
"""Rows that are brought online at a time: some 20 MB as Python values."""


def slices(rows: pa.Table | Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows in batches of at most ROWS."""
    for batch in rows.to_batches(max_chunksize=ROWS) if isinstance(rows, pa.Table) else rows:
        for start in range(0, batch.num_rows, ROWS):
            yield batch.slice(start, ROWS)


class Arrived:
    """A batch of a view's rows, each with a key and an event time; `skipped` counts those without."""

    def __init__(self, batch: pa.RecordBatch, view: Any) -> None:
        self._view = view.name
        source = view.batch_source
        keys = [column.name for column in view.entity_columns] or [DUMMY_KEY]
        if DUMMY_KEY in keys and DUMMY_KEY not in batch.schema.names:
            batch = batch.append_column(DUMMY_KEY, pa.array([""] * batch.num_rows, pa.string()))
        self.batch = batch
        needed = [self.column(name) for name in (*keys, source.timestamp_field)]
        known = reduce(pc.and_, (column.is_valid() for column in needed))
        self.skipped = batch.num_rows - (pc.sum(known).as_py() or 0)
        if self.skipped:
            self.batch = batch.filter(known)
        self.event = microseconds(self.column(source.timestamp_field))
        created = source.created_timestamp_column
        self.created = (
            microseconds(self.column(created)) if created else pa.nulls(len(self.event), pa.int64())
        )

    def column(self, name: str) -> pa.Array:
        """A column by name; EvergreenError if the source gave none of that name."""
        if name not in self.batch.schema.names:
            raise EvergreenError(
                f"feature view {self._view}: its source gives no column {name}, only"
                f" {', '.join(self.batch.schema.names)}; correct the schema or the source's field_mapping"
            )
        return self.batch.column(name)
