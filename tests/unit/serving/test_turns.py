"""When a version begins to answer in some processes: once all have it, in all from the same moment on."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.serving.workers import turns
from pipelines.serving.workers.turns import Together

NAMES = ("one", "two", "three")
STEPS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 3)), min_size=1, max_size=12)


@given(steps=STEPS)
def test_a_version_is_agreed_on_exactly_when_all_have_offered_it_last(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("turns")
    processes = {name: Together(folder, name) for name in NAMES}
    offered: dict[str, int] = {}
    turn = None
    for name, version in steps:
        processes[name].offer("m", version)
        offered[name] = version
        if len(offered) == len(NAMES) and set(offered.values()) == {version}:
            turn = version
        assert processes[name].agreed("m", version) is (turn == version)
        for each in processes.values():
            assert each.told("m", version) is (turn == version)


def test_nobody_waits_for_a_process_that_has_ended(tmp_path: Path) -> None:
    one, two = Together(tmp_path, "one"), Together(tmp_path, "two")
    one.offer("m", 2)
    assert not one.agreed("m", 2)
    two._held.close()
    assert one.agreed("m", 2)
    assert not (tmp_path / "two.loaded").exists()


def test_nobody_waits_for_ever_for_one_that_does_not_load_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _two = Together(tmp_path, "one"), Together(tmp_path, "two")
    one.offer("m", 2)
    assert not one.agreed("m", 2)
    monkeypatch.setattr(turns, "PATIENCE", 0.0)
    assert one.agreed("m", 2)


def test_models_take_their_turns_apart(tmp_path: Path) -> None:
    one = Together(tmp_path, "one")
    one.offer("m", 2)
    one.offer("n", 5)
    assert one.agreed("m", 2)
    assert not one.told("n", 5)
    assert one.agreed("n", 5)
    assert one.told("m", 2)
