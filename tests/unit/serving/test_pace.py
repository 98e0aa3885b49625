"""How long a call takes is learned from calls: so much for it, and so much for each row."""

import random

from hypothesis import given
from hypothesis import strategies as st

from pipelines.serving.lane import CALL, MOST, ROW, Pace

SECONDS = st.floats(0.0005, 0.2)


@given(call=SECONDS, row=SECONDS, seed=st.integers(0, 9))
def test_after_some_calls_it_knows_what_a_call_and_a_row_take(call: float, row: float, seed: int) -> None:
    pace, chance = Pace(), random.Random(seed)  # noqa: S311 - no secret
    for _ in range(300):
        rows = chance.randint(1, MOST)
        pace.saw(rows, call + rows * row)
    for rows in (1, 10, MOST):
        assert abs(pace.of(rows) / (call + rows * row) - 1) < 0.05


@given(
    seen=st.lists(st.tuples(st.integers(1, MOST), st.floats(0, 30)), max_size=50), rows=st.integers(0, 900)
)
def test_whatever_it_saw_more_rows_never_take_less_and_nothing_takes_less_than_no_time(
    seen: list[tuple[int, float]], rows: int
) -> None:
    pace = Pace()
    for each in seen:
        pace.saw(*each)
    assert 0 <= pace.of(rows) <= pace.of(rows + 1)


def test_calls_of_one_row_alone_do_not_make_many_rows_look_like_many_calls() -> None:
    pace = Pace()
    for _ in range(10_000):
        pace.saw(1, CALL + ROW)
    assert pace.of(32) < 4 * pace.of(1)
