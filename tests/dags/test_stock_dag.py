"""The stock loop of the benchmarks is a DAG that Airflow runs, and the replay times the tasks that are in it."""

import ast
from pathlib import Path
from typing import Any

import pendulum
import pytest

from pipelines.settings import PROJECT

STOCK = PROJECT / "benchmarks" / "stock_dag"


@pytest.fixture(scope="module")
def stock() -> Any:
    """The DAG as Airflow reads it."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(STOCK / "dag.py"))
    assert bag.import_errors == {}
    return bag.dags["stock_flight_delays"]


def test_each_task_follows_what_it_reads(stock: Any) -> None:
    after = {task.task_id: task.downstream_task_ids for task in stock.tasks}
    assert after == {
        "ingest": {"features"},
        "features": {"training_set"},
        "materialize": set(),
        "training_set": {"train", "materialize"},
        "train": {"evaluate_and_promote"},
        "evaluate_and_promote": {"report"},
        "report": set(),
    }


def test_the_replay_runs_every_task_of_the_dag(stock: Any) -> None:
    sides = ast.parse((PROJECT / "benchmarks" / "replay_sides.py").read_text())
    (side,) = (each for each in sides.body if isinstance(each, ast.ClassDef) and each.name == "Stock")
    said = {each.value for each in ast.walk(side) if isinstance(each, ast.Constant)}
    assert {task.task_id for task in stock.tasks} <= said


def test_a_run_takes_the_files_of_the_day_that_ended_when_it_was_due(stock: Any) -> None:
    from airflow.timetables.interval import CronDataIntervalTimetable

    from benchmarks.stock_dag.tasks import window

    scheduler = CronDataIntervalTimetable(stock.timetable.expression, timezone="UTC")
    found = scheduler.infer_manual_data_interval(run_after=pendulum.datetime(2013, 4, 9))
    assert window(found.start.isoformat()) == "20130408T0000_20130409T0000"


def test_the_dag_file_loads_no_heavy_library() -> None:
    """As Airflow's best practices ask, each task imports what it needs when it runs."""
    for path in (STOCK / name for name in ("dag.py", "tasks.py", "places.py")):
        names = _imported(path)
        assert names
        assert not {"pandas", "feast", "mlflow", "sklearn", "great_expectations", "evidently"} & names


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {each.name.split(".")[0] for each in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add(str(node.module).split(".")[0])
    return found
