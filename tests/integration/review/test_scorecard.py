"""Rules of the scorecard on real homes: what was really done has its point, and without its record it has none."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.promotion import champions
from pipelines.promotion.promote import override
from pipelines.review.scorecard import card, data, infrastructure, monitoring
from pipelines.review.scorecard.evidence import Scene
from pipelines.review.scorecard.outcomes import Outcomes
from pipelines.settings import PROJECT
from pipelines.stores import Stores
from pipelines.stores.answers.predictions import Prediction
from tests.champions import copied, crowned
from tests.once import copied_home

NAME = "flight_delays"


@pytest.fixture
def scene(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A home of which version 2 is champion by its gate, after a person had rolled back to it."""
    world = copied(crowned(tmp_path_factory), tmp_path / "home")
    return _looked_at(world.stores)


def _looked_at(stores: Stores) -> Scene:
    from pipelines import catalog

    return Scene(catalog.model(NAME), stores, stores, datetime.now(UTC), PROJECT, Outcomes(PROJECT))


def test_a_champion_that_passed_counts_until_its_record_is_gone_or_changed(scene: Scene) -> None:
    assert infrastructure.validated(scene).points == 1
    record = scene.stores.settings.home / "decisions" / NAME / "2.json"
    text = record.read_text()
    for spoiled in (text.replace('"rows"', '"row"'), None):
        record.write_text(spoiled) if spoiled else record.unlink()
        found = infrastructure.validated(_looked_at(scene.stores))
        assert (found.points, "without a record" in found.said) == (0, True)


def test_a_champion_by_a_persons_override_was_not_validated(
    scene: Scene, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = crowned(tmp_path_factory)
    assert override(world.spec, 3, scene.stores, datetime.now(UTC), "to see").promoted
    found = infrastructure.validated(_looked_at(scene.stores))
    assert found.points == 0
    assert "3" in found.said


def test_a_rollback_by_a_person_is_half_a_point_and_names_them(scene: Scene) -> None:
    found = infrastructure.rolled_back(scene)
    assert found.points == 0.5
    assert "prove: a person" in found.said


def test_a_version_that_answered_only_once_it_was_champion_was_no_canary(scene: Scene) -> None:
    begun = next(t.since for t in champions.tenures(NAME, scene.stores) if t.version == 2)
    for key, at, points in (
        ("late", begun + timedelta(seconds=1), 0.0),
        ("early", begun - timedelta(seconds=1), 1.0),
    ):
        asked = Prediction(key, NAME, 2, "d", {}, {}, {}, 0.5, 0.5, False, at, None)
        scene.stores.predictions.record(asked)
        assert infrastructure.canaried(scene).points == points


def test_an_answer_that_leads_nowhere_is_not_debuggable(scene: Scene) -> None:
    asked = Prediction("p", NAME, 9, "d", {}, {}, {}, 0.5, 0.5, False, datetime.now(UTC), None)
    scene.stores.predictions.record(asked)
    found = infrastructure.debuggable(scene)
    assert found.points == 0
    assert found.said.startswith("p: ")


def test_landed_files_and_computed_views_count_until_they_are_old(computed: Stores, tmp_path: Path) -> None:
    copied_home(computed.settings.home, tmp_path)
    scene = _looked_at(Stores(computed.settings.model_copy(update={"home": tmp_path})))
    for check in (data.schema, monitoring.invariants):
        found = check(scene)
        assert found.points == 1, found
        assert found.at is not None
        assert card._aged(found, found.at + timedelta(days=31), card.WITHIN).points == 0
    assert monitoring.fresh(scene).said == "there is no champion"
    assert data.quick(scene).points == 0


def test_the_command_prints_all_of_it_and_changes_nothing(scene: Scene) -> None:
    home = scene.stores.settings.home
    kept = {k: v for k, v in os.environ.items() if not k.startswith("EVERGREEN_")}

    def ran(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "scorecard", *words], cwd=PROJECT, capture_output=True, text=True,
            check=False, env=kept | {"EVERGREEN_HOME": str(home)},
        )  # fmt: skip

    versions = scene.stores.features.registered.versions()
    told = json.loads(ran(NAME, "--json").stdout)
    points = {(row["section"], row["number"]): row["points"] for row in told["items"]}
    assert len(points) == 28
    assert points["infrastructure", 4] == points["monitoring", 5] == points["model", 5] == 1
    assert points["infrastructure", 7] == 0.5
    assert told["score"] == min(told["sections"].values())
    assert all(row["remedy"] for row in told["items"] if row["points"] < 1)
    assert scene.stores.features.registered.versions() == versions
    wrong = ran(NAME, "--within", "soon")
    assert wrong.returncode == 1
    assert "no duration" in wrong.stderr or "not a duration" in wrong.stderr
