"""How many rows there are to learn from and to judge by, and what can be expected of a model on them."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipelines.contracts import EvergreenError
from pipelines.scaffold.data.answers import Answer
from pipelines.scaffold.data.moments import Clock
from pipelines.scaffold.data.sources import Source

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
MADE_DAYS = 100
"""Rows without a time are spread over so many days before the day they came."""
HELD_SHARE, SMALL, FEW = 0.2, 1000, 1500
HOURS = 20


@dataclass(frozen=True)
class Sizes:
    """The numbers of a spec that follow from the data."""

    window: timedelta
    holdout: timedelta
    learned: int
    held: int
    hours: int
    base: float
    spread: float
    shares: tuple[float, ...]
    linear: bool
    why: str
    believable: float | None

    @property
    def minimum_rows(self) -> int:
        return min(5000, max(20, self.learned // 4))

    @property
    def gate_rows(self) -> int:
        return min(500, max(20, self.held // 3))

    @property
    def gate_hours(self) -> int:
        return min(HOURS, max(2, self.hours // 3))

    @property
    def bins(self) -> int:
        return min(10, max(2, self.held // 100))

    @property
    def spoken(self) -> float:
        """The Brier score of always answering the base rate, or each class's share; 0 where the answer is a number."""
        if self.shares:
            return 1 - sum(share**2 for share in self.shares)
        return max(0.0, self.base * (1 - self.base))

    @property
    def varied(self) -> float:
        """How much what happened varies around the mean answer, of the class where that is most."""
        return max((share * (1 - share) for share in self.shares), default=self.spoken)

    @property
    def rarest(self) -> int:
        """How many held-out rows are of the rarest class."""
        return int(min(self.shares, default=0.0) * self.held)

    @property
    def class_rows(self) -> int:
        """Held-out rows of a class that can tell something of it."""
        return min(50, max(20, self.rarest // 2))

    @property
    def mean_error(self) -> float:
        """How far the mean of so few answers may be from what happened by chance, three times out of a thousand."""
        chance = 3 * math.sqrt(self.varied / max(1, self.gate_rows))
        return round(min(0.5, max(0.08, chance)), 2)

    @property
    def bin_error(self) -> float:
        chance = 2 * math.sqrt(self.varied * self.bins / max(1, self.gate_rows))
        return round(min(0.5, max(0.1, chance)), 2)


def span(clock: Clock | None, source: Source) -> tuple[datetime, datetime]:
    """From when to when rows happened, or are said to have."""
    if clock is None:
        end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return end - MADE_DAYS * DAY, end
    row = source.connection.execute(
        f"select epoch(min({clock.sql})), epoch(max({clock.sql})) from typed"
    ).fetchone()
    first, last = row or (0, 0)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + timedelta(seconds=first), epoch + timedelta(seconds=last)


def sized(answer: Answer, clock: Clock | None, horizon: timedelta, alone: float, source: Source) -> Sizes:
    """The sizes for an answer; EvergreenError if the newest rows cannot be held out."""
    label = answer.number(answer.facts.place)
    base, spread = _usual(source)
    believable = _believable(answer, clock, alone, label, source)
    if clock is None:
        rows = answer.facts.filled
        share = 0.3 if rows < SMALL else HELD_SHARE
        held = int(rows * share)
        hours = min(held, int(MADE_DAYS * share * 24))
        return _sizes(
            MADE_DAYS * DAY,
            MADE_DAYS * share * DAY,
            (rows - held, held, hours),
            (base, spread),
            believable,
            answer,
        )
    first, last = span(clock, source)
    holdout = _holdout(answer, clock, last, source)
    counted = _split(answer, clock, last - holdout, horizon, source)
    if counted[2] < 2 or min(counted[:2]) < 20:
        raise EvergreenError(
            f"{clock.facts.header!r} has too few different moments to hold the newest rows out ({counted[1]:,} rows of"
            f" {counted[2]} hours); `--time none` holds out a random sample instead"
        )
    return _sizes(last - first, holdout, counted, (base, spread), believable, answer)


def _sizes(
    length: timedelta,
    holdout: timedelta,
    counted: tuple[int, int, int],
    usual: tuple[float, float],
    believable: float | None,
    answer: Answer,
) -> Sizes:
    learned, held, hours = counted
    shares = tuple(count / sum(answer.counts) for count in answer.counts)
    linear = learned < FEW
    why = (
        f"{learned:,} rows are {'few, of which a linear model makes most' if linear else 'enough for trees'}"
    )
    window = DAY * max(365, math.ceil(length / DAY * 1.25) + 1)
    return Sizes(window, holdout, learned, held, hours, usual[0], usual[1], shares, linear, why, believable)


def _usual(source: Source) -> tuple[float, float]:
    """The mean of the answer, and its standard deviation."""
    row = source.connection.execute("select avg(answer), stddev_pop(answer) from judged").fetchone() or (
        0.0,
        1.0,
    )
    return float(row[0]), float(row[1])


def _holdout(answer: Answer, clock: Clock, last: datetime, source: Source) -> timedelta:
    """The stretch of time that holds the newest fifth of the labelled rows, in whole days, hours or minutes."""
    cut = source.one(
        f"select quantile_disc(epoch({clock.sql}), {1 - HELD_SHARE}) from typed where {answer.facts.place} is not null"
    )
    length = last - (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=float(cut or 0)))
    unit = next(unit for unit in (DAY, HOUR, MINUTE) if length >= 2 * unit or unit is MINUTE)
    return unit * max(1, math.ceil(length / unit))


def _split(
    answer: Answer, clock: Clock, cut: datetime, horizon: timedelta, source: Source
) -> tuple[int, int, int]:
    """Rows to learn from, rows to judge by, and the hours in which those lie."""
    at, ahead = cut.timestamp(), horizon.total_seconds()
    row = source.connection.execute(
        f"select count(*) filter (where t < {at}), count(*) filter (where t - {ahead} >= {at}),"
        f" count(distinct floor(t / 3600)) filter (where t - {ahead} >= {at})"
        f" from (select epoch({clock.sql}) as t from typed where {answer.facts.place} is not null)"
    ).fetchone() or (0, 0, 0)
    return int(row[0]), int(row[1]), int(row[2])


def _believable(
    answer: Answer, clock: Clock | None, alone: float, label: str, source: Source
) -> float | None:
    """Above what AUC or r2 a leak is likelier than a good model: far less error than what is plain to see.

    None where the usual bound will do.
    """
    if answer.task == "classification":
        if alone > 0.9 and answer.facts.filled < SMALL:
            return 1.0  # so few rows of such data are told apart by many an honest model
        bound = 1 - (1 - alone) / 20
        return round(min(bound, 0.9999), 4) if bound > 0.99 else None
    if clock is None or answer.task == "multiclass":
        return None
    keys = ", ".join(clock.by)
    part, listed = (f"partition by {keys} ", f"{keys}, ") if keys else ("", "")
    near = source.one(
        "select 1 - sum((x - b) * (x - b)) / nullif(sum((x - m) * (x - m)), 0) from (select x, avg(x) over () as m,"
        f" lag(x) over ({part}order by t) as b from (select {listed}{clock.sql} as t, avg({label}) as x from typed"
        " group by all)) where b is not null"
    )
    bound = 1 - (1 - float(near or 0)) / 200
    return round(bound, 6) if bound > 0.999 else None
