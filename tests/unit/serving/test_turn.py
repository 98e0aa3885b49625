"""As many questions go together as take about one turn, however long a call and each row take; nobody waits alone."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.serving import lane as lanes
from pipelines.serving.lane import LEAST, MOST, STEP, Lane

TURN = 0.1


@given(call=st.floats(0.0005, 0.3), row=st.floats(0.0001, 0.05), held=st.booleans())
def test_so_many_go_together_as_take_a_turn_and_one_that_was_held_up_changes_that_for_a_while_only(
    call: float, row: float, held: bool
) -> None:
    lane = Lane(1, 1.0, TURN)
    if held:
        lane._took(1, 30.0)
        assert lane.most == MOST
        lane._took(LEAST, 30.0)
        assert lane.most == LEAST
    for _ in range(60):
        lane._took(lane.most, call + lane.most * row)
    took = call + lane.most * row
    assert LEAST <= lane.most <= MOST
    assert took <= TURN or lane.most == LEAST
    assert lane.most == MOST or took * (lane.most + STEP) / lane.most > TURN * 0.8 or lane.most == LEAST
    lane.close()


def asked_by(clients: int, enough: Callable[[list[int]], bool], begin: Callable[[Lane], None]) -> list[int]:
    """How many were answered at once each time, by clients that ask again when they have been answered."""
    sizes: list[int] = []

    def together(questions: Sequence[Any]) -> Sequence[Any]:
        sizes.append(len(questions))
        return questions

    async def client(lane: Lane) -> None:
        while not enough(sizes):
            await lane.ask(together, "what?")

    async def run() -> None:
        lane = Lane(1, 60.0)
        begin(lane)
        asking = [asyncio.ensure_future(client(lane)) for _ in range(clients)]
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        for each in asking:
            each.cancel()
        lane.close()

    asyncio.run(run())
    return sizes


def patiently(patched: pytest.MonkeyPatch) -> None:
    """Who was just answered is waited for as long as it takes."""
    patched.setattr(lanes, "LINGER", 1e9)
    patched.setattr(lanes, "LONGEST", 1e9)


@pytest.mark.parametrize("clients", [1, 2, 7])
def test_clients_that_wait_for_their_answers_are_answered_all_at_once(
    clients: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    patiently(monkeypatch)
    sizes = asked_by(clients, lambda sizes: len(sizes) >= 9, lambda lane: None)
    assert len(sizes) == 9
    assert sizes[0] == 1
    assert set(sizes[2:]) == {clients}


def test_who_does_not_come_back_is_not_waited_for_long() -> None:
    assert asked_by(1, lambda sizes: len(sizes) >= 3, lambda lane: lane._expect(8, 1.0)) == [1, 1, 1]


def test_as_many_as_go_together_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    patiently(monkeypatch)

    def crowded(lane: Lane) -> None:
        lane.most = LEAST
        lane._expect(10 * MOST, 1.0)

    assert asked_by(LEAST, lambda sizes: len(sizes) >= 3, crowded) == [LEAST] * 3
