"""The promises about features, small: they hold, and each of them can fail."""

from typing import Any

import pytest

from pipelines.catalog import model
from pipelines.features import leakage, view_rows
from pipelines.prove.features import as_of, materialization, parity
from pipelines.prove.features.as_of import Scene


def quiet(_: str) -> None:
    """Nobody looks on."""


def test_training_rows_do_not_know_the_future() -> None:
    proof = as_of.prove("flight_delays", rows=400, steps=3, seed=3, say=quiet)
    assert proof.holds, proof.failures
    assert proof.rows[0]["number"] == 400
    assert sum(row.get("refused") == "yes" for row in proof.rows) >= 6


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Real rows in a deployment that knows them all; views are not checked, which is not what is asked here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(leakage, "check", lambda *_: None)
        return as_of.staged(model("flight_delays"), tmp_path_factory.mktemp("scene"), 200, 3, quiet)


def test_a_world_in_which_corrections_are_seen_too_early_is_found_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_rows.Silver, "corrections", lambda *_: [])
    monkeypatch.setattr(leakage, "check", lambda *_: None)
    rows, failures = as_of.as_it_became_known(scene, 3, 3, quiet)
    assert rows[0]["know the future"] > 0
    assert any("with hindsight" in failure for failure in failures)


def test_a_check_that_lets_leaks_through_is_found_out(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "compare", lambda *_: None)
    _, failures = as_of.planted(scene, quiet)
    assert any("was not refused" in failure for failure in failures)


def test_serving_and_training_see_the_same() -> None:
    proof = parity.prove("flight_delays", lookups=600, steps=3, seed=5, say=quiet)
    assert proof.holds, proof.failures
    assert sum(row["look-ups"] for row in proof.rows if "canary" not in row["view"]) >= 600


def test_a_parity_that_sees_no_difference_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def same(*_: Any) -> bool:
        return True

    monkeypatch.setattr("pipelines.features.parity._same", same)
    proof = parity.prove("flight_delays", lookups=50, steps=1, seed=5, say=quiet)
    assert any("canary" in failure for failure in proof.failures)


def test_the_newest_value_is_online_whatever_the_order_of_windows() -> None:
    proof = materialization.prove(keys=200, windows=20, seed=2, say=quiet)
    assert proof.holds, proof.failures
