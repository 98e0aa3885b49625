"""Rules of `evergreen prove promotion`: it holds for what we do, and does not for what one might have done."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.prove import promotion
from pipelines.prove.promotion.world import World
from pipelines.stores.tracking.registry import CHAMPION
from tests.champions import copied, crowned


def careless(world: World, number: int) -> None:
    """A writer that moves the alias in two steps, and is always killed between them."""
    tracking, model = world.stores.tracking, world.spec.name
    tracking.client.delete_registered_model_alias(model, CHAMPION)
    (world.home / f"ready.{number}").touch()
    signal.pause()


def ungated(world: World, number: int) -> None:
    """A writer that makes any version champion."""
    world.stores.tracking.set_alias(world.spec.name, CHAMPION, world.refused[number % 2])
    (world.home / f"ready.{number}").touch()
    signal.pause()


@pytest.fixture
def make(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], World]:
    """Makes a deployment in a folder, by copying the tests' one; how long a rollback takes is not asked of many."""
    monkeypatch.setattr(promotion, "ROLLBACKS", 8)
    monkeypatch.setattr(promotion, "AFTER", 20)
    made = crowned(tmp_path_factory)
    return lambda folder: copied(made, folder)


def test_whoever_is_killed_readers_see_one_champion(make: Callable[[Path], World]) -> None:
    proof = promotion.prove(6, 60, 0, lambda text: None, make=make)
    assert proof.failures == []
    (row,) = proof.rows
    assert (row["kills"], row["torn"], row["without champion"], row["ungated"]) == (6, 0, 0, 0)
    assert row["reads"] >= 60


def test_a_move_in_two_steps_and_a_version_that_never_passed_are_seen(make: Callable[[Path], World]) -> None:
    for work, kind in ((careless, "without champion"), (ungated, "ungated")):
        proof = promotion.prove(2, 30, 0, lambda text: None, work, make)
        assert not proof.holds
        assert proof.rows[0][kind] > 0
