"""What a process used is parted between its answers and the rest, without remainder and without anything twice."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from pipelines.serving.accounts.account import Account, Taken, Whose
from pipelines.serving.accounts.bookkeeper import Bookkeeper
from pipelines.serving.metrics import Metrics, _without_the_dead
from pipelines.stores.watching.costs import SERVE, SERVE_IDLE, Figure

SECONDS = st.integers(0, 1000).map(lambda each: each / 64)  # sums of these are exact
TURN = st.tuples(st.just("turn"), st.sampled_from("ab"), st.integers(1, 2), st.integers(1, 9), SECONDS)
STEPS = st.lists(
    st.tuples(SECONDS, st.sampled_from([("enter",), ("leave",), ("taken",)]) | TURN), max_size=40
)


@dataclass
class Clocks:
    """What passes as the test says."""

    cpu: float = 0.0
    wall: float = 0.0
    own: float = 0.0

    def account(self) -> Account:
        return Account(None, lambda: self.cpu, lambda: self.wall, lambda: self.own)


@dataclass
class Plain:
    """The same rule over a list of all that passed."""

    passed: list[tuple[float, bool]] = field(default_factory=list)
    turns: list[tuple[Whose, int, float]] = field(default_factory=list)
    asked: int = 0

    def taken(self) -> tuple[dict[Whose, Taken], float]:
        busy = sum(cpu for cpu, answered in self.passed if answered)
        idle = sum(cpu for cpu, answered in self.passed if not answered)
        waits = not self.turns and self.asked > 0
        if not self.turns and not waits:
            busy, idle = 0.0, idle + busy
        found: dict[Whose, Taken] = {}
        whole = sum(seconds for _, _, seconds in self.turns) or sum(rows for _, rows, _ in self.turns)
        timed = any(seconds for _, _, seconds in self.turns)
        for whose, rows, seconds in self.turns:
            part = (seconds if timed else rows) / whole
            found.setdefault(whose, Taken()).add(Taken(1, rows, seconds, busy * part))
        self.passed, self.turns = [(busy, True)] if waits else [], []
        return found, idle


@given(STEPS)
def test_models_share_what_passed_while_somebody_was_answered_by_the_seconds_of_their_turns(
    steps: list[tuple[float, Any]],
) -> None:
    clocks, plain = Clocks(), Plain()
    account = clocks.account()
    told = 0.0
    for seconds, (what, *more) in [*steps, (0.0, ("taken",))]:
        clocks.cpu += seconds
        clocks.wall += 2 * seconds
        plain.passed.append((seconds, plain.asked > 0))
        if what == "enter":
            account.enter()
            plain.asked += 1
        elif what == "leave" and plain.asked:
            account.leave()
            plain.asked -= 1
        elif what == "turn":
            model, version, rows, took = more
            account.turned(model, {version: (1, rows)}, took)
            plain.turns.append(((model, version), rows, took))
        elif what == "taken":
            answers, idle = account.taken()
            expected, rest = plain.taken()
            assert answers.keys() == expected.keys()
            for whose, each in answers.items():
                assert (each.requests, each.rows, each.wall) == (
                    expected[whose].requests,
                    expected[whose].rows,
                    expected[whose].wall,
                )
                assert each.cpu == pytest.approx(expected[whose].cpu)
            assert idle.cpu == pytest.approx(rest)
            told += idle.cpu + sum(each.cpu for each in answers.values())
    assert told + sum(cpu for cpu, _ in plain.passed) == pytest.approx(clocks.cpu)


def test_before_anybody_asks_all_is_idle_from_the_first_moment_of_the_process() -> None:
    account = Account(0.0, lambda: 7.0, lambda: 0.0)
    assert account.taken() == ({}, Taken(cpu=7.0))


def test_what_loads_a_model_meanwhile_is_no_answers() -> None:
    clocks = Clocks()
    account = clocks.account()
    account.enter()
    with account.beside():
        clocks.cpu, clocks.own = 8.0, 5.0
    account.turned("m", {1: (1, 1)}, 1.0)
    account.leave()
    answers, idle = account.taken()
    assert (answers["m", 1].cpu, idle.cpu) == (3.0, 5.0)


def test_what_loads_while_nobody_asks_takes_nothing_from_the_answers() -> None:
    clocks = Clocks()
    account = clocks.account()
    with account.beside():
        clocks.cpu = clocks.own = 5.0
    account.enter()
    clocks.cpu = 6.0
    account.turned("m", {1: (1, 1)}, 1.0)
    account.leave()
    answers, idle = account.taken()
    assert (answers["m", 1].cpu, idle.cpu) == (1.0, 5.0)


def test_a_load_that_was_told_in_the_middle_is_made_up_for_and_nothing_is_told_twice() -> None:
    clocks = Clocks()
    account, told = clocks.account(), []
    account.enter()
    with account.beside():
        clocks.cpu = clocks.own = 4.0
        account.turned("m", {1: (1, 1)}, 1.0)
        told.append(account.taken())
        clocks.cpu, clocks.own = 6.0, 5.0
    account.turned("m", {1: (1, 1)}, 1.0)
    told.append(account.taken())
    clocks.cpu = 16.0
    account.turned("m", {1: (1, 1)}, 1.0)
    told.append(account.taken())
    answers = [found["m", 1].cpu for found, _ in told]
    assert sum(answers) == 16.0 - 5.0
    assert sum(answers) + sum(idle.cpu for _, idle in told) == 16.0
    assert all(idle.cpu >= 0 for _, idle in told)


@dataclass
class Keeping:
    """A database of costs that fails as it is told, and then says or does not say whether it took them."""

    failures: list[Exception] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    def __call__(self, figures: Sequence[Figure]) -> None:
        if self.failures:
            raise self.failures.pop()
        self.figures += figures


def books(kept: Keeping) -> tuple[Account, Bookkeeper, Clocks]:
    clocks = Clocks()
    account = clocks.account()
    return account, Bookkeeper(account, Metrics(), ["a", "b"], kept), clocks


def answered(account: Account, clocks: Clocks, model: str, cpu: float, rows: int = 1) -> None:
    account.enter()
    clocks.cpu += cpu
    account.turned(model, {3: (1, rows)}, cpu)
    account.leave()


def test_what_could_not_be_kept_is_kept_with_what_comes_later_once() -> None:
    kept = Keeping([OperationalError("", None, Exception("locked")), ConnectionError()])
    account, thread, clocks = books(kept)
    for _ in range(4):
        answered(account, clocks, "a", 2.0, rows=5)
        clocks.cpu += 1.0
        thread.tell()
        thread.keep()
    answers = [each for each in kept.figures if each.stage == SERVE]
    assert [(each.subject, each.version, each.runs, each.rows, each.cpu) for each in answers] == [
        ("a", 3, 3, 15, 6.0),
        ("a", 3, 1, 5, 2.0),
    ]
    idle = [each for each in kept.figures if each.stage == SERVE_IDLE]
    assert [(each.runs, each.cpu, set(each.parts)) for each in idle] == [
        (0, 3.0, {"a", "b"}),
        (0, 1.0, {"a", "b"}),
    ]
    assert all(each.peak for each in kept.figures)


def test_what_may_have_been_kept_is_not_kept_again() -> None:
    broken = OperationalError("", None, Exception("gone"), connection_invalidated=True)
    kept = Keeping([broken])
    account, thread, clocks = books(kept)
    for _ in range(2):
        answered(account, clocks, "b", 2.0)
        thread.tell()
        thread.keep()
    assert [each.cpu for each in kept.figures if each.stage == SERVE] == [2.0]


def test_memory_of_a_process_that_has_ended_is_told_no_more(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid in (os.getpid(), ended.pid):
        for name in ("gauge_livesum", "counter", "gauge_mostrecent"):
            (tmp_path / f"{name}_{pid}.db").touch()
    _without_the_dead(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert f"gauge_livesum_{ended.pid}.db" not in left
    assert len(left) == 5


def test_prometheus_is_told_the_same_and_each_model_begins_at_nothing() -> None:
    account, metrics, clocks = Account(0.0, lambda: clocks.cpu), Metrics(), Clocks()
    metrics.watch("b")
    thread = Bookkeeper(account, metrics, ["a", "b"], None)
    for _ in range(3):
        answered(account, clocks, "a", 2.0)
        clocks.cpu += 0.5
        thread.tell()
    said = metrics.registry.get_sample_value
    assert said("evergreen_answer_cpu_seconds_total", {"model": "a"}) == 6.0
    assert said("evergreen_answer_cpu_seconds_total", {"model": "b"}) == 0.0
    assert said("evergreen_idle_cpu_seconds_total") == 1.5
    assert (said("evergreen_resident_memory_bytes") or 0) > 1e6
