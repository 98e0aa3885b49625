"""The promise of serving, held small on a world that exists; and that it would be seen if it were broken."""

from pathlib import Path

import pytest

from pipelines.prove import serving
from pipelines.prove.promotion.world import World
from pipelines.prove.servers import redis_missing
from pipelines.prove.serving.server import Reply
from tests.champions import copied, crowned


@pytest.fixture
def world(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    return copied(crowned(tmp_path_factory), tmp_path / "home")


@pytest.mark.timeout(300)
def test_under_load_nothing_fails_and_nothing_is_lost_whatever_goes_away(world: World) -> None:
    wanted = [] if redis_missing() else ["Redis"]
    proof = serving.prove(4, 1, 0.5, 0, lambda _: None, world=world, servers=wanted)
    assert proof.holds, proof.failures
    assert len(proof.rows) == 3 + len(serving.OUTAGES) + 3 * len(wanted)
    assert min(row["asked"] for row in proof.rows) >= serving.ENOUGH


def test_a_request_that_failed_an_answer_that_is_lost_and_one_of_no_version_break_it(world: World) -> None:
    good = Reply(3, 200, {"prediction_id": "x", "version": 1, "probability": 0.5}, 0.01)
    assert serving._failed("now", [good, Reply(4, 503, {}, 0.01)]) == ["1 requests failed now: 503 {}"]
    assert serving._failed("now", []) == ["nobody asked anything now"]
    assert serving._not_logged(world, [good]) == [good]
    assert not serving._is_one_versions(good, {1: {3: 0.25}, 2: {3: 0.5}})
    assert serving._is_one_versions(good, {1: {3: 0.5}})
    late = Reply(3, 200, {"version": 1}, 0.01, at=9.0)
    moved = [(1.0, 2), (10.0, 1)]
    assert serving._back([Reply(2, 200, {"version": 2}, 0.01, at=5.0), late], moved) == [late]
    assert serving._back([late, Reply(2, 200, {"version": 2}, 0.01, at=8.995)], moved) == []
    assert serving._back([late], moved) == []
