"""Rules of approval in Airflow: only a PASS is put before a person, and silence is a no."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.loop import steps
from tests.dags.conftest import PROJECT

CHAIN = ["plan", "training_set", "train", "evaluate", "submit", "approve", "promote"]
QUESTION = {"version": 7, "record": "r" * 64, "subject": "Shall it?", "body": "| rule | PASS |"}


@pytest.fixture
def spec(plugin: None, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """flight_delays, whose spec asks for approval."""
    real = catalog.model("flight_delays")
    promotion = real.promotion.model_copy(update={"approval": True, "approval_timeout": timedelta(hours=3)})
    asking = real.model_copy(update={"promotion": promotion})
    monkeypatch.setattr(catalog, "models", lambda: {asking.name: asking})
    return asking


@pytest.fixture
def dag(spec: ModelSpec) -> Any:
    """The retraining of a model that asks for approval, as Airflow reads it."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(PROJECT / "dags" / "retrain.py"))
    assert bag.import_errors == {}
    return bag.dags[f"retrain_{spec.name}"]


def test_approval_stands_between_the_gate_and_promotion(dag: Any) -> None:
    order = [task.task_id for task in dag.topological_sort()]
    assert [task for task in order if task in CHAIN] == CHAIN
    assert set(order) - set(CHAIN) == {"rebuild", "report"}
    assert dag.get_task("submit").upstream_task_ids == {"evaluate", "report"}
    approve = dag.get_task("approve")
    assert approve.upstream_task_ids == {"submit"}
    assert dag.get_task("promote").upstream_task_ids == {"approve", "evaluate"}
    assert (approve.defaults, approve.response_timeout) == (["Reject"], timedelta(hours=3))
    assert not approve.ignore_downstream_trigger_rules
    assert approve.params.get_param("reason").schema["type"] == ["null", "string"]
    assert approve.retries >= 1
    assert approve.execution_timeout


def test_without_the_wish_in_the_spec_there_is_no_approval(dags: dict) -> None:
    assert not catalog.model("flight_delays").promotion.approval
    assert "approve" not in dags["retrain_flight_delays"].task_ids


@pytest.mark.parametrize(
    ("answer", "who", "said"),
    [
        (["Approve"], {"id": "1", "name": "ada"}, (True, "ui: ada", "looked at it")),
        (["Reject"], {"id": "1", "name": "ada"}, (False, "ui: ada", "looked at it")),
        (["Reject"], None, (False, None, "nobody answered in time")),
    ],
)
def test_who_answers_is_written_down_before_anything_follows(
    dag: Any, monkeypatch: pytest.MonkeyPatch, answer: list[str], who: Any, said: tuple
) -> None:
    from airflow.providers.standard.operators.hitl import ApprovalOperator

    from pipelines.acting import acting

    told: list[tuple] = []
    monkeypatch.setattr(steps, "approve", lambda *given: told.append((acting(), *given)))
    monkeypatch.setattr(ApprovalOperator, "execute_complete", lambda *_, **__: told.append("what follows"))
    event = {
        "chosen_options": answer,
        "params_input": {"reason": "looked at it" if who else None},
        "responded_at": datetime.now(UTC),
        "responded_by_user": who,
    }
    context = {"ti": SimpleNamespace(xcom_pull=lambda task_ids: QUESTION if task_ids == "submit" else None)}
    dag.get_task("approve").execute_complete(context, event)
    yes, person, reason = said
    assert told[1] == "what follows"
    name, model, version, *rest = told[0]
    assert (model, version, rest[0], rest[1], rest[2]) == ("flight_delays", 7, yes, reason, "r" * 64)
    if person:
        assert name == person


class Run:
    """A run of the DAG whose stages are stubs: what they were asked is in `told`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, decision: str) -> None:
        from pipelines.contracts import NothingToDo

        self.told: list[tuple] = []
        self.shown: list[tuple] = []

        def submit(model: str, verdict: dict) -> dict:
            if verdict["decision"] != "PASS":
                raise NothingToDo("nobody is asked")
            assert self.shown, "a person is asked before there is a page to look at"
            return QUESTION

        stubs = {
            "plan": lambda *_, **__: {"as_of": "2013-04-01T00:00:00Z"},
            "training_set": lambda *_, **__: {},
            "train": lambda *_, **__: {"version": 7},
            "rebuild": lambda *_, **__: {"kept": True},
            "report": lambda *given, **_: self.shown.append(given) or {},
            "evaluate": lambda *_, **__: {"version": 7, "decision": decision},
            "submit": submit,
            "approve": lambda *given: self.told.append(("approve", *given)) or {},
            "promote": lambda *given, **_: self.told.append(("promote", *given)) or {},
        }
        for name, stub in stubs.items():
            monkeypatch.setattr(steps, name, stub)


def answered(dag_id: str, choice: str, seen: dict) -> None:
    """A person: waits until the question is there, and answers it over Airflow's own REST API; asks again on a 5xx."""
    from airflow.api_fastapi.app import create_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi.testclient import TestClient

    app = create_app(apps="core")
    app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="ada", role="admin")
    for mounted in (route.app for route in app.routes if hasattr(route, "app")):
        if hasattr(mounted, "dependency_overrides"):
            mounted.dependency_overrides[get_user] = app.dependency_overrides[get_user]
    client = TestClient(app, raise_server_exceptions=False)
    path = f"/api/v2/dags/{dag_id}/dagRuns"
    end = time.monotonic() + 240
    while time.monotonic() < end:
        told = client.get(f"{path}/~/hitlDetails", params={"response_received": False})
        details = told.json() if told.status_code == 200 else {}
        waiting = [d for d in details.get("hitl_details", []) if d["task_instance"]["dag_id"] == dag_id]
        if waiting:
            run = waiting[0]["task_instance"]["dag_run_id"]
            seen["question"] = waiting[0]
            body = {"chosen_options": [choice], "params_input": {"reason": "looked at it"}}
            answer = client.patch(f"{path}/{run}/taskInstances/approve/-1/hitlDetails", json=body)
            if answer.status_code < 500:
                seen["answer"] = (answer.status_code, answer.text)
                return
        threading.Event().wait(0.5)


def person_of(dag_id: str, choice: str, seen: dict) -> None:
    """Somebody who answers; where that fails the question is withdrawn, as the run would wait for ever."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import update

    try:
        answered(dag_id, choice, seen)
    finally:
        if "answer" not in seen:
            with create_session() as session:
                asked = (TaskInstance.dag_id == dag_id, TaskInstance.task_id == "approve")
                session.execute(update(TaskInstance).where(*asked).values(state="failed"))


@pytest.fixture
def person(dag: Any) -> Iterator[Any]:
    """Starts a person who answers what the DAG asks."""
    started: list[threading.Thread] = []
    seen: dict = {}

    def starts(choice: str) -> dict:
        started.append(threading.Thread(target=person_of, args=(dag.dag_id, choice, seen), daemon=True))
        started[-1].start()
        return seen

    yield starts
    for thread in started:
        thread.join(250)


@pytest.mark.parametrize(("choice", "promoted"), [("Approve", True), ("Reject", False)])
def test_a_real_run_waits_for_the_answer_over_rest_and_does_as_told(
    dag: Any, person: Any, monkeypatch: pytest.MonkeyPatch, choice: str, promoted: bool
) -> None:
    from airflow.utils.db import initdb

    initdb()
    run = Run(monkeypatch, "PASS")
    seen = person(choice)
    done = dag.test()
    assert seen["answer"][0] == 200, seen
    assert seen["question"]["subject"] == QUESTION["subject"]
    states = {ti.task_id: str(ti.state) for ti in done.get_task_instances()}
    assert states["approve"] == "success"
    assert states["promote"] == ("success" if promoted else "skipped")
    first = run.told[0]
    assert first[:6] == ("approve", "flight_delays", 7, promoted, "looked at it", "r" * 64)
    assert [each[0] for each in run.told] == ["approve", *(["promote"] if promoted else [])]


@pytest.mark.parametrize("decision", ["FAIL", "INCONCLUSIVE"])
def test_what_did_not_pass_never_reaches_a_person(
    dag: Any, monkeypatch: pytest.MonkeyPatch, decision: str
) -> None:
    from airflow.utils.db import initdb

    initdb()
    run = Run(monkeypatch, decision)
    done = dag.test()
    states = {ti.task_id: str(ti.state) for ti in done.get_task_instances()}
    assert (states["evaluate"], states["submit"]) == ("success", "skipped")
    assert (states["approve"], states["promote"]) == ("skipped", "skipped")
    assert run.told == []
