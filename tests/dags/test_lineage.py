"""Every task tells OpenLineage what it read and wrote, in the specification's form and the catalog's names."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.catalog import dataset, model
from pipelines.local.environment import LINEAGE
from pipelines.settings import Settings
from pipelines.stores import Stores
from tests.dags import openlineage_spec
from tests.dags.conftest import PROJECT
from tests.dags.told_to_send import RAN

NAME = "airflow.providers.openlineage"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec(NAME) is None, reason="Airflow's OpenLineage provider is missing: `make lineage`"
)
SECRET = "T0KEN-hunter2-long-enough-to-be-a-key"
SPEC = model("flight_delays")
ENDS = {"success": "COMPLETE", "skipped": "COMPLETE", "failed": "FAIL"}


def play(home: Path, transport: dict[str, Any] | None, *what: str) -> tuple[str, list[Any]]:
    """What a process of Airflow's said, and how each run in it ended."""
    told = {f"AIRFLOW__{name}": str(value) for name, value in LINEAGE.items()}
    told |= {"AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport)} if transport else {}
    told |= {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}", "EVERGREEN_SERVING_KEY": SECRET}
    command = [sys.executable, "-m", "tests.dags.told_to_send", str(home), *what]
    (home / RAN).unlink(missing_ok=True)
    done = subprocess.run(command, cwd=PROJECT, env=os.environ | told, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    runs = [json.loads(line) for line in (home / RAN).read_text().splitlines()]
    return done.stdout + done.stderr, runs


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("told")


@pytest.fixture(scope="module")
def played(home: Path) -> list[Any]:
    file = {"type": "file", "log_file_path": str(home / "events.jsonl"), "append": True}
    return play(home, file, "all")[1]


@pytest.fixture(scope="module")
def events(home: Path, played: list[Any]) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (home / "events.jsonl").read_text().splitlines()]
    assert found
    return found


def ended(events: list[dict[str, Any]], task: str) -> dict[str, Any]:
    """What a task told when it had ended, the first time."""
    return next(e for e in events if e["job"]["name"] == task and e["eventType"] != "START")


def names(datasets: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(each["namespace"], each["name"]) for each in datasets}


def lake(home: Path, *tables: str) -> set[tuple[str, str]]:
    stores = Stores(Settings(_env_file=None, home=home))
    return {("file", stores.tables.uri(*table.split("/", 1))) for table in tables}


def one(datasets: list[dict[str, Any]], end: str) -> dict[str, Any]:
    [found] = [each for each in datasets if each["name"].endswith(end)]
    return found


def test_every_option_that_is_set_is_one_of_the_provider_here_and_in_containers() -> None:
    from airflow.providers.openlineage.get_provider_info import get_provider_info

    known = get_provider_info()["config"]["openlineage"]["options"]
    compose = (PROJECT / "docker-compose.yml").read_text()
    told = re.findall(r"(?m)^ +AIRFLOW__(OPENLINEAGE__[A-Z_]+): ?(.*)$", compose)
    assert {name.removeprefix("OPENLINEAGE__").lower() for name in [*LINEAGE, *dict(told)]} <= known.keys()
    as_here = {name: str(value).lower() for name, value in LINEAGE.items()}
    there = {name: str(yaml.safe_load(value)).lower() for name, value in told if value}
    assert as_here == there


@pytest.mark.timeout(1200)
def test_every_task_tells_that_it_starts_and_how_it_ends(
    played: list[Any], events: list[dict[str, Any]]
) -> None:
    ran = [(f"{dag}.{task}", state) for dag, _, states in played for task, state in states.items()]
    known = {"plan", "training_set", "train", "rebuild", "evaluate", "promote", "report", "performance"}
    assert {name.split(".")[1] for name, _ in ran} >= known
    assert {state for _, state in ran} <= ENDS.keys(), ran
    got = [(e["job"]["name"], e["eventType"]) for e in events]
    # What is skipped because nothing before it had anything to do never begins.
    begun = [(name, state) for name, state in ran if state != "skipped" or (name, "START") in got]
    assert {name for name, state in ran if (name, state) not in begun} <= {
        "monitor_flight_delays.ask_for_training"
    }
    for name, state in begun:
        assert (name, "START") in got
        assert (name, ENDS[state]) in got, (name, state)


def test_every_event_is_one_of_the_specification(events: list[dict[str, Any]]) -> None:
    for event in events:
        openlineage_spec.check(event)
    facets = [f for e in events for d in (e["inputs"] + e["outputs"]) for f in d["facets"].values()]
    assert {f["_schemaURL"] for f in facets} <= openlineage_spec.facets().keys()  # none of our own


def test_ingestion_names_files_and_the_table_with_its_columns_rows_and_version(
    home: Path, events: list[dict[str, Any]]
) -> None:
    told, spec = ended(events, "ingest_flights.ingest_and_validate"), dataset("flights")
    stores = Stores(Settings(_env_file=None, home=home))
    batches = {b.name: b for b in stores.ledger.batches("flights")}
    assert names(told["inputs"]) == {("file", f"{home}/landing/{name}") for name in batches}
    assert names(told["outputs"]) <= lake(home, "silver/flights", "quarantine/flights")
    silver = one(told["outputs"], "silver/flights")
    rows = stores.tables.dataset("silver", "flights").count_rows()
    assert silver["outputFacets"]["outputStatistics"]["rowCount"] == rows
    assert [f["name"] for f in silver["facets"]["schema"]["fields"]] == list(spec.columns)
    assert silver["facets"]["version"]["datasetVersion"] == str(stores.tables.version("silver", "flights"))
    assert silver["facets"]["ownership"]["owners"][0]["name"] == f"team:{spec.owner}"
    assert silver["facets"]["columnLineage"]["fields"].keys() == spec.columns.keys()
    for file in told["inputs"]:
        assert file["facets"]["version"]["datasetVersion"] == batches[Path(file["name"]).name].digest
        assert file["inputFacets"]["dataQualityMetrics"]["rowCount"] > 0
        assert file["inputFacets"]["dataQualityAssertions"]["assertions"]


def test_features_name_the_silver_they_read_the_tables_and_what_is_online(
    home: Path, events: list[dict[str, Any]]
) -> None:
    told = ended(events, "features.compute_and_materialize")
    current = Stores(Settings(_env_file=None, home=home)).features.current
    made = [current[view] for view in SPEC.features_by_view]
    assert names(told["inputs"]) >= lake(home, *(f"silver/{name}" for v in made for name in v.sources))
    assert names(told["outputs"]) >= lake(home, *(f"features/{v.table}" for v in made))
    assert names(told["outputs"]) >= {("feast://evergreen", str(v)) for v in made}


def test_a_training_reads_tables_and_makes_a_version_that_the_gate_judges(
    home: Path, events: list[dict[str, Any]]
) -> None:
    rows, train, judged = (
        ended(events, f"retrain_flight_delays.{task}") for task in ("training_set", "train", "evaluate")
    )
    [made] = rows["outputs"]
    of = made["facets"]["columnLineage"]["fields"]["carrier_delays__late_share_3h"]["inputFields"]
    assert [(each["field"], each["name"]) for each in of] == [
        ("late_share_3h", f"{home}/lake/features/carrier_delays/v1")
    ]
    assert names(train["inputs"]) == names([made])
    assert names(train["outputs"]) == {("mlflow", "flight_delays")}
    assert train["outputs"][0]["facets"]["version"]["datasetVersion"] == "1"
    assert names(judged["inputs"]) == names([made]) | {("mlflow", "flight_delays")}
    assert {each["status"] for each in judged["run"]["facets"]["test"]["tests"]} <= {"pass", "fail"}
    tags = {each["key"]: each["value"] for each in judged["run"]["facets"]["tags"]["tags"]}
    version = Stores(Settings(_env_file=None, home=home)).tracking.version("flight_delays", 1)
    assert tags["evergreen_model_digest"] == version.digest
    assert tags["evergreen_verdict"] in {"PASS", "FAIL", "INCONCLUSIVE"}


def test_no_secret_no_source_code_and_no_place_but_in_names_is_told(
    home: Path, events: list[dict[str, Any]]
) -> None:
    text = (home / "events.jsonl").read_text()
    assert SECRET not in text
    assert "sourceCode" not in text
    for event in events:
        for each in (*event["inputs"], *event["outputs"]):
            for lineage in each["facets"].pop("columnLineage", {"fields": {}})["fields"].values():
                assert {f["namespace"] for f in lineage["inputFields"]} == {"file"}
            each.pop("name")
        for own in (
            "airflow",
            "airflowDagRun",
        ):  # the provider's, with where DAG's file and landing folder lie
            event["run"]["facets"].pop(own, None)
    rest = json.dumps([[e["inputs"], e["outputs"], e["run"], e["job"]["name"]] for e in events])
    for place in {str(home), str(PROJECT), str(Path.home()) + "/"}:
        assert place not in rest


def test_a_catalog_that_is_gone_fails_no_task(tmp_path: Path) -> None:
    gone = {"type": "http", "url": "http://127.0.0.1:9", "timeout": 1, "retry": {"total": 0}}
    said, runs = play(tmp_path, gone)
    assert runs == [["ingest_airports", "success", {"ingest_and_validate": "skipped"}]]
    assert "LOADED True" in said


def test_nothing_is_gathered_where_no_transport_is_set(tmp_path: Path) -> None:
    said, runs = play(tmp_path, None)
    assert runs == [["ingest_airports", "success", {"ingest_and_validate": "skipped"}]]
    assert "LOADED False" in said
    assert "OpenLineageClient" not in said
