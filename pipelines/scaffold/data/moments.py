"""When rows happened and whose they are: the time column, what history is kept by, and what tells rows apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations

from pipelines.contracts import EvergreenError
from pipelines.scaffold.data.profile import Facts
from pipelines.scaffold.data.sources import Source

TIME_WORDS = (
    "timestamp",
    "datetime",
    "time",
    "date",
    "day",
    "hour",
    "month",
    "week",
    "at",
    "on",
    "when",
    "created",
)
YEAR_WORDS, EPOCH_WORDS = (
    ("year", "yr", "jahr", "annee", "ano"),
    ("timestamp", "epoch", "unix", "time", "date", "ts"),
)
"""What columns of whole numbers are called that are years, and those that are seconds or milliseconds since 1970."""
NOT_EVENTS = ("birth", "dob", "expir", "due", "end", "return", "closed", "finish", "updated", "modified")
KEY_WORDS = (
    "id", "customer", "user", "account", "store", "shop", "station", "symbol", "ticker", "code", "device", "sensor",
    "machine", "product", "item", "sku", "site", "city", "country", "region", "client", "patient", "vehicle", "card",
    "series", "entity", "location", "name", "carrier", "origin", "route", "county", "state",
)  # fmt: skip
LAST_YEAR = 2200
MOMENTS = 40
"""Fewer different moments cannot be cut into rows to learn from and rows to judge by."""
REPEATS = 5
"""What history is kept by comes again so often, on average."""
NEARLY, MOSTLY = 0.98, 0.8
WHOSE = (
    "id", "customer", "user", "account", "store", "shop", "station", "symbol", "ticker", "device", "sensor", "machine",
    "card", "sku", "patient", "vehicle", "client",
)  # fmt: skip
"""What says whose a row is, even where times tell rows apart by themselves."""
MINUTE = timedelta(minutes=1)
LADDER = [
    timedelta(**each) for each in (
        {"minutes": 15}, {"hours": 1}, {"hours": 3}, {"hours": 6}, {"hours": 12}, {"days": 1}, {"days": 3}, {"days": 7},
        {"days": 14}, {"days": 30}, {"days": 90}, {"days": 180}, {"days": 365}, {"days": 1095}, {"days": 3650},
    )
]  # fmt: skip
SEASONS = [timedelta(days=1), timedelta(days=7), timedelta(days=365)]


@dataclass(frozen=True)
class Clock:
    """When rows happened: SQL over `typed`, the usual step between two rows of one key, and the shortest usual one."""

    facts: Facts
    sql: str
    step: timedelta
    shortest: timedelta
    by: tuple[str, ...] = ()


def instant(facts: Facts) -> str | None:
    """SQL for the moment that a column says; None if it says none."""
    place = facts.place
    if facts.kind == "timestamp":
        return place
    if facts.kind not in ("integer", "float") or facts.least is None:
        return None
    if facts.least >= 1000 and facts.most <= LAST_YEAR:
        return f"cast(make_timestamp(cast({place} as bigint), 1, 1, 0, 0, 0) as timestamptz)"
    for scale, unit in ((1, "s"), (1000, "ms")):
        if 1e8 * scale <= facts.least and facts.most <= 4e9 * scale:
            return f"cast(make_timestamp_ms(cast({place} * {1000 if unit == 's' else 1} as bigint)) as timestamptz)"
    return None


def guessed_time(found: Iterable[Facts], rows: int) -> Facts | None:
    """The column that most likely says when a row happened; None if none has moments enough."""
    fit = [
        each
        for each in found
        if says_when(each) and each.distinct >= MOMENTS and not each.missing > rows / 10
    ]
    fit = [each for each in fit if not any(word in each.header.lower() for word in NOT_EVENTS)]
    return max(
        fit, key=lambda e: (e.kind == "timestamp", _hint(e.header, TIME_WORDS), e.distinct), default=None
    )


def says_when(facts: Facts) -> bool:
    """Whether a column is one of times, or of numbers that are called and look like years or seconds since 1970."""
    if facts.kind == "timestamp":
        return True
    if facts.kind != "integer" or instant(facts) is None:
        return False
    return _hint(facts.header, YEAR_WORDS if facts.most <= LAST_YEAR else EPOCH_WORDS)


def guessed_keys(found: Sequence[Facts], time: Facts, rows: int, source: Source) -> list[Facts]:
    """What history is kept by: the columns that, with the time, tell rows apart, or that are named like such."""
    fit = [
        e
        for e in found
        if e.kind in ("string", "integer") and 2 <= e.distinct <= rows / REPEATS and not e.missing
    ]
    fit = sorted(fit, key=lambda each: (-_hint(each.header, KEY_WORDS), each.distinct))[:8]
    named = [
        each
        for each in fit
        if _hint(each.header, WHOSE) and _apart([each, time], time, rows, source) >= MOSTLY
    ]
    if named:
        return [max(named, key=lambda each: each.distinct)]
    if _apart([], time, rows, source) >= NEARLY:
        return []
    for size in (1, 2):
        for keys in combinations(fit, size):
            hinted = any(_hint(each.header, KEY_WORDS) for each in keys)
            if (hinted or size == 1) and _apart(keys, time, rows, source) >= NEARLY:
                return list(keys)
    return []


def _hint(header: str, words: Iterable[str]) -> bool:
    parts = header.lower().replace("-", "_").replace(" ", "_").split("_")
    return any(word in parts or (len(word) > 3 and word in header.lower()) for word in words)


def _apart(keys: Sequence[Facts], time: Facts, rows: int, source: Source) -> float:
    columns = ", ".join(each.place for each in (*keys, time))
    return int(source.one(f"select count(*) from (select distinct {columns} from typed)")) / rows


def row_key(keys: Sequence[Facts], time: Facts | None, found: Sequence[Facts], source: Source) -> list[Facts]:
    """The columns that tell every row from every other; empty if none do."""
    whole = ", ".join(each.place for each in found)
    rows = int(source.one(f"select count(*) from (select distinct {whole} from typed)"))
    base = [*keys, time] if time else []
    others = [
        each for each in found if each not in base and not each.missing and each.kind in ("string", "integer")
    ]
    unique = [[each] for each in others if each.distinct == rows]
    for columns in (
        *([base] if base else []),
        *unique,
        *([[*base, each] for each in others] if base else []),
    ):
        listed = ", ".join(each.place for each in columns)
        if int(source.one(f"select count(*) from (select distinct {listed} from typed)")) == rows:
            return list(columns)
    return []


def clock(facts: Facts, keys: Sequence[Facts], source: Source) -> Clock:
    """A time column as a clock; EvergreenError if its values are no moments or all are the same."""
    sql = instant(facts)
    if sql is None:
        raise EvergreenError(
            f"{facts.header!r} says no time, such as {', '.join(facts.examples[:3])}; --time takes a column of dates,"
            " times, years or seconds since 1970"
        )
    by = ", ".join(each.place for each in keys)
    listed = f"{by}, " if by else ""
    part = f"partition by {by} " if by else ""
    gaps = source.connection.execute(
        f"select median(gap), quantile_cont(gap, 0.05) from (select epoch(t - lag(t) over ({part}order by t)) as gap"
        f" from (select distinct {listed}{sql} as t from typed where {sql} is not null)) where gap > 0"
    ).fetchone()
    if gaps is None or gaps[0] is None:
        raise EvergreenError(
            f"every row of {facts.header!r} says the same moment; leave --time out, or name another column"
        )
    usual, shortest = (timedelta(seconds=float(gap)) for gap in gaps)
    return Clock(facts, sql, usual, shortest, tuple(each.place for each in keys))


def windows(step: timedelta) -> list[timedelta]:
    """Three stretches of time that usually hold about 4, 15 and 50 rows."""
    found = [next((w for w in LADDER if w >= step * count), LADDER[-1]) for count in (4, 15, 50)]
    return list(dict.fromkeys(found))


def seasons(step: timedelta, horizon: timedelta, span: timedelta) -> list[timedelta]:
    """The day, week and year before the moment asked about, where rows are that dense and reach back that far."""
    return [s for s in SEASONS if step * 2 <= s and horizon + step <= s and span >= s * 2.5]


def written(length: timedelta) -> str:
    """A length of time as specs write it, in whole minutes, rounded down: 30m, 36h or 7d."""
    minutes = max(1, int(length / MINUTE))
    if minutes % 1440 == 0:
        return f"{minutes // 1440}d"
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


def about(length: timedelta) -> str:
    """A length of time as people say it: 14 hours, 3 days."""
    for unit, name in ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (MINUTE, "minute")):
        if length >= unit * 1.5 or length == unit:
            count = round(length / unit)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{length.total_seconds():.3g} seconds"


def in_sql(length: timedelta) -> str:
    """A length of time as SQL and look-backs write it: 30 minutes, 36 hours or 7 days."""
    text = written(length)
    unit = {"m": "minute", "h": "hour", "d": "day"}[text[-1]]
    return f"{text[:-1]} {unit}{'' if text[:-1] == '1' else 's'}"
