"""Card payments with rare fraud that changes, and truth that comes weeks late: made up, from a seed.

After the simulator described in "Reproducible Machine Learning for Credit Card Fraud Detection - Practical Handbook"
(Le Borgne, Siblini, Lebichot, Bontempi; Université Libre de Bruxelles, 2022; fraud-detection-handbook.github.io):
customers and terminals on a square of 100, a customer pays within RADIUS of home, so many times a day (Poisson), at a
normal time around noon, a normal amount about a mean of their own. Its three kinds of fraud: amounts above LIMIT,
terminals that are compromised for 28 days, customers of whose payments a third cost five times as much for 14 days.

Two things are added. The fraudsters learn (`Habits`), and truth is late: a fraud is reported days to weeks after, and
a payment of which nobody complained counts as honest MATURITY after it was made.

Each day is drawn from the seed and its own number, so a day's rows are the same whatever is asked beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.upstream import Story

STORY = Story(begin=date(2018, 4, 1), opening=date(2018, 8, 31), end=date(2018, 12, 31))
SEED, CUSTOMERS, TERMINALS = 2018, 1000, 2000
SIDE, RADIUS, LIMIT, DAY = 100, 5, 220, 86_400
MATURITY = 28 * DAY
SEEN_AFTER = 60
"""Seconds until a payment is in the stream that features are made of."""
COMPROMISED = {"terminals": (0.4, 28), "customers": (0.6, 14), "cards": (0.4, 7)}
"""How many more fall into the fraudsters' hands on a day, on average, and for how many days."""
LARGE, TERMINAL, CUSTOMER, CARD = 1, 2, 3, 4
Numbers = NDArray[Any]


@dataclass(frozen=True)
class Habits:
    """What the fraudsters do on a day of the story, counted from 0; they change over months, as they are found out."""

    day: int

    @property
    def hidden(self) -> float:
        """The share of large amounts that are brought below the limit: none for two months, nine in ten after five."""
        return _slope(self.day, 60, 150, 0.0, 0.9)

    @property
    def line(self) -> float:
        """Below which amount they are brought."""
        return _slope(self.day, 60, 180, LIMIT, 130)

    @property
    def skimmed(self) -> float:
        """The share of a compromised terminal's payments that are fraud."""
        return _slope(self.day, 90, 180, 1.0, 0.5)

    @property
    def factor(self) -> float:
        """How many times too much a compromised customer pays."""
        return _slope(self.day, 60, 150, 5.0, 2.5)

    @property
    def cloned(self) -> bool:
        """Whether copies of cards are used far from their owners' homes: a kind of fraud that was not there before."""
        return self.day >= 75


def _slope(day: int, begin: int, end: int, before: float, after: float) -> float:
    return float(np.interp(day, [begin, end], [before, after]))


@dataclass(frozen=True)
class Town:
    """Who pays where: homes, means and rates of customers, places of terminals, and which are near whom.

    The terminals near customer n are `near[first[n]:first[n + 1]]`.
    """

    homes: Numbers
    means: Numbers
    rates: Numbers
    places: Numbers
    near: Numbers
    first: Numbers


@lru_cache(maxsize=1)
def town() -> Town:
    draw = np.random.default_rng(SEED)
    homes, places = draw.uniform(0, SIDE, (CUSTOMERS, 2)), draw.uniform(0, SIDE, (TERMINALS, 2))
    away = np.linalg.norm(homes[:, None] - places[None], axis=2)
    customer, terminal = np.nonzero(away < np.maximum(RADIUS, away.min(axis=1) + 1e-9)[:, None])
    first = np.concatenate([[0], np.cumsum(np.bincount(customer, minlength=CUSTOMERS))])
    return Town(
        homes, draw.uniform(5, 100, CUSTOMERS), draw.uniform(0, 4, CUSTOMERS), places, terminal, first
    )


@dataclass(frozen=True)
class Payments:
    """A day's payments: seconds since the day began, amounts, the kind of fraud (0: none), seconds until it is told."""

    customer: Numbers
    terminal: Numbers
    second: Numbers
    amount: Numbers
    kind: Numbers
    told_after: Numbers

    def at(self, rows: Numbers) -> "Payments":
        """These rows, in this order."""
        return Payments(*(getattr(self, field.name)[rows] for field in fields(self)))


def payments(day: int) -> Payments:
    """All payments of a day of the story, in order of time."""
    draw, habits = np.random.default_rng([SEED, day]), Habits(day)
    drawn = _joined(_honest(draw), _cloned(draw, day, habits))
    made = drawn.at(np.argsort(drawn.second, kind="stable"))
    _large(made, draw, habits)
    _at_terminals(made, draw, day, habits)
    _of_customers(made, draw, day, habits)
    np.minimum(made.told_after, MATURITY, out=made.told_after)
    made.told_after[made.kind == 0] = MATURITY
    return Payments(**{**vars(made), "amount": np.round(made.amount, 2)})


def _honest(draw: np.random.Generator) -> Payments:
    customer = np.repeat(np.arange(CUSTOMERS), draw.poisson(town().rates))
    count = town().first[customer + 1] - town().first[customer]
    terminal = town().near[town().first[customer] + (draw.random(len(customer)) * count).astype("int64")]
    return _paid(customer, terminal, 0, draw)


def _cloned(draw: np.random.Generator, day: int, habits: Habits) -> Payments:
    """Copies of cards are used three times a day at any terminal, for what their owners usually pay."""
    cards = _held("cards", day) if habits.cloned else np.empty(0, "int64")
    customer = np.repeat(cards, draw.poisson(3, len(cards)))
    return _paid(customer, draw.integers(0, TERMINALS, len(customer)), CARD, draw)


def _paid(customer: Numbers, terminal: Numbers, kind: int, draw: np.random.Generator) -> Payments:
    """Payments at a time around noon, of an amount about the customer's mean; what falls out of the day is not made."""
    count, mean = len(customer), town().means[customer]
    second = draw.normal(DAY / 2, 20_000, count).astype("int64")
    amount = draw.normal(mean, mean / 2)
    amount = np.where(amount < 0, draw.uniform(0, 2 * mean), amount) + 0.01
    told = DAY + (draw.gamma(2.0, 4.0, count) * DAY).astype("int64")
    made = Payments(customer, terminal, second, amount, np.full(count, kind), told)
    return made.at(np.flatnonzero((second > 0) & (second < DAY)))


def _joined(one: Payments, other: Payments) -> Payments:
    pairs = ((getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    return Payments(*(np.concatenate(pair) for pair in pairs))


def _large(made: Payments, draw: np.random.Generator, habits: Habits) -> None:
    """Whatever is above the limit is fraud; later the fraudsters take less, and are as many."""
    large = (made.amount > LIMIT) & (made.kind == 0)
    made.kind[large] = LARGE
    hidden, below = draw.random(len(large)) < habits.hidden, draw.uniform(0.8, 1.0, len(large))
    made.amount[large & hidden] = (habits.line * below)[large & hidden]


def _at_terminals(made: Payments, draw: np.random.Generator, day: int, habits: Habits) -> None:
    skimmed = draw.random(len(made.kind)) < habits.skimmed
    made.kind[np.isin(made.terminal, _held("terminals", day)) & skimmed] = TERMINAL


def _of_customers(made: Payments, draw: np.random.Generator, day: int, habits: Habits) -> None:
    third = draw.random(len(made.kind)) < 1 / 3
    misused = np.isin(made.customer, _held("customers", day)) & third & (made.kind == 0)
    made.kind[misused] = CUSTOMER
    made.amount[misused] *= habits.factor


def _held(what: str, day: int) -> Numbers:
    """Which terminals, customers or cards are in the fraudsters' hands on a day."""
    lasts = COMPROMISED[what][1]
    return np.unique(
        np.concatenate([_fallen(what, each) for each in range(max(0, day - lasts + 1), day + 1)])
    )


@lru_cache(maxsize=4096)
def _fallen(what: str, day: int) -> Numbers:
    """Which fall into their hands on a day."""
    draw = np.random.default_rng([SEED, day, list(COMPROMISED).index(what) + 1])
    size = TERMINALS if what == "terminals" else CUSTOMERS
    return draw.choice(size, draw.poisson(COMPROMISED[what][0]), replace=False)


def tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the tables card_customers, card_terminals, card_transactions and card_outcomes."""
    days = (STORY.end - STORY.begin).days + 1
    made = pa.concat_tables(_rows(day) for day in range(days))
    connection.register("card_rows", made)
    connection.execute("""
        CREATE TABLE card_transactions AS
        SELECT transaction_id, customer_id, terminal_id, happened_at, amount, seen_at AS available_at FROM card_rows;
        CREATE TABLE card_outcomes AS
        SELECT transaction_id, customer_id, terminal_id, happened_at, fraud, amount, told_at AS available_at
        FROM card_rows
    """)
    for name, letter, places in (("customer", "C", town().homes), ("terminal", "T", town().places)):
        connection.register(f"card_{name}_rows", pa.table(dict(_places(name, letter, places))))
        connection.execute(f"CREATE TABLE card_{name}s AS FROM card_{name}_rows")


def _rows(day: int) -> pa.Table:
    """A day's payments as a table, each with when it was seen and when its truth was told."""
    made, began = payments(day), _seconds(STORY.begin + timedelta(days=day))
    happened = began + made.second
    return pa.table({
        "transaction_id": (day + 1) * 1_000_000 + np.arange(len(happened)),
        "customer_id": _names("C", made.customer), "terminal_id": _names("T", made.terminal),
        "happened_at": _times(happened), "amount": made.amount, "fraud": (made.kind > 0).astype("int64"),
        "seen_at": _times(happened + SEEN_AFTER), "told_at": _times(happened + made.told_after),
    })  # fmt: skip


def _places(name: str, letter: str, places: Numbers) -> Iterator[tuple[str, Any]]:
    known = _times(np.full(len(places), _seconds(STORY.begin)))
    yield f"{name}_id", _names(letter, np.arange(len(places)))
    yield "x", np.round(places[:, 0], 2)
    yield "y", np.round(places[:, 1], 2)
    yield "registered_at", known
    yield "available_at", known


def _names(letter: str, numbers: Numbers) -> pa.Array:
    return _all_names(letter).take(pa.array(numbers))


@lru_cache(maxsize=2)
def _all_names(letter: str) -> pa.Array:
    return pa.array([f"{letter}{number:05d}" for number in range(max(CUSTOMERS, TERMINALS))])


def _seconds(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())


def _times(seconds: Numbers) -> pa.Array:
    return pa.array(seconds * 1_000_000, pa.timestamp("us", "UTC"))
