"""The promises about features, small: they hold, and each of them can fail."""

from typing import Any

import pytest

from pipelines.features import leakage, view_rows
from pipelines.prove.features import as_of, materialization, parity


def quiet(_: str) -> None:
    """Nobody looks on."""


def test_training_rows_do_not_know_the_future() -> None:
    proof = as_of.prove("flight_delays", rows=400, steps=3, seed=3, say=quiet)
    assert proof.holds, proof.failures
    assert proof.rows[0]["number"] == 400
    assert sum(row.get("refused") == "yes" for row in proof.rows) >= 6


def test_a_world_in_which_corrections_are_seen_too_early_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(view_rows.Silver, "corrections", lambda *_: [])
    monkeypatch.setattr(leakage, "check", lambda *_: None)
    proof = as_of.prove("flight_delays", rows=400, steps=3, seed=3, say=quiet)
    assert not proof.holds
    assert any("with hindsight" in failure for failure in proof.failures)


def test_a_check_that_lets_leaks_through_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "compare", lambda *_: None)
    monkeypatch.setattr(view_rows.Silver, "corrections", lambda *_: [])  # quicker, and not what is asked here
    proof = as_of.prove("flight_delays", rows=150, steps=2, seed=1, say=quiet)
    assert any("was not refused" in failure for failure in proof.failures)


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
