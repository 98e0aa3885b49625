"""Rules of lineage: every view names its files and its consumers, and what breaks without it is told."""

import json

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.contracts import EvergreenError
from pipelines.record.lineage import Broken, facts, impact
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import Version
from tests.integration.conftest import AS_OF


@pytest.fixture
def tracked(computed: Stores, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """The January home with a champion that was trained on two of the views."""
    tags = {"feature_views": json.dumps({"carrier_delays": 1, "aircraft": 1})}
    made = Version("flight_delays", 4, "run", "d" * 64, AS_OF, "source", tags)
    tracking = type(computed.tracking)
    its = {(made.model, "champion"): made}
    monkeypatch.setattr(tracking, "versions", lambda self, model: [made] if model == made.model else [])
    monkeypatch.setattr(tracking, "aliased", lambda self, model, alias: its.get((model, alias)))
    monkeypatch.setattr(tracking, "inputs", lambda *_: ["carrier", "carrier_delays__late_share_3h"])
    return computed


def test_every_view_names_its_owner_its_files_and_its_consumers(tracked: Stores) -> None:
    found = {view.name: view for view in facts(tracked)}
    assert set(found) == set(tracked.features.current)
    assert all(view.owner and view.description and view.entities and view.sources for view in found.values())
    [departures] = found["carrier_delays"].sources
    assert (departures.dataset, departures.files) == ("departures", 12)
    assert departures.newest == "departures_20130112T0000_20130113T0000.csv"
    assert found["carrier_delays"].models == ("flight_delays",)
    assert found["carrier_delays"].model_versions == ("flight_delays@4",)
    assert found["origin_weather"].model_versions == ()
    assert found["carrier_delays"].computed_to == found["carrier_delays"].online_to == AS_OF


def test_the_impact_of_a_feature_reaches_models_versions_and_endpoints(tracked: Stores) -> None:
    found = impact("feature:carrier_delays:late_share_3h", tracked)
    assert [(b.kind, b.name) for b in found] == [
        ("model", "flight_delays"),
        ("version", "flight_delays@4"),
        ("endpoint", "/v1/models/flight_delays/predictions"),
    ]
    assert "champion" in found[1].why


def test_a_version_that_was_not_trained_on_a_feature_does_not_break(tracked: Stores) -> None:
    kinds = [broken.kind for broken in impact("feature:carrier_delays:late_share_7d", tracked)]
    assert kinds == ["model"]


def test_the_impact_of_a_dataset_goes_through_its_views(tracked: Stores) -> None:
    found = impact("dataset:departures", tracked)
    views = [broken.name for broken in found if broken.kind == "view"]
    assert views == ["aircraft_rotation", "carrier_delays", "origin_congestion", "origin_hours"]
    assert (
        Broken("endpoint", "/v1/models/flight_delays/predictions", "answers with carrier_delays missing")
        in found
    )


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("feature:nothing", "there are: aircraft"),
        ("feature:aircraft:wings", "it has: engines, seats, year"),
        ("aircraft", "feature:VIEW"),
        ("dataset:nothing", "no dataset named"),
    ],
)
def test_what_does_not_exist_is_named_with_what_does(tracked: Stores, target: str, told: str) -> None:
    with pytest.raises(EvergreenError, match=told):
        impact(target, tracked)


def test_the_command_lists_the_views(tracked: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.cli.features.settings", lambda: tracked.settings)
    answer = CliRunner().invoke(app, ["features", "--json"])
    assert answer.exit_code == 0, answer.output
    assert [view["name"] for view in json.loads(answer.stdout)] == list(tracked.features.current)
    table = CliRunner().invoke(app, ["features"])
    assert "departures: 12 files" in table.stdout
    assert "used by flight_delays" in table.stdout
