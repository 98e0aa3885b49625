"""Rules of the catalog inside Airflow: who sees which model, who may act, and that each act is in the audit log."""

import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.catalog import dataset
from pipelines.contracts import BatchState
from pipelines.gate import record
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.prove.promotion.world import World
from pipelines.stores.audit.log import Entry
from tests.dags.conftest import PROJECT
from tests.dags.test_feature_page import HOSTILE, Read
from tests.dags.test_model_page import ask, champion, world

__all__ = ["ask", "world"]

PAGE = "/model/retrain_flight_delays"
MISSING = PROJECT / "tests" / "data" / "flights_missing_column.csv"


def ours(act: str) -> dict[str, str]:
    return {"X-Evergreen": act}


@pytest.fixture
def soon(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict on version 1 is as young as it was when the gate gave it."""
    after(timedelta(minutes=1), world, monkeypatch)


def after(span: timedelta, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """So long after the verdict on version 1."""
    verdict = record.read(world.stores.tracking.version(world.spec.name, 1), world.stores)
    monkeypatch.setattr("pipelines.loop.steps.clock", lambda _: verdict.judged_at + span)


@pytest.fixture
def refused(world: World) -> str:
    """The digest of a file that was refused."""
    landing = world.stores.settings.landing_path
    landing.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(MISSING, landing / "flights_1.csv")
    os.utime(landing / "flights_1.csv", (1e9, 1e9))
    [result] = ingest_dataset(dataset("flights"), world.stores)
    assert result.state is BatchState.REFUSED
    return result.digest


def asks(world: World, subject: str) -> list[Entry]:
    return world.stores.audit.entries(subject, "ask")


def test_the_page_over_all_shows_who_may_look_each_model_and_links_to_its_page(
    world: World, ask: Any
) -> None:
    answer = ask("GET", "/models", "viewer")
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]
    found = Read(answer.text)
    assert "version 2" in found.text
    assert "model/retrain_flight_delays" in [each["href"] for each in found.of("a")]
    assert not found.of("form")
    assert ask("GET", "/models", None).status_code == 401


def test_a_model_whose_dag_one_may_not_read_is_not_in_the_list(
    world: World, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evergreen_airflow.model_pages.may_read", lambda dag_id, *_: False)
    answer = ask("GET", "/models", "viewer")
    assert "There is no model you may see" in answer.text
    assert "model/retrain_flight_delays" not in answer.text


def test_a_viewer_sees_no_button_and_no_form_on_any_page(world: World, refused: str, ask: Any) -> None:
    seen = [ask("GET", path, "viewer") for path in ("/models", PAGE, f"{PAGE}/2", f"{PAGE}/2/card")]
    assert [answer.status_code for answer in seen[:3]] == [200] * 3
    for answer in seen:
        found = Read(answer.text)
        assert not [tag for tag, _ in found.tags if tag in {"button", "form", "input", "select", "script"}]


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        (f"{PAGE}/rollback", {}),
        (f"{PAGE}/promote", {"version": 1}),
        (f"{PAGE}/retrain", {}),
        ("/arrivals/ingest_flights/{}/release", {}),
    ],
)
def test_who_may_not_start_runs_is_refused_and_nothing_is_done_or_said(
    world: World, refused: str, ask: Any, path: str, sent: dict[str, Any]
) -> None:
    act, before = path.rpartition("/")[2], world.stores.audit.head
    body = {"json": {"reason": "r"} | sent, "headers": ours(act)}
    assert ask("POST", path.format(refused), None, **body).status_code == 401
    assert ask("POST", path.format(refused), "viewer", **body).status_code == 403
    for foreign in ({}, ours("x"), ours(act) | {"Sec-Fetch-Site": "cross-site"}):
        answer = ask("POST", path.format(refused), "user", json={"reason": "r"} | sent, headers=foreign)
        assert answer.status_code == 403
    silent = ask("POST", path.format(refused), "admin", json={"reason": ""} | sent, headers=ours(act))
    assert silent.status_code == 422
    assert world.stores.audit.head == before
    assert champion(world) == 2


def test_an_operator_promotes_a_version_that_passed_and_the_log_says_who_and_why(
    world: World, soon: None, ask: Any
) -> None:
    sent = {"json": {"version": 1, "reason": "fewer surprises"}, "headers": ours("promote")}
    answer = ask("POST", f"{PAGE}/promote", "user", **sent)
    assert answer.status_code == 200, answer.text
    assert champion(world) == 1
    [wish] = asks(world, "model:flight_delays@1")
    assert (wish.who, wish.why, wish.evidence) == ("ui: ada", "fewer surprises", {"for": "promote"})
    last = world.stores.audit.entries("champion:flight_delays")[-1]
    assert (last.action, last.who) == ("promote", "ui: ada")
    assert "promoted by ui: ada" in Read(ask("GET", PAGE).text).text


@pytest.mark.parametrize("version", [3, 4, 5, 77])
def test_what_did_not_pass_is_promoted_by_nobody(world: World, soon: None, ask: Any, version: int) -> None:
    sent = {"json": {"version": version, "reason": "I want it"}, "headers": ours("promote")}
    answer = ask("POST", f"{PAGE}/promote", "admin", **sent)
    assert answer.status_code == 409
    assert champion(world) == 2
    options = [each["value"] for each in Read(ask("GET", PAGE).text).of("option")]
    assert options == ["1"]


def test_a_verdict_that_is_too_old_promotes_nobody(
    world: World, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    after(world.spec.promotion.verdict_valid + timedelta(minutes=1), world, monkeypatch)
    sent = {"json": {"version": 1, "reason": "r"}, "headers": ours("promote")}
    answer = ask("POST", f"{PAGE}/promote", "admin", **sent)
    assert (answer.status_code, "judge again" in answer.json()["detail"]) == (409, True)


def test_an_operator_asks_for_a_training_and_airflow_has_the_run_with_its_reason(
    world: World, ask: Any, dags: dict
) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    serialized(dags["retrain_flight_delays"])
    sent = {"json": {"reason": "the schedule changed"}, "headers": ours("retrain")}
    answer = ask("POST", f"{PAGE}/retrain", "user", **sent)
    assert answer.status_code == 200, answer.text
    with create_session() as session:
        run = session.query(DagRun).filter_by(run_id=answer.json()["run"]).one()
        assert (run.dag_id, run.triggering_user_name) == ("retrain_flight_delays", "ada")
        assert (run.conf["force"], run.conf["reason"]) == (True, "the schedule changed")
    [wish] = asks(world, "model:flight_delays")
    assert (wish.who, wish.why, wish.evidence) == ("ui: ada", "the schedule changed", {"for": "retrain"})


def serialized(dag: Any) -> None:
    """The DAG as Airflow's API server knows it."""
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG
    from airflow.utils.session import create_session

    data = LazyDeserializedDAG(data=DagSerialization.to_dict(dag))
    with create_session() as session:
        if session.get(DagBundleModel, "dags-folder") is None:
            session.add(DagBundleModel(name="dags-folder"))
            session.flush()
        update_dag_parsing_results_in_db("dags-folder", None, [data], {}, None, set(), session)


def test_airflow_that_does_not_know_the_dag_says_so(
    world: World, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.exceptions import DagNotFound

    def unknown(*_: Any, **__: Any) -> None:
        raise DagNotFound("not found in DagModel")

    monkeypatch.setattr("airflow.api.common.trigger_dag.trigger_dag", unknown)
    answer = ask("POST", f"{PAGE}/retrain", "user", json={"reason": "r"}, headers=ours("retrain"))
    assert (answer.status_code, "does not start" in answer.json()["detail"]) == (409, True)


def test_an_operator_releases_what_is_held_and_the_log_says_who_and_why(
    world: World, refused: str, ask: Any
) -> None:
    text = ask("GET", PAGE, "user").text
    assert f"../arrivals/ingest_flights/{refused}/release" in text
    assert "flights_1.csv" in Read(text).text
    call = f"/arrivals/ingest_flights/{refused}/release"
    answer = ask("POST", call, "user", json={"reason": "the column is optional now"}, headers=ours("release"))
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "refused", "today's rules refuse it still"
    steps = world.stores.ledger.history(refused, "flights")
    assert [(each.who, each.note) for each in steps if each.step == "released"] == [
        ("ui: ada", "the column is optional now")
    ]
    told = [
        each for each in world.stores.audit.entries(f"batch:flights/{refused}") if each.action == "release"
    ]
    assert [(each.evidence["by"], each.why) for each in told] == [("ui: ada", "the column is optional now")]
    for path in (
        f"/arrivals/ingest_weather/{refused}/release",
        f"/arrivals/retrain_flight_delays/{refused}/release",
    ):
        assert ask("POST", path, "user", json={"reason": "r"}, headers=ours("release")).status_code == 404


def test_reports_are_served_without_our_rights(world: World, ask: Any) -> None:
    folder = world.home / "reports" / "monitor" / world.spec.name
    folder.mkdir(parents=True)
    assert ask("GET", f"{PAGE}/drift", "viewer").status_code == 404
    assert ask("GET", f"{PAGE}/performance", "viewer").status_code == 404
    (folder / "r.html").write_text("<script>1</script>")
    (folder / "latest.json").write_text('{"html": "/elsewhere/r.html"}')
    answer = ask("GET", f"{PAGE}/drift", "viewer")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy


def test_a_hostile_file_name_is_no_markup_in_the_forms() -> None:
    from evergreen_airflow.model_forms import _release

    from pipelines.site.facts import Held

    found = Read(_release(Held("0" * 64, "flights", HOSTILE, "refused", 0, HOSTILE)))
    assert HOSTILE in found.text
    assert {tag for tag, _ in found.tags} == {"form", "button", "span", "small", "input"}


def test_broken_records_leave_a_page_without_buttons(world: World, ask: Any) -> None:
    (Path(world.home) / "mlflow.db").write_text("no database")
    answer = ask("GET", PAGE, "admin")
    assert answer.status_code == 200
    assert "Nothing can be done from here now" in answer.text
    assert "<form" not in answer.text
    assert ask("GET", "/models", "viewer").status_code == 200
