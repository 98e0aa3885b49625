"""What the played card payments promise: the same rows however they land, rare fraud that changes, and late truth."""

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.loop.replay import land, windows
from pipelines.upstream import cards, connect

DAYS = (cards.STORY.end - cards.STORY.begin).days + 1
NAMES = ("card_transactions", "card_outcomes")


@pytest.fixture(scope="module")
def played() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(NAMES) as connection:
        yield connection


def ask(played: duckdb.DuckDBPyConnection, query: str) -> tuple:
    found = played.execute(query).fetchone()
    assert found is not None
    return found


@settings(max_examples=8)
@given(day=st.integers(0, DAYS - 1), before=st.lists(st.integers(0, DAYS - 1), max_size=3))
def test_a_day_is_the_same_whatever_was_asked_before(day: int, before: list[int]) -> None:
    cards._fallen.cache_clear()
    alone = cards.payments(day)
    for other in before:
        cards.payments(other)
    assert len(alone.kind) > 1000
    for name, values in vars(alone).items():
        assert np.array_equal(values, getattr(cards.payments(day), name)), name


def test_days_one_by_one_land_the_rows_of_all_at_once(
    played: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    first, last = date(2018, 5, 1), date(2018, 5, 4)
    for name in NAMES:
        landed = {}
        for every in ("1d", "bulk"):
            landed[every] = []
            for number, (since, until) in enumerate(windows(first, last, every)):
                path = tmp_path / f"{name}_{every}_{number}.csv"
                assert land(played, name, since, until, path)
                with path.open(newline="") as file:
                    landed[every] += list(csv.DictReader(file))
        assert len(landed["bulk"]) > 4000
        assert landed["1d"] == landed["bulk"]


def test_every_payment_has_one_outcome_and_no_truth_comes_before_its_payment_or_after_its_maturity(
    played: duckdb.DuckDBPyConnection,
) -> None:
    rows, paid, early, late = ask(
        played,
        "select count(*), count(t.transaction_id), count(*) filter (o.available_at < o.happened_at + interval 1 day),"
        " count(*) filter (o.available_at > o.happened_at + interval 28 days)"
        " from card_outcomes o left join card_transactions t using (transaction_id, customer_id, terminal_id, amount)",
    )
    assert rows == paid > 500_000
    assert (early, late) == (0, 0)


def test_honest_payments_are_known_at_their_maturity_and_most_frauds_long_before(
    played: duckdb.DuckDBPyConnection,
) -> None:
    honest, frauds, middle = ask(
        played,
        "select count(*) filter (fraud = 0 and available_at <> happened_at + interval 28 days),"
        " count(*) filter (fraud = 1),"
        " median(epoch(available_at) - epoch(happened_at)) filter (fraud = 1) / 86400 from card_outcomes",
    )
    assert honest == 0
    assert frauds > 2000
    assert 5 < middle < 14


def test_fraud_is_rare_in_every_month(played: duckdb.DuckDBPyConnection) -> None:
    shares = played.execute(
        "select avg(fraud) from card_outcomes group by date_trunc('month', happened_at)"
    ).fetchall()
    assert len(shares) == 9
    assert all(0.002 < share < 0.03 for (share,) in shares)


def test_the_fraudsters_change_how_they_go_about_it() -> None:
    early, late = (
        np.concatenate([cards.payments(day).kind for day in days]) for days in (range(60), range(150, 210))
    )
    assert {cards.LARGE, cards.TERMINAL, cards.CUSTOMER} == set(early) - {0}
    assert cards.CARD in set(late)
    above = [np.concatenate([p.amount[p.kind == cards.LARGE] for p in map(cards.payments, days)]) for days in
             (range(60), range(150, 210))]  # fmt: skip
    assert (above[0] > cards.LIMIT).all()
    assert (above[1] > cards.LIMIT).mean() < 0.4
    habits = [cards.Habits(day) for day in range(0, DAYS, 10)]
    assert sorted((h.skimmed for h in habits), reverse=True) == [h.skimmed for h in habits]
    assert habits[-1].factor < habits[0].factor


def test_only_copies_of_cards_are_used_far_from_home() -> None:
    town = cards.town()
    made = cards.payments(200)
    away = np.linalg.norm(town.homes[made.customer] - town.places[made.terminal], axis=1)
    nearest = np.linalg.norm(town.homes[:, None] - town.places[None], axis=2).min(axis=1)
    far = away > np.maximum(cards.RADIUS, nearest[made.customer]) + 1e-6
    assert far.any()
    assert set(made.kind[far]) <= {cards.CARD, cards.TERMINAL}
    assert (made.kind == cards.CARD).any()
