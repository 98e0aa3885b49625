"""The same thing is told once as it opens, again while it lasts or as it rises, and once when it is over."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.places import sqlite_url
from pipelines.prove.servers import postgresql_missing, postgresql_server
from pipelines.stores.watching.alerts import RETRY, Alerts, Telling

START, HOUR = datetime(2013, 4, 1, tzinfo=UTC), timedelta(hours=1)
REMINDER = 24 * HOUR
STEPS = st.one_of(
    st.tuples(st.just("seen"), st.sampled_from("ab"), st.integers(0, 2)),
    st.tuples(st.just("happened"), st.just("c"), st.just(1)),
    st.tuples(st.just("well"), st.sampled_from("ab"), st.just(0)),
    st.tuples(st.just("sweep"), st.just(""), st.just(0)),
)
MINUTES = st.sampled_from([0, 1, 9, 11, 60, 600, 1430, 1441])


@dataclass
class One:
    """The oracle: what one alert is like, by the rules as people would say them."""

    rank: int
    tried: datetime
    heard: int | None = None
    open: bool = True
    lasts: bool = True

    def due(self, now: datetime) -> bool:
        """After a day, or ten minutes after nobody was reached."""
        return now - self.tried >= (RETRY if self.heard is None else REMINDER)


class Oracle:
    def __init__(self) -> None:
        self.known: dict[str, One] = {}

    def seen(self, key: str, rank: int, now: datetime, lasts: bool) -> Telling | None:
        one = self.known.get(key)
        if one is None or (lasts and not one.open):
            self.known[key] = One(rank, now, None, lasts, lasts)
            return Telling.OPENED
        why = None
        if one.heard is None:
            why = Telling.OPENED if one.due(now) else None
        elif lasts:
            why = Telling.RISEN if rank > one.heard else Telling.REMINDED if one.due(now) else None
        one.rank = rank
        return self._told(one, why, now)

    @staticmethod
    def _told(one: One, why: Telling | None, now: datetime) -> Telling | None:
        if why:
            one.tried, one.heard = now, None
        return why

    def well(self, key: str) -> bool:
        one = self.known.get(key)
        was = one is not None and one.open
        if was and one is not None:
            one.open = False
        return was

    def sweep(self, now: datetime) -> set[tuple[Telling, str]]:
        found = set()
        for key, one in self.known.items():
            if one.due(now) and (one.open or (not one.lasts and one.heard is None)):
                why = Telling.OPENED if one.heard is None else Telling.REMINDED
                found.add((why, key))
                self._told(one, why, now)
        return found


@settings(max_examples=60)
@given(st.lists(st.tuples(STEPS, MINUTES, st.booleans()), min_size=1, max_size=25))
def test_whatever_comes_in_whatever_order_is_told_as_the_rules_say(
    steps: list[tuple[tuple[str, str, int], int, bool]],
) -> None:
    """Each telling reaches people, or who was to tell died before."""
    with tempfile.TemporaryDirectory() as folder:
        store, oracle, now = Alerts(sqlite_url(Path(folder) / "a.db"), REMINDER), Oracle(), START
        for (step, key, rank), minutes, reaches in steps:
            now += timedelta(minutes=minutes)
            told: set[tuple[Telling, str]] = set()
            if step in ("seen", "happened"):
                why = store.seen(key, rank, {"n": minutes}, now, step == "seen")
                assert why == oracle.seen(key, rank, now, step == "seen")
                told = {(why, key)} if why else set()
            elif step == "well":
                assert store.is_open(key) == (key in oracle.known and oracle.known[key].open)
                assert (store.over(key, now) is not None) == oracle.well(key)
            else:
                told = {(why, kept.key) for why, kept in store.due(now, 100)}
                assert told == oracle.sweep(now)
            for _, name in told if reaches else ():
                one = oracle.known[name]
                store.told(name, one.rank, now)
                one.tried, one.heard = now, one.rank
        assert {kept.key for kept in store.listed()} == {k for k, one in oracle.known.items() if one.open}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield sqlite_url(tmp_path / "a.db")
        return
    if postgresql_missing() is not None:
        pytest.skip(str(postgresql_missing()))
    with tempfile.TemporaryDirectory(prefix="alerts-") as folder, postgresql_server(Path(folder)) as address:
        yield f"postgresql+psycopg2://evergreen@{address}/postgres"


def test_of_many_who_see_the_same_at_once_one_tells_it(url: str) -> None:
    """Opened, risen, reminded, swept and over: each told by exactly one of eight, each with its own connections."""
    stores = [Alerts(url, REMINDER) for _ in range(8)]
    later = START + 25 * HOUR
    asked = (
        (lambda s: s.seen("k", 1, {}, START), Telling.OPENED, 1, START),
        (lambda s: s.seen("k", 2, {}, START), Telling.RISEN, 2, START),
        (lambda s: s.seen("k", 2, {}, later), Telling.REMINDED, 2, later),
        (lambda s: [why for why, _ in s.due(later + REMINDER, 5)], [Telling.REMINDED], 2, later),
        (lambda s: s.over("k", later) is not None, True, 2, later),
        (lambda s: s.seen("k", 0, {}, later), Telling.OPENED, 0, later),
        (lambda s: s.seen("once", 0, {}, later, False), Telling.OPENED, 0, later),
    )
    with ThreadPoolExecutor(8) as pool:
        for ask, told, rank, at in asked:
            assert [said for said in pool.map(ask, stores) if said] == [told]
            stores[0].told("k", rank, at)
    [kept] = stores[0].listed()
    assert (kept.key, kept.count, kept.rank) == ("k", 8, 0)


def test_before_anybody_was_told_anything_nothing_is_open_and_no_table_is_made(tmp_path: Path) -> None:
    store = Alerts(sqlite_url(tmp_path / "a.db"), REMINDER)
    assert not store.is_open("k")
    assert (tmp_path / "a.db").stat().st_size == 0
