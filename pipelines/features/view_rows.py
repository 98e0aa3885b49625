"""A feature view's rows of a stretch of time, each from what was known at its moment."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.catalog import datasets
from pipelines.features.engines import engine
from pipelines.features.silver import Silver
from pipelines.stores import Stores
from pipelines.stores.feature_store.views import ViewVersion

TICK = timedelta(days=1)  # no view ticks more slowly; its first window needs that much more
JUST_BEFORE = timedelta(microseconds=1)
TIMES = ("event_timestamp", "created_timestamp")


def rows(version: ViewVersion, start: datetime, as_of: datetime, stores: Stores) -> pa.Table:
    """A view's feature rows that became known in (start, as_of], each from what was known at its moment.

    Where a correction changes what was known, the window is computed in two: the rows before it do not see it.
    """
    since = start - version.look_back - TICK
    sources = [datasets()[name] for name in sorted(version.sources)]
    with closing(engine(stores.settings)) as session:
        known = Silver(session, stores, sources, as_of, since)
        cuts = [moment - JUST_BEFORE for moment in known.corrections(start, as_of)]
        ends = [*dict.fromkeys(cut for cut in cuts if cut > start), as_of]
        made = [
            _between(known.at(end), version, begin, end)
            for begin, end in zip([start, *ends], ends, strict=False)
            if begin < end
        ]
    return pa.concat_tables(made)


def _between(known: Silver, version: ViewVersion, start: datetime, end: datetime) -> pa.Table:
    """One window's rows as the SQL gives them, with times in UTC; rows known outside the window are left out."""
    answer = known.query(version.sql, {"start": start, "end": end})
    schema = pa.schema(
        [
            (name, pa.timestamp("us", "UTC") if name in TIMES else kind)
            for name, kind in zip(answer.column_names, answer.schema.types, strict=True)
        ]
    )
    table = answer.cast(schema)
    known = pc.max_element_wise(*(table[name].cast(pa.int64()) for name in TIMES))
    return table.filter(pc.and_(pc.greater(known, _us(start)), pc.less_equal(known, _us(end))))


def _us(moment: datetime) -> int:
    """Microseconds since 1970, as Arrow counts them."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
