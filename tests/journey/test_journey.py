"""One row's way: real Airflow, real files, and an answer from the model that learned from them."""

import io
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from rich.console import Console

from pipelines import catalog
from pipelines.cli import tour
from pipelines.features.silver import connect
from pipelines.local import supervisor
from pipelines.local.rest import Airflow
from pipelines.loop.replay import replay
from pipelines.prove.servers import free_port
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores

DATA = PROJECT / "tests" / "data"
MODEL, OTHER = "flight_delays", "retrain_airport_hours"
"""The model whose way is followed, and one that learns from the same files."""
HUSHED = (
    (
        {f"{kind}_{name}" for kind in ("retrain", "monitor") for name in catalog.models()}
        | {f"ingest_{name}" for name in catalog.datasets()}
    )
    - {f"ingest_{name}" for name in catalog.model(MODEL).datasets}
    - {f"retrain_{MODEL}", f"monitor_{MODEL}", OTHER}
)
"""What other models do is not asked here."""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """Airflow, MLflow and serving, running on free ports; ended afterwards."""
    ports = {f"{name}_port": free_port() for name in ("airflow", "mlflow", "serving")}
    settings = Settings(_env_file=None, home=tmp_path_factory.mktemp("journey"), **ports)
    try:
        looks = hushed(settings)
        supervisor.start(settings, lambda _: next(looks, None))
        yield Stores(settings)
    finally:
        ended = supervisor.stop(settings)
        assert len(ended) in {0, 6}


def hushed(settings: Settings) -> Iterator[None]:
    """Looks at Airflow that pause each DAG of these as soon as it is known."""
    left = set(HUSHED)
    while left:
        yield
        with suppress(OSError):  # it does not answer yet
            airflow = Airflow(settings)
            for dag in left & {*airflow.dags()}:
                airflow.pause(dag, True)
                left.remove(dag)


def until(condition: Callable[[], object], stores: Stores, seconds: float = 480) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(
                f"not within {seconds} s; {tour.reached(stores, MODEL)}; logs in {stores.settings.home / 'logs'}"
            )
        time.sleep(0.5)


def page(airflow: Airflow, path: str, known: bool = True) -> str:
    """A page of ours in Airflow's UI, as its admin sees it or as a stranger does."""
    headers = {"Authorization": f"Bearer {airflow.token}"} if known else {}
    with urllib.request.urlopen(urllib.request.Request(airflow.base + path, None, headers)) as reply:
        return reply.read().decode()


def test_before_anything_landed_serving_says_that_there_is_no_champion(stores: Stores) -> None:
    with pytest.raises(tour.EvergreenError, match=r"503.*no champion"):
        tour.post(stores.settings, tour.example(catalog.model(MODEL), {}), MODEL)


def test_landed_files_become_a_served_model_by_themselves(stores: Stores) -> None:
    landing = stores.settings.landing_path
    list(replay(MODEL, date(2013, 1, 1), date(2013, 1, 31), "bulk", landing))
    airflow, told = Airflow(stores.settings), io.StringIO()
    with tour.undisturbed(catalog.model(MODEL), stores.settings, Console(file=told, width=200)):
        assert airflow.dags()[OTHER]
        until(lambda: tour.serving_version(stores.settings, MODEL) == 1, stores)
    assert OTHER in told.getvalue()
    assert not airflow.dags()[OTHER]
    airflow.pause(OTHER, True)  # what another model learns is not asked here
    assert stores.tracking.champion(MODEL).version == 1
    until(lambda: not list(landing.glob("*.csv")), stores)


def test_one_row_is_found_again_from_file_to_prediction(stores: Stores) -> None:
    """The newest flight: in the archive as landed, in silver once, in the answer's log with its features."""
    spec, source = catalog.model(MODEL), catalog.dataset("flights")
    (request, *_) = tour.newest(spec, stores, 1)
    entities = request["entities"]
    archived = list((stores.settings.home / "archive" / "flights").glob("*.csv"))
    assert archived
    departure = request["request"]["scheduled_departure"]
    lines = [
        line
        for line in archived[0].read_text().splitlines()
        if departure in line and entities["tailnum"] in line
    ]
    assert len(lines) == 1
    connection = connect(stores, [source], stores.ledger.watermark("flights"))
    found = connection.execute(
        "select count(*) from flights where tailnum = ? and scheduled_departure = ?",
        [entities["tailnum"], departure.rstrip("Z")],
    ).fetchone()
    assert found == (1,)
    answer = tour.post(stores.settings, request, MODEL)
    assert 0 < answer["probability"] < 1
    logged = stores.predictions.get(answer["prediction_id"])
    assert logged.version == 1
    assert set(logged.features) == set(stores.features.feature_names(spec))
    assert logged.features["origin_congestion__departures_3h"] is not None


def test_the_monitor_writes_evidentlys_report(stores: Stores) -> None:
    latest = stores.settings.home / "reports" / "monitor" / MODEL / "latest.json"
    until(latest.exists, stores)
    report = json.loads(latest.read_text())
    assert Path(report["html"]).stat().st_size > 100_000
    assert report["metrics"]["roc_auc"] > 0.5
    Airflow(stores.settings).pause(
        f"monitor_{MODEL}", True
    )  # what it says of later versions is not asked here


def test_a_days_files_start_a_retraining_by_a_data_event(stores: Stores) -> None:
    list(replay(MODEL, date(2013, 2, 1), date(2013, 2, 1), "1d", stores.settings.landing_path))
    until(lambda: len(stores.tracking.versions(MODEL)) >= 2, stores)
    newest = stores.tracking.newest(MODEL)
    assert newest.tags["trigger"] == "data event"
    assert newest.as_of.date() == date(2013, 2, 1)
    runs = Airflow(stores.settings).runs(f"retrain_{MODEL}")
    assert {"asset_triggered", "scheduled"} <= {run["run_type"] for run in runs}
    # One with nothing to do skips all of its tasks.
    assert [run["dag_run_id"] for run in runs if run["state"] == "failed"] == []


def test_broken_files_are_refused_or_quarantined_and_the_rest_goes_on(stores: Stores) -> None:
    for name in ("flights_broken_row.csv", "flights_missing_column.csv"):
        part = stores.settings.landing_path / f".{name}"
        part.write_bytes((DATA / name).read_bytes())
        part.rename(stores.settings.landing_path / name)

    def ended() -> dict:
        found = {
            b.name: b
            for b in stores.ledger.batches("flights")
            if b.name.startswith(("flights_b", "flights_m"))
        }
        return (
            found if len(found) == 2 and {b.state for b in found.values()} <= {"archived", "refused"} else {}
        )

    until(ended, stores)
    broken, missing = ended()["flights_broken_row.csv"], ended()["flights_missing_column.csv"]
    assert (broken.state, broken.quarantined) == ("archived", 1)
    assert missing.state == "refused"
    assert "distance" in missing.reason
    alerts = stores.settings.home / "alerts.jsonl"
    until(lambda: "flights_missing_column.csv" in alerts.read_text(), stores)


def test_the_run_links_to_a_page_of_arrivals_and_to_each_batchs_report_for_those_who_may(
    stores: Stores,
) -> None:
    airflow, path = Airflow(stores.settings), "/evergreen/arrivals/ingest_flights"
    [plugin] = [p for p in airflow.call("GET", "/api/v2/plugins")["plugins"] if p["name"] == "evergreen"]
    assert sorted(view["destination"] for view in plugin["external_views"]) == ["dag", "dag_run", "nav"]
    assert "flights_broken_row.csv" in page(airflow, "/evergreen/dag/ingest_flights")
    arrivals = page(airflow, path)
    assert "flights_broken_row.csv" in arrivals
    assert "required column missing" in arrivals
    reported = next(b for b in stores.ledger.batches("flights") if b.report)
    assert f"ingest_flights/{reported.digest}" in arrivals
    assert "expect_column_values_to_be_between(distance)" in page(airflow, f"{path}/{reported.digest}")
    for hidden in (path, f"{path}/{reported.digest}"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            page(airflow, hidden, known=False)
        assert refused.value.code in {401, 403}
    with pytest.raises(urllib.error.HTTPError) as missing:
        page(airflow, f"{path}/{'0' * 64}")
    assert missing.value.code == 404


def test_a_person_starts_a_retraining_by_the_form_and_bad_values_are_refused_there(stores: Stores) -> None:
    airflow = Airflow(stores.settings)
    path = f"/api/v2/dags/retrain_{MODEL}/dagRuns"
    with pytest.raises(urllib.error.HTTPError) as refused:
        airflow.call("POST", path, {"logical_date": None, "conf": {"as_of": "yesterday"}})
    assert refused.value.code in {400, 422}
    conf = {"as_of": "2013-01-21T00:00:00Z", "force": True, "reason": "journey"}
    run = airflow.call("POST", path, {"logical_date": None, "conf": conf})
    assert run["run_type"] == "manual"
    until(
        lambda: any(v.tags["trigger"] == "person: journey" for v in stores.tracking.versions(MODEL)), stores
    )


def test_starting_again_starts_nothing_twice(stores: Stores) -> None:
    before = supervisor.recorded(stores.settings)
    assert len(before) == 6
    supervisor.start(stores.settings)
    assert supervisor.recorded(stores.settings) == before
