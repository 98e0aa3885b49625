"""Rules of how far features are computed: each view waits for its own datasets, and for no other."""

from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from pipelines import catalog
from pipelines.contracts import Batch, BatchState, IngestResult
from pipelines.features import compute, view_rows
from pipelines.features.frontier import uncounted
from pipelines.features.watermark import behind, reachable, sources
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.loop.replay import replay
from pipelines.prove.worlds import sandbox
from pipelines.stores import Stores
from pipelines.stores.feature_store.views import ViewVersion
from pipelines.stores.tables import silver_schema
from tests.integration.conftest import AS_OF

DIGEST = "f" * 64
NAMES = ["carrier_delays__mean_departure_delay_24h"]
ASKED = {"carrier": "UA", "origin": "EWR"}


@pytest.fixture
def flown(flown: Stores) -> Stores:
    """January, without the views' suites: what is asked here is how far, not how good."""
    return sandbox(flown.settings.home)


def landed(stores: Stores, dataset: str, known: datetime) -> None:
    """A batch of which the ledger says that its last row was known then."""
    stores.ledger.see(Batch(DIGEST, dataset, "more.csv", 1))
    times = {"first_known": known, "last_known": known}
    stores.ledger.record(IngestResult(DIGEST, dataset, "more.csv", BatchState.COMMITTED, 1, 1, **times))


def test_a_dataset_that_nobody_reads_holds_back_nothing(flown: Stores) -> None:
    """Weather goes on for days: the views of weather go with it, those of flights stay with flights."""
    schema, later = silver_schema(catalog.dataset("weather")), AS_OF + timedelta(days=20)
    row = dict.fromkeys(schema.names) | {"origin": "EWR", "temp": 99.0, "_batch": DIGEST, "_line": 2}
    row |= {"observed_at": later - timedelta(hours=1), "available_at": later}
    flown.tables.append("silver", "weather", pa.Table.from_pylist([row], schema), DIGEST)
    landed(flown, "weather", later)
    run = compute.compute(None, flown)
    reached = {v.view: flown.progress.reached(v.consumer) for v in flown.features.current.values()}
    assert run.as_of == reached["origin_weather"] == later
    flights = flown.ledger.watermark("flights")
    assert flights - timedelta(hours=1) < reached["route_punctuality"] <= flights
    assert run.rows["origin_weather"] > 0
    assert run.rows["route_punctuality"] > 0


def test_a_view_says_which_of_its_datasets_it_waits_for_and_goes_on_after_a_while(flown: Stores) -> None:
    late = flown.ledger.watermark("departures")
    landed(flown, "flights", late + timedelta(days=5))
    both = [v for v in flown.features.current.values() if {"flights", "departures"} <= set(v.sources)]
    assert both
    assert {reachable(v, flown, timedelta(days=30)) for v in both} == {late}
    assert behind(flown, sources(both[0]), late) == {"departures": late}
    assert {reachable(v, flown, timedelta(hours=36)) for v in both} == {late + timedelta(days=5, hours=-36)}
    waiting = compute._waiting(dict.fromkeys(both, late), flown)
    assert all("departures" in why and "flights" not in why for why in waiting.values())


def test_a_view_of_which_nothing_ever_landed_can_be_asked_and_costs_nothing(stores: Stores) -> None:
    landed(stores, "weather", AS_OF)
    version = stores.features.version("carrier_delays")
    assert reachable(version, stores, timedelta(hours=36)) == AS_OF
    compute.catch_up(version, AS_OF, stores, print)
    assert stores.tables.version("features", version.table) is not None
    assert compute.pending(version, AS_OF + timedelta(days=9), stores.ledger.batches(), stores) == ([], {})
    compute.catch_up(version, AS_OF + timedelta(days=9), stores, print)
    assert stores.progress.reached(version.consumer) == AS_OF + timedelta(days=9), "no training waits for it"
    assert set(stores.features.online(NAMES, ASKED).values.values()) == {None}


def test_what_lands_first_is_fresh_although_another_models_data_are_years_later(stores: Stores) -> None:
    version = stores.features.version("carrier_delays")
    compute.catch_up(version, AS_OF + timedelta(days=2000), stores, print)
    list(replay("flight_delays", date(2013, 1, 1), date(2013, 1, 2), "bulk", stores.settings.landing_path))
    assert all(ingest_dataset(catalog.dataset(name), stores) for name in ("flights", "departures"))
    last = reachable(version, stores, timedelta(hours=36))
    compute.catch_up(version, last, stores, print)
    assert stores.progress.reached(version.consumer) == last < AS_OF
    found = stores.features.online(NAMES, ASKED, last).values
    assert found["carrier_delays__mean_departure_delay_24h"] is not None


@pytest.mark.parametrize(
    "moment", ["before a view asks how far", "between that and its rows", "after its rows"]
)
def test_what_lands_while_features_are_computed_is_counted_whole_or_left_to_the_next_run(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A view that counts a batch holds all of it: else training would take features that end before it does."""
    stores = sandbox(stores.settings.home)
    reading = [v for v in stores.features.current.values() if {"flights", "departures"} <= set(v.sources)]
    assert reading
    monkeypatch.setattr(compute, "live", lambda _: reading)
    list(replay("flight_delays", date(2013, 1, 1), date(2013, 1, 7), "bulk", stores.settings.landing_path))
    assert ingest_dataset(catalog.dataset("flights"), stores)
    asked, rows = compute.reachable, view_rows.rows

    def arrive() -> None:
        if not stores.ledger.batches(dataset="departures"):
            assert ingest_dataset(catalog.dataset("departures"), stores)

    def reachable_then(version: ViewVersion, *args: Any) -> datetime:
        if moment == "before a view asks how far":
            arrive()
        last = asked(version, *args)
        if moment == "between that and its rows":
            arrive()
        return last

    def rows_then(*args: Any) -> pa.Table:
        made = rows(*args)
        if moment == "after its rows":
            arrive()
        return made

    monkeypatch.setattr(compute, "reachable", reachable_then)
    monkeypatch.setattr(view_rows, "rows", rows_then)
    compute.compute(None, stores)
    assert stores.ledger.batches(dataset="departures"), "it landed while the run went on"
    late = {
        str(v)
        for v in reading
        if not uncounted(v, stores.ledger.batches(), stores)
        and stores.progress.reached(v.consumer) < asked(v, stores, compute.PATIENCE)
    }
    assert not late
