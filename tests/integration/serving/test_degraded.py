"""Rules of answers that lack what their model needs: they say so by its spec, and a store that is gone is an error."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from pipelines.catalog.degraded_spec import Degraded
from pipelines.serving.app import create_app
from pipelines.serving.served import GONE, NOTHING, judged
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.feature_store.online_values import Online
from tests.integration.conftest import AS_OF
from tests.integration.serving.worlds import COME, SPEC, Models, Version, World, wait

KNOWN = {"carrier": "UA", "origin": "EWR", "dest": "IAH", "tailnum": "N14228"}
NOW = {
    "scheduled_departure": (AS_OF + timedelta(hours=2)).isoformat(),
    "scheduled_arrival": (AS_OF + timedelta(hours=5)).isoformat(),
}


class Even:
    """A model of all features that says the same of everything."""

    def __init__(self, features: list[str]) -> None:
        self.feature_names_in_ = [*SPEC.entities, *SPEC.request, *features]

    def predict_proba(self, rows: Any) -> Any:
        return np.full((len(rows), 2), 0.5)


@pytest.fixture
def real(counted: Stores) -> Iterator[World]:
    """An app that reads the features of real flights."""
    even = Even(counted.features.feature_names(SPEC))
    views = {view: version.number for view, version in counted.features.current.items()}
    models = Models(Version(1, "one", views=views), {1: even})
    quick = Settings(_env_file=None, home=counted.settings.home, serving_poll_seconds=0.02)
    app = create_app(quick, {SPEC.name: SPEC}, models, counted.features, counted.predictions)
    with TestClient(app, raise_server_exceptions=False) as client:
        made = World(app, client, models, counted.features, counted)  # type: ignore[arg-type]
        wait(lambda: made.serving() == 1)
        yield made


def test_a_store_that_was_there_and_is_gone_is_an_error_until_it_is_back(real: World) -> None:
    whole = real.ask(**KNOWN, **NOW).json()
    assert (whole["degraded"], whole["warnings"]) == (False, [])
    assert len(whole["missing_features"]) < 10
    errors = real.metric("evergreen_feature_errors_total")
    file = real.stores.settings.home / "feast" / "online.db"
    away = file.rename(file.with_name("away.db"))
    lost = real.ask(**KNOWN, **NOW).json()
    assert lost["degraded"]
    assert lost["warnings"][0].startswith(GONE)
    assert "origin_weather" in lost["warnings"][0]
    assert len(lost["missing_features"]) == 47
    assert real.metric("evergreen_feature_errors_total") == errors + 1
    logged = real.stores.predictions.get(lost["prediction_id"])
    assert logged is not None
    assert logged.degraded
    away.rename(file)
    again = real.ask(**KNOWN, **NOW).json()
    assert (again["degraded"], again["missing_features"]) == (False, whole["missing_features"])
    assert real.metric("evergreen_feature_errors_total") == errors + 1


@pytest.mark.parametrize(
    "odd",
    [
        {"scheduled_departure": "2019-01-10T14:00:00Z", "scheduled_arrival": "2019-01-10T17:00:00Z"},
        {"carrier": "ua", "origin": "ewr", "dest": "iah"},
        {"origin": "ewr"},
    ],
    ids=["years later", "codes in lower case", "one code in lower case"],
)
def test_who_asks_what_hardly_anything_is_known_of_is_told(real: World, odd: dict[str, str]) -> None:
    """An aircraft is known for ever, so some features are there."""
    answer = real.ask(**{**KNOWN, **NOW, **odd}).json()
    assert 24 <= len(answer["missing_features"]) < 47
    assert answer["degraded"]
    assert f"{len(answer['missing_features'])} of 47 features are missing" in answer["warnings"][0]
    assert real.metric("evergreen_degraded_answers_total", model=SPEC.name) == 1
    assert real.metric("evergreen_feature_errors_total") == 0


NAMES = [f"{view}__{feature}" for view in ("rain", "wind") for feature in "abc"]


@given(
    given=st.lists(st.booleans(), min_size=6, max_size=6),
    share=st.sampled_from([0.25, 0.5, 1.0]),
    required=st.lists(st.sampled_from(["rain:*", "wind:a", "wind:*", "snow:*"]), unique=True),
)
def test_the_specs_rule_alone_says_which_answers_are_degraded(
    given: list[bool], share: float, required: list[str]
) -> None:
    spec = SPEC.model_copy(update={"degraded": Degraded(missing=share, required=tuple(required))})
    values = {name: 1.0 if there else None for name, there in zip(NAMES, given, strict=True)}
    found = judged(spec, NAMES, Online(values, dict(COME)), None)
    lacks = {
        "rain:*": not any(given[:3]),
        "wind:*": not any(given[3:]),
        "wind:a": not given[3],
        "snow:*": False,  # an older version that does not take it does not need it
    }
    wanted = given.count(False) >= 6 * share or any(lacks[name] for name in required)
    assert found.degraded == wanted
    assert (found.reason == NOTHING) == (not any(given))
    assert not found.broken


def test_a_view_of_which_nothing_is_online_is_told_whatever_the_others_have() -> None:
    values = dict.fromkeys(NAMES, 1.0)
    found = judged(SPEC, NAMES, Online(values, {"rain": None, "wind": {"version": 1}}), None)
    assert (found.degraded, found.broken, found.reason) == (True, True, f"{GONE}: rain")
    assert not judged(SPEC, NAMES, Online(values, {"wind": {"version": 1}}), None).broken
