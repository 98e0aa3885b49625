"""Runs real DAGs over twelve days of real flights, in a process of its own, as Airflow reads its settings once.

`python -m tests.dags.told_to_send HOME [all]` writes into a file how each run and its tasks ended: threads print, too.
"""

import json
import os
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.dags.conftest import PROJECT

RAN = "ran.jsonl"
AS_OF = "2013-01-10T12:00:00Z"
ASKED = {"as_of": AS_OF, "force": True, "reason": "to see its lineage"}


def nothing_landed() -> None:
    """One task that finds nothing to do."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    run(DagBag(str(PROJECT / "dags")).dags["ingest_airports"])
    print("LOADED", "evergreen_airflow.lineage" in sys.modules)


def main(home: Path) -> None:
    """Each task from landed files to the monitor, by the real pipelines; rows are hardly judged, and models small."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    from pipelines import catalog
    from pipelines.loop.replay import replay
    from tests.hurried import few_rules
    from tests.training_sets import spec

    initdb()
    list(replay("flight_delays", date(2013, 1, 1), date(2013, 1, 12), "1d", home / "landing"))
    few_rules(pytest.MonkeyPatch())
    small = spec(rebuild=True)
    catalog.model = {**catalog.models(), small.name: small}.__getitem__
    found = DagBag(str(PROJECT / "dags"))
    assert not found.import_errors, found.import_errors
    for name in small.datasets:
        run(found.dags[f"ingest_{name}"])
    run(found.dags["ingest_flights"])  # nothing is left: it is skipped
    run(found.dags["features"], {"as_of": AS_OF})
    run(found.dags["retrain_flight_delays"], ASKED)
    run(found.dags["monitor_flight_delays"], {"as_of": AS_OF})


def run(dag: Any, asked: dict[str, Any] | None = None) -> None:
    done = dag.test(run_conf=asked or {})
    states = {ti.task_id: str(ti.state) for ti in done.get_task_instances()}
    with Path(os.environ["EVERGREEN_HOME"], RAN).open("a") as out:
        out.write(json.dumps([dag.dag_id, str(done.state), states]) + "\n")


if __name__ == "__main__":
    os.environ["EVERGREEN_HOME"] = sys.argv[1]
    main(Path(sys.argv[1])) if sys.argv[2:] == ["all"] else nothing_landed()
