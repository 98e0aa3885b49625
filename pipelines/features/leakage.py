"""Refuses a feature that reads the future: what it says of a moment must not change when more becomes known."""

import random
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa

from pipelines.contracts import EvergreenError
from pipelines.features.engines import DuckDB
from pipelines.features.view_rows import TIMES, opened, within
from pipelines.stores import Stores
from pipelines.stores.feature_store.views import ViewVersion

EVENLY, EARLY = 5, 6
"""A new version is asked twice, then and with what became known later, at so many moments spread evenly and at so many
that halve the time again and again: what depends on the largest value ever shows only while that is to come."""
SPAN = timedelta(days=2)
"""How much before such a moment is compared."""
REACH = timedelta(days=62)
"""How much of the data is tried."""
ENOUGH = timedelta(days=3)
"""Over less data than this a version is tried again the next time."""
CLOSE = 1e-9
"""Relative; sums in another order differ by less."""


class ReadsTheFuture(EvergreenError):
    """A feature's past depends on what became known later."""


def check(version: ViewVersion, start: datetime, as_of: datetime, stores: Stores) -> None:
    """ReadsTheFuture, naming the feature, if a value known by a moment differs once later rows are known.

    A version that stood this over enough data is not tried again. Corrections are left out: rows before one are
    computed from what was known before it, so that of data which are often corrected nothing would be known later.
    """
    if stores.progress.reached(_mark(version)) is not None:
        return
    end = min(as_of, start + REACH)
    with (
        closing(DuckDB(stores.settings).connection) as connection,
        opened(version, start, end, stores, corrected=False) as known,
    ):
        connection.register("later_all", within(known, version, start, end))
        for cut in cuts(version, start, end):
            since = max(start, cut - SPAN)
            compare(version, within(known, version, since, cut), (since, cut), connection, stores)
    if end - start >= ENOUGH:
        stood(version, end, stores)


def stood(version: ViewVersion, end: datetime, stores: Stores) -> None:
    """A version stood `check` over data up to `end`, perhaps in another deployment, and is not tried here again."""
    stores.progress.mark(_mark(version), (), end)


def _mark(version: ViewVersion) -> str:
    return f"{version.consumer}:as-of"


def cuts(version: ViewVersion, start: datetime, end: datetime) -> Iterator[datetime]:
    """Moments within (start, end), the same for the same version."""
    dice = random.Random(version.digest)  # noqa: S311 - a choice of samples, no secret
    for n in range(EVENLY):
        yield start + (end - start) * ((n + dice.random()) / EVENLY)
    for n in range(1, EARLY + 1):
        yield start + (end - start) * (0.5**n * (0.75 + dice.random() / 2))


def compare(
    version: ViewVersion,
    then: pa.Table,
    window: tuple[datetime, datetime],
    connection: duckdb.DuckDBPyConnection,
    stores: Stores,
) -> None:
    """ReadsTheFuture if rows known in the window differ between `then` and `later_all`, by more than rounding."""
    connection.register("then_all", then)
    known = "greatest(event_timestamp, created_timestamp)"
    for name in ("then", "later"):
        connection.execute(
            f"create or replace temp table at_{name} as select * from {name}_all where {known} > ? and {known} <= ?",
            list(window),
        )
    differ = "select 1 from (from at_{} except all from at_{}) limit 1"
    if any(
        connection.execute(differ.format(*pair)).fetchone() for pair in (("then", "later"), ("later", "then"))
    ):
        _explain(version, window[1], then.column_names, connection, stores)


def _explain(
    version: ViewVersion,
    cut: datetime,
    columns: list[str],
    connection: duckdb.DuckDBPyConnection,
    stores: Stores,
) -> None:
    """Name the first feature, entity and moment that differ; nothing if only the order of a sum did."""
    keys = [*stores.features.definition(version).join_keys, *TIMES]
    same = " and ".join(f'a."{key}" is not distinct from b."{key}"' for key in keys)
    for feature in [None, *(name for name in columns if name not in keys)]:
        found = connection.execute(
            f"select {', '.join(f'coalesce(a.{k}, b.{k})' for k in _quoted(keys))}, {_values(feature)}"
            f" from at_then a full join at_later b on {same} where {_differs(feature, keys)} order by all limit 1"
        ).fetchone()
        if found is not None:
            raise ReadsTheFuture(_message(version, feature, dict(zip(keys, found, strict=False)), found, cut))


def _quoted(names: list[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def _values(feature: str | None) -> str:
    return "a.event_timestamp, b.event_timestamp" if feature is None else f'a."{feature}", b."{feature}"'


def _differs(feature: str | None, keys: list[str]) -> str:
    """Without a feature: a row is there only once. With one: its values are not the same but for rounding."""
    if feature is None:
        return "a.event_timestamp is null or b.event_timestamp is null"
    a, b = f'a."{feature}"', f'b."{feature}"'
    x, y = f"try_cast({a} as double)", f"try_cast({b} as double)"
    close = f"abs({x} - {y}) <= {CLOSE} * greatest(abs({x}), abs({y}))"
    return f"{a} is distinct from {b} and not coalesce({close}, false)"


def _message(
    version: ViewVersion,
    feature: str | None,
    row: dict[str, object],
    found: tuple[object, ...],
    cut: datetime,
) -> str:
    entity = ", ".join(f"{key} {value}" for key, value in row.items() if key not in TIMES)
    moment, (then, later) = row["event_timestamp"], found[-2:]
    if feature is None:
        what = (
            "a row is there only once later rows are known"
            if then is None
            else "a row goes when more is known"
        )
        return (
            f"feature view {version.view} reads the future: of {entity} at {moment}, {what} than {cut};"
            " set created_timestamp to when a row could be known, and give $start and $end no other meaning"
        )
    return (
        f"feature {version.view}:{feature} reads the future: of {entity} at {moment} it is {then} as of {cut},"
        f" but {later} once later rows are known; let {version.view}.sql use only rows with"
        " available_at <= event_timestamp"
    )
