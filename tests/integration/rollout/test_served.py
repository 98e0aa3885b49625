"""A rollout from the gate's PASS to champion, with the real registry, keys, log and server."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipelines.catalog import Rollout
from pipelines.prove.promotion.world import World
from pipelines.rollout import moves
from pipelines.rollout.look import ADVANCED, PROMOTED, look
from pipelines.serving.app import create_app
from pipelines.serving.schemas import example
from pipelines.stores import Stores
from pipelines.stores.audit.permits import PERMIT
from tests.champions import copied, crowned
from tests.integration.serving.worlds import FeatureTable, wait

PLAN = {"steps": [{"share": 0, "bake": "1m"}, {"share": 0.5, "bake": "1m"}], "by": ["tailnum"], "minimum": 10}


@pytest.fixture
def world(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    return copied(crowned(tmp_path_factory), tmp_path / "home")


def test_a_version_is_shadow_then_canary_then_champion_and_a_forged_permit_is_nothing(world: World) -> None:
    stores = world.stores
    spec = world.spec.model_copy(update={"rollout": Rollout.model_validate(PLAN)})
    quick = stores.settings.model_copy(update={"serving_poll_seconds": 0.02})
    app = create_app(
        quick, {spec.name: spec}, stores.tracking, FeatureTable(), stores.predictions, None, stores.tracking,
        stores.comparisons,
    )  # fmt: skip
    with TestClient(app, raise_server_exceptions=False) as client:
        status: Callable[[], dict[str, Any]] = lambda: client.get(f"/v1/models/{spec.name}").json()  # noqa: E731

        def asked(many: int) -> set[int]:
            body, versions = example(spec), set()
            for number in range(many):
                body["entities"]["tailnum"] = f"N{number}"
                reply = client.post(f"/v1/models/{spec.name}/predictions", json=body)
                assert reply.status_code == 200, reply.text
                versions.add(reply.json()["version"])
            return versions

        wait(lambda: status()["version"] == 2)
        now = datetime.now(UTC)
        moves.begin(spec, 1, stores, now)
        wait(lambda: status()["challenger"] == 1)
        assert asked(20) == {2}
        running = moves.current(spec.name, stores)
        assert running is not None
        wait(lambda: stores.comparisons.count(running.rollout, running.since) >= 10)
        now += timedelta(minutes=1)
        assert look(spec, stores, now).outcome == ADVANCED
        wait(lambda: status()["challenger_share"] == 0.5)
        assert asked(20) == {1, 2}

        good = stores.tracking.version(spec.name, 1).tags[PERMIT]
        stores.tracking.tag(spec.name, 1, {PERMIT: good.replace('"share": 0.5', '"share": 1.0')})
        wait(lambda: status()["challenger"] is None)
        assert asked(20) == {2}
        moves.settle(spec, stores)
        wait(lambda: status()["challenger"] == 1)

        found = look(spec, stores, now)  # counts what was asked since the step began, which is a minute ahead
        assert found.questions == 0
        _as_if_asked(stores, running.rollout, now)
        assert look(spec, stores, now + timedelta(minutes=1)).outcome == PROMOTED
        wait(lambda: status()["version"] == 1)
        assert asked(5) == {1}
        assert status()["challenger"] is None


def _as_if_asked(stores: Stores, rollout: str, now: datetime) -> None:
    """What was compared, again in a later step."""
    for number, batch in enumerate(stores.comparisons.batches(rollout)):
        stores.comparisons.record(replace(batch, batch=f"again {number}", asked_at=now), [])
