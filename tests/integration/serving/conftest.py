"""An app that serves, with a real fitted pipeline."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipelines.models.flight_delays.estimator import build
from pipelines.serving.app import create_app
from pipelines.settings import Settings
from pipelines.stores import Stores
from tests.integration.serving.worlds import SPEC, FeatureTable, Models, Version, World, flights, wait


@pytest.fixture(scope="module")
def pipeline() -> Any:
    """The model's own pipeline, fitted on 400 made-up flights."""
    rows = flights()
    return build({"max_iter": 20, "min_samples_leaf": 5}).fit(rows, rows.distance > 1500)


@pytest.fixture
def empty(stores: Stores) -> Iterator[World]:
    """The app as it starts before any model was trained."""
    models, features = Models(), FeatureTable()
    quick = Settings(_env_file=None, home=stores.settings.home, serving_poll_seconds=0.02)
    app = create_app(quick, {SPEC.name: SPEC}, models, features, stores.predictions)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield World(app, client, models, features, stores)


@pytest.fixture
def world(empty: World, pipeline: Any) -> World:
    """The app with version 1 as champion."""
    empty.models.loads = {1: pipeline}
    empty.models.alias = Version(1, "one")
    wait(lambda: empty.serving() == 1)
    return empty
