"""Computes the feature tables from silver, up to a moment, and brings them online."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from pipelines.catalog import DatasetSpec, datasets
from pipelines.contracts import BatchState, FeatureRun, NothingToDo
from pipelines.stages import silver
from pipelines.stores import Stores

TICK = timedelta(days=1)  # no view ticks more slowly; its first window needs that much more


def watermark(stores: Stores, specs: Iterable[DatasetSpec], patience: timedelta) -> datetime:
    """The moment up to which every dataset has landed, one that is late held back `patience` at most.

    Raises NothingToDo while nothing has landed.
    """
    known = [stores.ledger.watermark(spec.name) for spec in specs if not spec.reference]
    landed = [moment for moment in known if moment is not None]
    if not landed:
        raise NothingToDo("no file has been ingested yet; land one, or run `evergreen replay flight_delays`")
    oldest = min(landed) if len(landed) == len(known) else datetime.min.replace(tzinfo=UTC)
    return max(oldest, max(landed) - patience)


def compute(as_of: datetime, stores: Stores) -> FeatureRun:
    """Bring every feature table up to `as_of`. Running it again changes nothing.

    A batch that landed late recomputes from the earliest moment it could have been known.
    """
    computed, starts = {}, []
    views = [view.name for view in stores.features.views()]
    for view in views:
        start, new = _window(view, as_of, stores)
        if start is not None:
            reached = stores.progress.reached(stores.features.consumer(view)) or as_of
            computed[view] = _recompute(view, start, max(as_of, reached), stores)
            stores.progress.mark(stores.features.consumer(view), new, as_of)
            starts.append(start)
    stores.features.materialize(as_of, min(starts, default=None))
    versions = {view: stores.tables.version("features", view) or 0 for view in views}
    return FeatureRun(as_of, computed, versions)


def _window(view: str, as_of: datetime, stores: Stores) -> tuple[datetime | None, set[str]]:
    """From when a view must be computed (None: it is up to date), and the batches that say so."""
    consumer, sources = stores.features.consumer(view), _sources(stores.features.sql(view))
    committed = [b for b in stores.ledger.batches(state=BatchState.COMMITTED) if b.dataset in sources]
    seen, reached = stores.progress.consumed(consumer), stores.progress.reached(consumer)
    new = {b.arrival: b.first_known for b in committed if b.arrival not in seen}
    starts = [t - timedelta(microseconds=1) for t in new.values() if t and t <= as_of]
    if reached and reached < as_of:
        starts.append(reached)
    known = {digest for digest, first in new.items() if first is None or first <= as_of}
    return min(starts, default=None), known


def _sources(query: str) -> set[str]:
    """The datasets that a feature's SQL reads."""
    return set(re.findall(r"\b(?:from|join)\s+(\w+)", query)) & set(datasets())


def _recompute(view: str, start: datetime, as_of: datetime, stores: Stores) -> int:
    table = rows(view, start, as_of, stores)
    after = f"event_timestamp > '{start.astimezone(UTC).isoformat()}'"
    stores.tables.replace("features", view, table, after)
    return int(table.num_rows)


def rows(view: str, start: datetime, as_of: datetime, stores: Stores) -> pa.Table:
    """A view's feature rows with event_timestamp in (start, as_of], from what was known at `as_of`."""
    since = start - stores.features.look_back(view) - TICK
    connection = silver.connect(stores, datasets().values(), as_of, since)
    query = stores.features.sql(view)
    window = {"start": silver.utc(start), "end": silver.utc(as_of)}
    answer = connection.execute(query, {k: v for k, v in window.items() if f"${k}" in query}).to_arrow_table()
    times = {"event_timestamp", "created_timestamp"}
    schema = [
        (n, pa.timestamp("us", "UTC") if n in times else t)
        for n, t in zip(answer.column_names, answer.schema.types, strict=True)
    ]
    return answer.cast(pa.schema(schema))
