"""Times with and without a zone: the forms in which systems write them, and where local clocks are not clear."""

import calendar
from bisect import bisect_left
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.catalog import DatasetSpec
from pipelines.reading.texts import answered

UTC = pa.timestamp("us", "UTC")
FIRST_YEAR, LAST_YEAR = 1900, 2100
SECONDS = [calendar.timegm((year, 1, 1, 0, 0, 0)) for year in (FIRST_YEAR - 1, LAST_YEAR + 2)]
"""From where to where times are looked at at all, a year wider than they count, whatever their zone."""
A_DAY = 86_400 * 10**6
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
DAY, HOUR = r"\d{4}-\d\d-\d\d", r"[Tt ]\d\d:\d\d"
FRACTION = {"refuse": r"\.\d{1,6}0{0,3}", "cut": r"\.\d{1,9}"}
PLAIN = rf"{DAY}[T ]\d\d:\d\d:\d\d(\.\d{{1,6}})?(Z|[+-][01]\d:[0-5]\d)"
ZONE = r" ?([Zz]|UTC|GMT|[+-][01]\d(:?[0-5]\d(:[0-5]\d)?)?)"


@cache
def pattern(nanoseconds: str = "refuse", zone: bool = True) -> str:
    """What a time's text looks like as a whole: ISO 8601, and as databases write it. Without a zone a day will do."""
    hour = rf"{HOUR}(:\d\d({FRACTION[nanoseconds]})?)?"
    return rf"{DAY}{hour}{ZONE}" if zone else rf"{DAY}({hour})?"


def iso(texts: pa.Array, nanoseconds: str) -> pa.Array | None:
    """The texts as Arrow reads them; None if any is no time with its zone."""
    if not pc.all(pc.match_substring_regex(texts, f"^(?:{pattern(nanoseconds)})$"), min_count=0).as_py():
        return None
    steps = (("t", "t", "T"), (r"[ zCT]", r" ?([Zz]|UTC|GMT)$", "Z"), (r" [+-]", r" ([+-])", r"\1"))
    for mark, found, put in steps:
        if pc.any(pc.match_substring_regex(texts, mark)).as_py():
            texts = pc.replace_substring_regex(texts, found, put)
    return pc.replace_substring_regex(texts, r"(\.\d{6})\d+", r"\1")


def instant(text: str, nanoseconds: str) -> str:
    """SQL for the moment a text says, null if it is no time with its zone, or in none of the years that count."""
    plain = f"regexp_full_match({text}, '{PLAIN}')"
    any_form = f"regexp_full_match({text}, '{pattern(nanoseconds)}')"
    time = (
        f"CASE WHEN {plain} THEN TRY_CAST({text} AS TIMESTAMPTZ)"
        f" WHEN {any_form} THEN TRY_CAST({canonical(text)} AS TIMESTAMPTZ) END"
    )
    return f"(SELECT CASE WHEN year(t) BETWEEN {FIRST_YEAR} AND {LAST_YEAR} THEN t END FROM (SELECT {time} AS t))"


def canonical(text: str) -> str:
    """SQL that writes a time of one of these forms as DuckDB reads it."""
    for found, put in (
        (r"(\.\d{6})\d+", r"\1"),
        (r" ?([Zz]|UTC|GMT)$", "+00:00"),
        (r"(:\d\d|:\d\d\.\d+) ?([+-]\d\d)$", r"\1\2:00"),
        (r" ?([+-]\d\d):?(\d\d)(:\d\d)?$", r"\1:\2\3"),
        (r"^(\S{10})[Tt ]", r"\1 "),
        (r"^(\S{10} \d\d:\d\d)($|[+-])", r"\1:00\2"),
    ):
        text = f"regexp_replace({text}, '{found}', '{put}')"
    return text


def instants(local: pa.Array, zone: str) -> pa.Array:
    """Local times (microseconds, about the years that count) in UTC; null where the clocks skip or repeat them."""
    there = local.is_valid()
    shown = np.asarray(local.view(pa.int64()).fill_null(0))
    found = [shown - _offset(shown + sign * A_DAY, zone) for sign in (-1, 1)]
    clear = [shown - moment == _offset(moment, zone) for moment in found]
    # Arrow's own zones end in 2037: from then on it takes summer for winter.
    one = (clear[0] != clear[1]) | (clear[0] & (found[0] == found[1]))
    moments = pa.array(np.where(clear[0], *found))
    return pc.if_else(pc.and_(there, pa.array(one)), moments, pa.scalar(None, pa.int64())).view(UTC)


def _offset(moments: Any, zone: str) -> Any:
    """By how many microseconds a zone's clocks are ahead at moments of UTC."""
    changes, offsets = _changes(zone)
    return offsets[np.searchsorted(changes, moments, side="right") - 1]


@cache
def _changes(zone: str) -> tuple[Any, Any]:
    """When a zone's clocks are set, from the first year that counts, and how far they are ahead from then on."""
    there = ZoneInfo(zone)

    def ahead(second: int) -> float:
        return (datetime.fromtimestamp(second, there).utcoffset() or timedelta()).total_seconds()

    changes, offsets = [-(2**63)], [ahead(SECONDS[0])]
    for day in range(SECONDS[0], SECONDS[1] + 86_400, 86_400):
        if (now := ahead(day)) != offsets[-1]:
            that_day = range(day - 86_399, day + 1)
            changes.append(that_day[bisect_left(that_day, True, key=lambda s: ahead(s) == now)] * 10**6)
            offsets.append(now)
    return np.array(changes), (np.array(offsets) * 10**6).astype(np.int64)


def zoned(texts: pa.Array, zone: str, nanoseconds: str) -> pa.Array:
    """Texts without a zone as times of this one; what is no such time, or not a clear one, stays as it came."""
    form = pattern(nanoseconds, zone=False)
    if not pc.any(pc.match_substring_regex(texts, f"^{form}$")).as_py():
        return texts
    query = (
        f"SELECT CASE WHEN year(t) BETWEEN {FIRST_YEAR - 1} AND {LAST_YEAR + 1} THEN t END AS t FROM (SELECT CASE"
        f" WHEN regexp_full_match(x, '{form}') THEN TRY_CAST({canonical('x')} AS TIMESTAMP) END AS t FROM texts)"
    )
    local = answered(query, pa.table({"x": texts}))["t"].combine_chunks()
    return pc.coalesce(written(instants(local.cast(pa.timestamp("us")), zone)), texts)


def written(times: pa.Array) -> pa.Array:
    """Times in UTC as texts, the fraction only where there is one."""
    return pc.replace_substring_regex(times.cast(pa.string()), r"\.000000Z$", "Z")


def within(array: pa.Array, cut: bool) -> pa.Array:
    """Times as whole microseconds since 1970; null where those are not exactly it, or no year that anybody means.

    What 64 bits would not hold is gone before anything is multiplied. With `cut`, nanoseconds are dropped.
    """
    per, numbers = PER_SECOND[array.type.unit], array.view(pa.int64())
    near = pc.and_(pc.greater_equal(numbers, SECONDS[0] * per), pc.less(numbers, SECONDS[1] * per))
    numbers = pc.if_else(near, numbers, pa.scalar(None, pa.int64()))
    if array.type.unit != "ns":
        return pc.multiply_checked(numbers, 10**6 // per)
    fine = numbers.view(pa.timestamp("ns"))
    whole = pc.floor_temporal(fine, 1, "microsecond")
    kept = whole if cut else pc.if_else(pc.equal(whole, fine), whole, pa.scalar(None, fine.type))
    return kept.cast(pa.timestamp("us")).view(pa.int64())


def zone_setting(spec: DatasetSpec, name: str) -> str:
    """The setting that takes times without a zone."""
    return f"`timezone: UTC`, or the zone it is, on {name} in {spec.name}.yaml takes times without one"
