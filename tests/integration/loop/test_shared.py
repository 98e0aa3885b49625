"""Rules of two models over the same data: what they share is made once, and neither waits for the other."""

from datetime import timedelta

import pandas as pd
import pytest

from pipelines import catalog
from pipelines.features import compute
from pipelines.features.frontier import frontier
from pipelines.features.watermark import watermark
from pipelines.monitoring.policy import new_batches
from pipelines.stores import Stores
from pipelines.stores.feature_store.health import Health
from pipelines.training import training_set
from tests.integration.conftest import AS_OF
from tests.integration.features.test_watermark import landed

FLIGHTS, HOURS = (catalog.model(name) for name in ("flight_delays", "airport_hours"))
SHARED = sorted({*FLIGHTS.features_by_view} & {*HOURS.features_by_view})


def test_a_view_of_two_models_is_computed_once_and_tells_both_the_same(counted: Stores) -> None:
    """The flights asked about on the full hour meet the airports' hours asked about at that moment."""
    assert SHARED == ["origin_congestion", "origin_weather"]
    sets = [training_set.build(spec, AS_OF, counted) for spec in (FLIGHTS, HOURS)]
    for view in SHARED:
        runs = [each for each in Health(counted.settings.database).history(view, 10) if each.rows]
        assert len(runs) == 1, view
        table = f"features/{counted.features.version(view).table}"
        assert sets[0].versions[table] == sets[1].versions[table]
    flights, hours = (pd.read_parquet(made.path) for made in sets)
    met = flights.merge(hours, on=["origin", "event_timestamp"], suffixes=("", "_hours"))
    assert len(met) > 100
    names = [name for name in hours if name.startswith(tuple(f"{view}__" for view in SHARED))]
    assert len(names) > 15
    for name in names:
        pd.testing.assert_series_equal(met[name], met[f"{name}_hours"], check_names=False)


def test_a_training_waits_for_the_datasets_of_its_own_model_alone(flown: Stores) -> None:
    """Departures and weather go on for a day; the outcomes of flights do not arrive."""
    late = flown.ledger.watermark("flights")
    for name in HOURS.datasets:
        landed(flown, name, late + timedelta(hours=20))
    compute.compute(None, flown)
    known = {}
    for spec in (FLIGHTS, HOURS):
        needed = [catalog.dataset(name) for name in spec.datasets]
        known[spec.name] = frontier(spec, watermark(flown, needed, spec.training.patience), flown)
    assert known["airport_hours"] == late + timedelta(hours=20)
    assert known["flight_delays"] <= late


def test_what_one_model_has_learned_from_is_still_new_to_the_other(counted: Stores) -> None:
    other = HOURS.model_copy(update={"name": "another"})
    mine = new_batches(HOURS, AS_OF, counted)
    assert mine
    counted.progress.mark(f"model:{HOURS.name}", [batch.arrival for batch in mine], AS_OF)
    assert new_batches(HOURS, AS_OF, counted) == ()
    assert new_batches(other, AS_OF, counted) == mine


@pytest.mark.parametrize("known", [AS_OF, AS_OF - timedelta(days=2, hours=7, minutes=20)])
def test_an_hour_is_no_label_before_its_truth_is_known(counted: Stores, known: object) -> None:
    """The hours of the last day have flights in silver, and some of them have not left."""
    rows = training_set.labels(HOURS, known, counted)
    assert len(rows) > 200
    assert rows["label_known_at"].max() <= pd.Timestamp(known)
    assert rows["hour"].max() == pd.Timestamp(known).floor("h") - timedelta(days=1)
