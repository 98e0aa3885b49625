"""The prediction log, batch by batch, in Delta: every answer and every truth told of one, once, whoever is killed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from pipelines.stores import Stores
from pipelines.stores.answers.archive import ANSWERS, TOLD, Batch
from pipelines.stores.locks import at_work, exclusive

TIME = pa.timestamp("us", tz="UTC")
JSON = ("entities", "request", "features", "known", "prediction", "probabilities", "truth")
"""Columns that hold JSON: what is in them is the model's own."""
SCHEMAS = {
    ANSWERS: pa.schema(
        [
            pa.field("prediction_id", pa.string()), pa.field("version", pa.int64()), pa.field("digest", pa.string()),
            pa.field("entities", pa.string()), pa.field("request", pa.string()), pa.field("features", pa.string()),
            pa.field("known", pa.string()), pa.field("answer", pa.float64()), pa.field("threshold", pa.float64()),
            pa.field("prediction", pa.string()), pa.field("probabilities", pa.string()),
            pa.field("degraded", pa.bool_()), pa.field("asked_at", TIME), pa.field("event_time", TIME),
        ]
    ),
    TOLD: pa.schema(
        [
            pa.field("truth_id", pa.string()), pa.field("prediction_id", pa.string()), pa.field("truth", pa.string()),
            pa.field("known_at", TIME), pa.field("received_at", TIME),
        ]
    ),
}  # fmt: skip
MOST = 50_000
"""Rows of a batch."""


@dataclass(frozen=True)
class Archived:
    """What was moved now; `forgotten` counts answers that left the database, as they were older than is kept there."""

    model: str
    answers: int
    truths: int
    forgotten: int


def archive(model: str, stores: Stores, now: datetime) -> Archived:
    """Move what is new in the log to `predictions/<model>` and `truths/<model>`, and let go what is old enough."""
    days = stores.settings.prediction_log_days
    with exclusive(f"archive-{model}", stores.settings), at_work(stores.settings):
        moved = {kind: _moved(model, kind, stores) for kind in SCHEMAS}
        gone = 0 if days is None else stores.archive.forget(model, now - timedelta(days=days))
    return Archived(model, moved[ANSWERS], moved[TOLD], gone)


def _moved(model: str, kind: str, stores: Stores) -> int:
    count = 0
    while batch := stores.archive.next(model, kind, MOST):
        stores.tables.append(kind, model, _table(kind, batch), batch.name)
        stores.archive.done(batch.name)
        count += len(batch.rows)
    return count


def _table(kind: str, batch: Batch) -> pa.Table:
    schema = SCHEMAS[kind]
    return pa.Table.from_pylist([_row(row, schema) for row in batch.rows], schema)


def _row(row: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    return {
        name: json.dumps(row[name]) if name in JSON and row[name] is not None else row[name]
        for name in schema.names
    }
