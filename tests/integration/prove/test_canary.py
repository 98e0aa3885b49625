"""The promise of rollouts, held small; and that it would be seen if it were broken."""

import numpy as np
import pytest

from pipelines.prove import canary
from pipelines.prove.canary import worlds
from pipelines.prove.canary.worlds import World, drawn
from pipelines.rollout import evidence


def test_equal_challengers_stay_and_sick_ones_are_taken_back_soon() -> None:
    proof = canary.prove(canaries=60, looks=200, questions=10_000, seed=0, say=lambda _: None)
    assert proof.holds, proof.failures
    assert len(proof.rows) == len(canary.EQUAL) + len(canary.SICK)
    by = {row["challenger"]: row["by"] for row in proof.rows}
    assert "latency" in by["2.5 times as slow"]
    assert "loss" in by["the same, agreement not judged"]


def test_a_test_that_counts_every_look_as_new_evidence_breaks_the_promise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the naive z-test does: as if each look were the only one."""

    def hasty(limit: float, hits: np.ndarray) -> np.ndarray:
        count = np.arange(1, len(hits) + 1)
        z = (np.cumsum(hits) - limit * count) / np.sqrt(count * limit * (1 - limit))
        return np.where(z > 1.645, 100.0, 0.0)

    monkeypatch.setattr(evidence, "share_above", hasty)
    assert not canary.prove(20, 200, 5_000, 0, lambda _: None).holds


def test_a_world_is_what_it_says() -> None:
    chance = np.random.default_rng(0)
    world = drawn(World(0.01, 0.05, times=2.5), 200_000, chance)
    assert world.compared.other.mean() == pytest.approx(0.01 * 0.95, rel=0.1)
    assert world.compared.alone.mean() == pytest.approx(0.05 * 0.99, rel=0.1)
    assert np.nanmedian(world.compared.times) == pytest.approx(2.5, rel=0.05)
    assert len(world.lost.excess) == 200_000 // worlds.HOUR
    bursts = drawn(World(0.02, 0.02, burst=4), 200_000, chance).compared
    assert bursts.alone.mean() == pytest.approx(0.02, rel=0.15)
    limits = drawn(World(at_the_limit=True), 200_000, chance)
    assert limits.lost.excess.mean() == pytest.approx(worlds.LIMITS.loss, abs=0.005)
    assert limits.compared.differ.mean() == pytest.approx(worlds.LIMITS.disagreement, rel=0.05)
