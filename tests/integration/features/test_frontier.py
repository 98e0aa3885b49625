"""Rules of how far a training may ask: never beyond its features, nor before they hold what has landed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from pipelines import catalog
from pipelines.contracts import BatchState, IngestResult, Waiting
from pipelines.features.frontier import frontier
from pipelines.loop import steps
from pipelines.stores import Stores
from pipelines.stores.feature_store.views import ViewVersion

END = datetime(2013, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MODEL = catalog.model("flight_delays").model_copy(update={"features": ("delays:*",)})
SQL = "-- look_back: 1 hours\nselect * from flights join weather using (origin)"


@pytest.fixture
def view(stores: Stores) -> ViewVersion:
    return stores.features.registered.register("delays", "d" * 64, SQL, "{}")


def land(stores: Stores, dataset: str, known: datetime) -> IngestResult:
    name = f"{dataset}_{known:%Y%m%dT%H}.csv"
    batch = IngestResult(
        name.ljust(64, "0"), dataset, name, BatchState.COMMITTED, 5, 5, first_known=known, last_known=known
    )
    stores.ledger.record(batch)
    return batch


def test_features_that_were_never_computed_are_waited_for(stores: Stores, view: ViewVersion) -> None:
    with pytest.raises(Waiting, match="never computed; run `evergreen features compute`"):
        frontier(MODEL, END, stores)


def test_a_training_asks_as_of_what_its_features_have_reached(stores: Stores, view: ViewVersion) -> None:
    """What landed for after that moment is no reason to wait, or one would wait for ever where data never stops."""
    stores.progress.mark(view.consumer, [], END - 2 * HOUR)
    land(stores, "flights", END - HOUR)
    assert frontier(MODEL, END, stores) == END - 2 * HOUR


def test_a_landed_batch_that_features_have_not_counted_is_waited_for_by_name(
    stores: Stores, view: ViewVersion
) -> None:
    """Flights landed first, and features were computed from them alone; then came the weather of the same days."""
    flights = land(stores, "flights", END - 3 * HOUR)
    stores.progress.mark(view.consumer, [flights.arrival], END)
    assert frontier(MODEL, END, stores) == END
    weather = land(stores, "weather", END - 9 * HOUR)
    with pytest.raises(
        Waiting, match=r"1 landed batches are not in the features of delays.*weather_20130228T15"
    ):
        frontier(MODEL, END, stores)
    stores.progress.mark(view.consumer, [weather.arrival], END)
    assert frontier(MODEL, END, stores) == END


@pytest.mark.parametrize("asks", [steps.plan, steps.search, steps.monitor])
def test_training_search_and_monitor_wait_alike(
    asks: Callable[[str], object], stores: Stores, view: ViewVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "model", lambda name: MODEL)
    newest = land(stores, "flights", END)
    stores.progress.mark(view.consumer, [newest.arrival], END)
    land(stores, "weather", END - timedelta(days=30))
    with pytest.raises(Waiting, match="not in the features of delays yet"):
        asks(MODEL.name)


def test_what_no_view_of_the_model_reads_is_not_waited_for(stores: Stores, view: ViewVersion) -> None:
    stores.progress.mark(view.consumer, [], END)
    land(stores, "departures", END - HOUR)
    assert frontier(MODEL, END, stores) == END
    without = MODEL.model_copy(update={"features": ()})
    assert frontier(without, END + HOUR, stores) == END + HOUR
