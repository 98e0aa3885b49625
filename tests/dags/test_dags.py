"""Rules that hold for every DAG, and what each kind of DAG is woken by."""

import runpy
import subprocess
import sys
from itertools import pairwise

import pytest

from pipelines import catalog
from pipelines.catalog import datasets, models
from pipelines.contracts import EvergreenError
from tests.dags.conftest import PROJECT

HEAVY = {
    "pandas",
    "sklearn",
    "mlflow",
    "feast",
    "great_expectations",
    "evidently",
    "duckdb",
    "deltalake",
    "kubernetes",
}


def test_there_is_one_dag_per_catalog_entry_with_a_plain_name(dags: dict) -> None:
    expected = {f"ingest_{name}" for name in datasets()} | {"features"}
    expected |= {f"{kind}_{name}" for name in models() for kind in ("retrain", "monitor", "score")}
    assert set(dags) == expected


def test_reading_the_dag_files_loads_no_heavy_library() -> None:
    """A DAG file is read every minute and in every task; these imports take 13 s together."""
    script = f"""
import sys, json, pathlib, runpy
sys.path[:0] = [{str(PROJECT)!r}, {str(PROJECT / "plugins")!r}]
files = sorted(pathlib.Path({str(PROJECT / "dags")!r}).glob("*.py"))
for file in files:
    runpy.run_path(str(file))
print(json.dumps([len(files), sorted({{m.split(".")[0] for m in sys.modules}})]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    import json

    count, loaded = json.loads(done.stdout.splitlines()[-1])
    assert count >= 4
    assert "pipelines" in loaded
    assert HEAVY.isdisjoint(loaded)


def test_every_dag_has_owner_tags_documentation_and_one_run_at_a_time(dags: dict) -> None:
    for dag in dags.values():
        assert dag.tags, dag.dag_id
        assert "If it fails" in dag.doc_md, dag.dag_id
        assert dag.max_active_runs == 1, dag.dag_id
        assert not dag.catchup, dag.dag_id
        assert dag.owner not in {"", "airflow"}, dag.dag_id


def test_every_task_retries_has_a_time_limit_and_tells_when_it_failed(dags: dict) -> None:
    tasks = [task for dag in dags.values() for task in dag.tasks]
    assert len(tasks) >= 12
    for task in tasks:
        assert task.retries >= 1, task.task_id
        assert task.retry_exponential_backoff, task.task_id
        assert task.execution_timeout, task.task_id
        assert task.on_failure_callback or task.has_on_failure_callback, task.task_id


def test_every_dag_is_woken_by_the_clock_and_by_data_but_scoring_by_a_person_alone(dags: dict) -> None:
    for dag in dags.values():
        if dag.dag_id.startswith("score_"):
            assert not dag.timetable.can_be_scheduled, dag.dag_id
            continue
        kind = type(dag.timetable).__name__
        assert "AssetOrTimeSchedule" in kind, (dag.dag_id, kind)


def test_where_no_features_were_computed_nothing_asks_whether_all_were(dags: dict) -> None:
    task = dags["features"].get_task("all_computed")
    assert task.upstream_task_ids == {"compute_and_materialize"}
    assert task.trigger_rule == "all_success"


def test_the_retraining_reads_from_plan_to_promotion(dags: dict) -> None:
    dag = dags["retrain_flight_delays"]
    chain = ["plan", "training_set", "train", "evaluate", "promote", "report"]
    assert {task.task_id for task in dag.tasks} == {*chain, "rebuild"}
    for before, after in pairwise(chain):
        assert after in dag.get_task(before).downstream_task_ids


def test_a_candidate_is_made_a_second_time_beside_its_training(dags: dict) -> None:
    task = dags["retrain_flight_delays"].get_task("rebuild")
    assert task.upstream_task_ids == {"training_set"}
    assert task.downstream_task_ids == {"evaluate"}


def test_nothing_waits_for_plots_and_pages_but_a_person_who_is_asked(dags: dict) -> None:
    task = dags["retrain_flight_delays"].get_task("report")
    assert task.downstream_task_ids == set()
    assert task.trigger_rule == "none_failed_min_one_success"  # a run with nothing to do has nothing to show


@pytest.mark.parametrize(
    ("name", "value"),
    [("as_of", "yesterday"), ("as_of", 7), ("force", "maybe"), ("reason", "x" * 501), ("reason", ["why"])],
)
def test_the_form_refuses_bad_values(dags: dict, name: str, value: object) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    param = dags["retrain_flight_delays"].params.get_param(name)
    with pytest.raises(ParamValidationError):
        param.resolve(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("as_of", None), ("as_of", "2013-04-01T00:00:00Z"), ("force", True), ("reason", "drift")],
)
def test_the_form_takes_good_values(dags: dict, name: str, value: object) -> None:
    assert dags["retrain_flight_delays"].params.get_param(name).resolve(value) == value


def test_a_spec_that_is_not_sound_is_an_import_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    page = str(PROJECT / "dags" / "not_sound.py")
    runpy.run_path(page)
    monkeypatch.setattr(
        catalog, "faults", lambda: {"mine": "models/mine/spec.yaml:3: owner: missing; add it"}
    )
    with pytest.raises(EvergreenError, match=r"mine/spec.yaml:3"):
        runpy.run_path(page)
