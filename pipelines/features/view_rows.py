"""A feature view's rows of a stretch of time, each from what was known at its moment."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.features.engines import Engine
from pipelines.features.engines import engine as by_settings
from pipelines.features.silver import Silver
from pipelines.features.watermark import sources
from pipelines.stores import Stores
from pipelines.stores.feature_store.views import ViewVersion
from pipelines.stores.spark.staged import Window

TICK = timedelta(days=1)  # no view ticks more slowly; its first window needs that much more
JUST_BEFORE = timedelta(microseconds=1)
TIMES = ("event_timestamp", "created_timestamp")


def rows(version: ViewVersion, start: datetime, as_of: datetime, stores: Stores) -> pa.Table:
    """A view's feature rows that became known in (start, as_of], each from what was known at its moment."""
    with opened(version, start, as_of, stores) as known:
        return within(known, version, start, as_of)


@contextmanager
def opened(
    version: ViewVersion,
    start: datetime,
    as_of: datetime,
    stores: Stores,
    corrected: bool = True,
    engine: Engine | None = None,
) -> Iterator[Silver]:
    """What a view needs of silver for the rows that became known in (start, as_of]."""
    with closing(engine or by_settings(stores.settings)) as session:
        since = _seen_from(version, start)
        yield Silver(session, stores, sources(version), as_of, since, corrected=corrected)


def within(known: Silver, version: ViewVersion, start: datetime, as_of: datetime) -> pa.Table:
    """The rows of a stretch of time from what `known` shows as of its moments, and no farther back than the view says.

    Where a correction changes what was known, the stretch is computed in two: the rows before it do not see it.
    """
    return pa.concat_tables([_between(*part) for part in _parts(known, version, start, as_of)])


def write(known: Silver, version: ViewVersion, start: datetime, as_of: datetime, into: str) -> None:
    """The same rows as Parquet files below a folder or address, written by the engine's executors."""
    for n, (shown, _, begin, end) in enumerate(_parts(known, version, start, as_of)):
        window = Window(TIMES, begin, end)
        shown.write(version.sql, {"start": begin, "end": end}, window, f"{into}/{n}")


def _parts(
    known: Silver, version: ViewVersion, start: datetime, as_of: datetime
) -> Iterator[tuple[Silver, ViewVersion, datetime, datetime]]:
    """The stretches between corrections, each with silver as it was known at its end."""
    since = _seen_from(version, start)
    cuts = [moment - JUST_BEFORE for moment in known.corrections(start, as_of)]
    ends = [*dict.fromkeys(cut for cut in cuts if cut > start), as_of]
    for begin, end in zip([start, *ends], ends, strict=False):
        if begin < end:
            yield known.at(end, since), version, begin, end


def _seen_from(version: ViewVersion, start: datetime) -> datetime:
    """From when on a window's rows may depend on what became known."""
    return start - version.look_back - TICK


def _between(known: Silver, version: ViewVersion, start: datetime, end: datetime) -> pa.Table:
    """One window's rows as the SQL gives them, with times in UTC; rows known outside the window are left out."""
    answer = known.query(version.sql, {"start": start, "end": end})
    table = answer.cast(_in_utc(answer.schema))
    known = pc.max_element_wise(*(table[name].cast(pa.int64()) for name in TIMES))
    return table.filter(pc.and_(pc.greater(known, _us(start)), pc.less_equal(known, _us(end))))


def columns(known: Silver, version: ViewVersion, start: datetime, as_of: datetime) -> pa.Schema:
    """The columns of a view's table."""
    return _in_utc(known.columns(version.sql, {"start": start, "end": as_of}))


def _in_utc(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(f.name, pa.timestamp("us", "UTC") if f.name in TIMES else f.type) for f in schema])


def _us(moment: datetime) -> int:
    """Microseconds since 1970, as Arrow counts them."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
