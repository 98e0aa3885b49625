"""Rules of a rollout in Airflow: one run watches it to its end, and people are told if a version was taken back."""

from datetime import timedelta
from typing import Any

import pytest

from pipelines import catalog
from pipelines.catalog import Rollout
from pipelines.contracts import NothingToDo
from pipelines.loop import rollout as steps
from tests.dags.conftest import PROJECT

FOUND = {
    "model": "flight_delays",
    "version": 7,
    "champion": 6,
    "step": 2,
    "steps": 2,
    "reason": "it went well",
}


@pytest.fixture
def dags(plugin: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The DAGs of flight_delays, whose spec has a rollout."""
    from airflow.dag_processing.dagbag import DagBag

    plan = Rollout.model_validate({"steps": [{"share": 0}, {"share": 0.2}]})
    rolled = catalog.model("flight_delays").model_copy(update={"rollout": plan})
    monkeypatch.setattr(catalog, "models", lambda: {rolled.name: rolled})
    bags = [DagBag(str(PROJECT / "dags" / f"{name}.py")) for name in ("rollout", "retrain")]
    assert [bag.import_errors for bag in bags] == [{}, {}]
    return {name: dag for bag in bags for name, dag in bag.dags.items()}


def test_a_promotion_wakes_it_and_a_new_champion_is_told_to_who_waits_for_one(dags: dict[str, Any]) -> None:
    promote, dag = dags["retrain_flight_delays"].get_task("promote"), dags["rollout_flight_delays"]
    assert {asset.name for asset in promote.outlets} == {"model_flight_delays", "rollout_flight_delays"}
    assert [asset.name for asset in dag.get_task("end").outlets] == ["model_flight_delays"]
    assert [asset.name for asset in dag.timetable.asset_condition.objects] == ["rollout_flight_delays"]
    watch = dag.get_task("watch")
    assert (watch.mode, watch.poke_interval) == ("reschedule", 30)
    assert watch.timeout >= timedelta(days=30).total_seconds()


@pytest.mark.parametrize(
    ("outcome", "states"),
    [
        ("promoted", {"watch": "success", "end": "success"}),
        ("taken back", {"watch": "success", "end": "failed"}),
        (None, {"watch": "skipped", "end": "skipped"}),
    ],
)
def test_a_run_watches_until_the_rollout_has_ended_and_fails_if_it_was_taken_back(
    dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch, outcome: str | None, states: dict[str, str]
) -> None:
    from airflow.utils.db import initdb

    initdb()
    looks: list[str] = []

    def look(model: str, now: str, since: str | None) -> dict[str, Any]:
        looks.append(model)
        if outcome is None:
            raise NothingToDo("nothing is rolled out")
        return FOUND | {"outcome": outcome, "ended": len(looks) > 1}

    monkeypatch.setattr(steps, "look", look)
    dag = dags["rollout_flight_delays"]
    dag.get_task("watch").poke_interval = 0.01
    dag.get_task("watch").mode = "poke"  # nobody reschedules in a test
    done = dag.test()
    assert {ti.task_id: str(ti.state) for ti in done.get_task_instances()} == states
    assert len(looks) == (1 if outcome is None else 2)


def test_a_model_without_a_rollout_has_no_such_dag() -> None:
    from airflow.dag_processing.dagbag import DagBag

    assert not any(spec.rollout for spec in catalog.models().values())
    assert not DagBag(str(PROJECT / "dags" / "rollout.py")).dags
