"""The promises about features' time and parity, small: they hold, and each of them can fail."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.catalog import model
from pipelines.features import leakage, view_rows
from pipelines.prove.features import as_of, parity
from pipelines.prove.features.as_of import Scene
from pipelines.prove.features.parity import Life
from tests.hurried import few_rules


def quiet(_: str) -> None:
    """Nobody looks on."""


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Real rows in a deployment that knows them all; its views are not checked: that is asked of planted ones."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(leakage, "check", lambda *_: None)
        few_rules(patched)
        return as_of.staged(model("flight_delays"), tmp_path_factory.mktemp("scene"), 600, 3, quiet)


@pytest.fixture
def scene(staged: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """The scene, with a folder of its own for what is tried beside it."""
    few_rules(monkeypatch)
    return replace(staged, home=tmp_path)


def test_training_rows_do_not_know_the_future(scene: Scene) -> None:
    proof = as_of.held(scene, steps=2, seed=3, say=quiet)
    assert proof.holds, proof.failures
    assert proof.rows[0]["number"] == 600
    assert sum(row.get("refused") == "yes" for row in proof.rows) >= 6


def test_a_world_in_which_corrections_are_seen_too_early_is_found_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_rows.Silver, "corrections", lambda *_: [])
    rows, failures = as_of.as_it_became_known(scene, 2, 3, quiet)
    assert rows[0]["know the future"] > 0
    assert any("with hindsight" in failure for failure in failures)


def test_a_check_that_lets_leaks_through_is_found_out(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "compare", lambda *_: None)
    _, failures = as_of.planted(scene, quiet)
    assert any("was not refused" in failure for failure in failures)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A deployment and what it logged; whether its rows and views are good is not what is asked here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(leakage, "check", lambda *_: None)
        few_rules(patched)
        return parity.lived(model("flight_delays"), tmp_path_factory.mktemp("life"), 400, 2, 5, quiet)


def test_serving_and_training_see_the_same(life: Life) -> None:
    proof = parity.held(life, 400, 5, quiet)
    assert proof.holds, proof.failures
    assert sum(row["look-ups"] for row in proof.rows if "canary" not in row["view"]) >= 400


def test_a_parity_that_sees_no_difference_is_found_out(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    def same(*_: Any) -> bool:
        return True

    monkeypatch.setattr("pipelines.features.parity._same", same)
    monkeypatch.setattr(parity, "KINDS", parity.KINDS[:1])
    proof = parity.held(replace(life, log=life.log[:5]), 0, 5, quiet)
    assert [failure.partition(",")[0] for failure in proof.failures] == ["canary"]
