"""As many questions go together as take about one turn, however long a call and each row take."""

from hypothesis import given
from hypothesis import strategies as st

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
