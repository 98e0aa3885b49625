"""Telling people never makes a task fail, no event depends on it, and what failed is over when it runs again."""

import json
import logging
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from pipelines.alerting.kinds import Kind
from pipelines.contracts import EvergreenError
from pipelines.settings import settings
from pipelines.stores import Stores
from tests.integration.ingestion.test_ingest import DATA, GOOD, land
from tests.sinks import hook

SECRET = "T0KEN-hunter2"
TASK = {"task_instance": SimpleNamespace(dag_id="retrain_x", task_id="train"), "run_id": "r"}


def use(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("EVERGREEN_ALERT_URLS", address)
    settings.cache_clear()


def kept() -> list[dict[str, Any]]:
    path = settings().home / "alerts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_every_task_tells_when_it_failed_and_when_it_runs_again(dags: dict) -> None:
    from evergreen_airflow.notifiers import TaskFailed, TaskWell

    tasks = [task for dag in dags.values() for task in dag.tasks]
    assert len(tasks) > 20
    for task in tasks:
        silent = task.dag_id.startswith("rollout_") and task.task_id == "end"  # tells of it itself
        assert [type(each) for each in task.on_failure_callback] == ([] if silent else [TaskFailed])
        assert [type(each) for each in task.on_success_callback] == [TaskWell]
        assert [type(each) for each in task.on_skipped_callback] == [TaskWell]


def test_a_task_that_fails_again_and_again_is_told_once_until_it_runs_again() -> None:
    from evergreen_airflow.notifiers import TaskFailed, TaskWell

    TaskWell()(dict(TASK))
    assert kept() == []
    for _ in range(3):
        TaskFailed()(TASK | {"exception": ValueError("boom")})
    other = {"task_instance": SimpleNamespace(dag_id="retrain_y", task_id="train")}
    TaskWell()(other)
    TaskWell()(dict(TASK))
    TaskWell()(dict(TASK))
    TaskFailed()(TASK | {"exception": ValueError("boom")})
    opened, over, again = kept()
    assert (opened["event"], over["event"], again["event"]) == ("opened", "over", "opened")
    assert opened["what"] == "retrain_x.train failed"
    assert opened["why"] == "ValueError: boom"
    assert opened["act"].startswith("Yes")
    assert opened["runbook"].startswith("docs/how-to/be-told.md#task-failed: ")
    assert "run r" in opened["look"]


def test_a_dag_that_fails_and_then_runs_says_so_through_airflow_itself(
    dags: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notifiers as Airflow calls them, with its own context."""
    from airflow.utils.db import initdb

    from pipelines.loop import steps

    def broken(*_: object) -> None:
        raise EvergreenError("no key is left")

    initdb()
    with monkeypatch.context() as patched:
        patched.setattr(steps, "ingest", broken)
        dags["ingest_flights"].test()
    [opened] = kept()
    assert (opened["key"], opened["event"]) == ("task_failed:ingest_flights.ingest_and_validate", "opened")
    assert "no key is left" in opened["why"]
    dags["ingest_flights"].test()  # nothing has landed: it is skipped
    assert [each["event"] for each in kept()] == ["opened", "over"]


@pytest.mark.parametrize("address", [f"file:///etc/{SECRET}", f"jsons://hooks.example:99999/{SECRET}"])
def test_addresses_that_cannot_be_used_fail_no_callback_and_are_not_shown(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from evergreen_airflow.notifiers import TaskFailed, TaskWell

    use(monkeypatch, address)
    with caplog.at_level(logging.DEBUG):
        TaskFailed()(TASK | {"exception": ValueError("boom")})
        TaskWell()(dict(TASK))
    assert SECRET not in caplog.text


@pytest.mark.parametrize("answer", [b"\x00\x01garbage\r\n", b""])
def test_rows_that_came_in_make_an_event_whatever_the_webhook_does(
    dags: dict, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hook(answer) as odd:
        use(monkeypatch, f"json://{odd.host}/")
        stores = Stores(settings())
        land(stores, (DATA / "flights_missing_column.csv").read_bytes(), "flights_0.csv")
        land(stores, GOOD)
        task = dags["ingest_flights"].get_task("ingest_and_validate")
        assert [asset.name for asset in task.outlets] == ["silver_flights"]
        results = task.python_callable()
        assert odd.posted
    assert [result["state"] for result in results] == ["refused", "archived"]
    [alert] = kept()
    assert alert["kind"] == Kind.FILE_SCHEMA
    assert "flights_0.csv: refused" in alert["what"]
    assert alert["dataset"] == "flights"


def test_a_task_that_died_after_its_commit_makes_its_event_when_it_is_tried_again(
    dags: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException
    from evergreen_airflow import stages

    stores, due = Stores(settings()), datetime.now(UTC)
    task = dags["ingest_flights"].get_task("ingest_and_validate")

    def tried(number: int) -> None:
        run = SimpleNamespace(dag_id="ingest_flights", run_id="r", run_after=due)
        context = {"dag_run": run, "ti": SimpleNamespace(try_number=number)}
        monkeypatch.setattr(stages, "get_current_context", lambda: context)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    land(stores, GOOD)
    tried(1)
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.alerting.telling.heard", die)
        with pytest.raises(Killed):
            task.python_callable()
    tried(2)
    assert [result["silver"] for result in task.python_callable()] == [30]
    tried(1)  # of the next run
    with pytest.raises(AirflowSkipException):
        task.python_callable()


def test_the_secrets_that_a_task_masks_hold_every_address_of_people() -> None:
    addresses = f"jsons://hooks.example/{SECRET} slack://A/B/{SECRET}"
    found = settings().model_copy(update={"alert_urls": SecretStr(addresses)}).secrets()
    assert {*addresses.split(), f"hooks.example/{SECRET}", f"A/B/{SECRET}"} <= set(found)
