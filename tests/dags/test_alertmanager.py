"""Rules of the webhook by which Alertmanager asks for trainings."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import catalog
from pipelines.monitoring import alarms
from pipelines.settings import PROJECT
from pipelines.stores import Stores
from pipelines.stores.signals import Signals
from tests.dags.test_model_page import ask
from tests.retrainings import MODEL, copied, crowned, land
from tests.training_sets import spec

__all__ = ["ask"]

CALL = "/alertmanager"
SINCE = datetime(2026, 3, 5, 12, tzinfo=UTC)
LABELS = {"alertname": "ModelDrifted", "model": MODEL, "version": "1", "retrain": "true", "cause": "drift"}
HOSTILE = "<img src=x onerror=alert(1)>{{ 7*7 }}\n$(id)"


@pytest.fixture
def champion(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Stores:
    """Version 1 of the small model is champion, and since its training new labels have landed."""
    small = spec()
    monkeypatch.setattr(catalog, "model", lambda name: small)
    stores = copied(crowned(tmp_path_factory), tmp_path)
    land(stores, "second", rows=40)
    return stores


@pytest.fixture
def woken(ask: Any) -> Callable[[], list[str]]:
    """The DAGs that wait to be run since an asset's event, in Airflow's own database."""
    from airflow.models.asset import AssetDagRunQueue, AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import delete, select

    _known_to_airflow()
    with create_session() as session:
        session.execute(delete(AssetDagRunQueue))
        session.execute(delete(AssetEvent))

    def waiting() -> list[str]:
        with create_session() as session:
            return sorted(session.scalars(select(AssetDagRunQueue.target_dag_id)))

    return waiting


def _known_to_airflow() -> None:
    """The retraining's DAG in Airflow's database, as the dag processor puts it there."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.serialization.definitions.dag import SerializedDAG
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    bag = DagBag(str(PROJECT / "dags" / "retrain.py"))
    found = [LazyDeserializedDAG.from_dag(dag) for dag in bag.dags.values()]
    with create_session() as session:
        session.merge(DagBundleModel(name="tests"))
        session.flush()
        SerializedDAG.bulk_write_to_db("tests", None, found, session=session)
        for model in session.query(DagModel):
            model.is_paused = False


def notice(*labels: dict[str, str], status: str = "firing", **more: Any) -> dict[str, Any]:
    alerts = [
        {"status": status, "labels": each, "annotations": {}, "startsAt": SINCE.isoformat(), **more}
        for each in labels
    ]
    return {"version": "4", "groupKey": "{}", "receiver": "retraining", "status": status, "alerts": alerts}


def test_an_alert_that_asks_becomes_a_signal_wakes_the_retraining_and_is_in_the_log(
    champion: Stores, ask: Any, woken: Any
) -> None:
    answer = ask("POST", CALL, "user", json=notice(LABELS))
    assert (answer.status_code, answer.json()["recorded"]) == (200, 1)
    (signal,) = champion.signals.pending(MODEL)
    assert (signal.version, signal.as_of, signal.cause.value) == (1, SINCE, "drift")
    assert "ModelDrifted fires since 2026-03-05" in signal.detail
    assert woken() == [f"retrain_{MODEL}"]
    entry = champion.audit.entries(f"model:{MODEL}@1", "signal")[-1]
    assert (entry.who, entry.evidence["cause"]) == ("alertmanager: ada", "drift")


def test_an_alert_that_is_sent_again_does_nothing(champion: Stores, ask: Any, woken: Any) -> None:
    said = [ask("POST", CALL, json=notice(LABELS)).json() for _ in range(3)]
    assert [(each["recorded"], each["known"]) for each in said] == [(1, 0), (0, 1), (0, 1)]
    assert len(champion.signals.pending(MODEL)) == 1
    assert len(champion.audit.entries(f"model:{MODEL}@1", "signal")) == 1


def test_a_waking_that_failed_is_made_up_for_when_the_alert_is_sent_again(
    champion: Stores, ask: Any, woken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(model: str) -> None:
        raise ConnectionError("postgresql://ada:hush@db is gone")

    with monkeypatch.context() as broken:
        broken.setattr("evergreen_airflow.alertmanager.wake", gone)
        answer = ask("POST", CALL, json=notice(LABELS))
    assert (answer.status_code, "hush" in answer.text) == (503, False)
    assert woken() == []
    assert ask("POST", CALL, json=notice(LABELS)).json()["recorded"] == 1
    assert woken() == [f"retrain_{MODEL}"]


@pytest.mark.parametrize("labels", [{"alertname": "ServingDown"}, LABELS | {"retrain": "false"}])
def test_an_alert_about_machinery_is_never_drift(
    champion: Stores, ask: Any, woken: Any, labels: dict[str, str]
) -> None:
    answer = ask("POST", CALL, json=notice(labels))
    assert (answer.status_code, answer.json()["recorded"]) == (200, 0)
    assert champion.signals.pending(MODEL) == []
    assert woken() == []


def test_an_alert_that_is_over_or_about_an_earlier_champion_asks_for_nothing(
    champion: Stores, ask: Any
) -> None:
    assert ask("POST", CALL, json=notice(LABELS, status="resolved")).json()["recorded"] == 0
    assert ask("POST", CALL, json=notice(LABELS | {"version": "7"})).json()["outdated"] == 1
    assert champion.signals.pending(MODEL) == []


def test_who_may_not_start_the_retraining_may_not_ask_for_it(champion: Stores, ask: Any) -> None:
    assert ask("POST", CALL, None, json=notice(LABELS)).status_code == 401
    assert ask("POST", CALL, "viewer", json=notice(LABELS)).status_code == 403
    assert champion.signals.pending(MODEL) == []
    assert ask("POST", CALL, "user", json=notice(LABELS)).status_code == 200


def test_no_route_of_the_pages_answers_somebody_unknown(ask: Any) -> None:
    from evergreen_airflow.pages import app

    routes = [(method, route.path) for route in app.routes for method in getattr(route, "methods", ())]
    assert ("POST", CALL) in routes
    assert len(routes) >= 6
    named = {"dag_id": f"retrain_{MODEL}", "digest": "0" * 64, "version": "1", "view": "aircraft"}
    for method, path in routes:
        assert ask(method, path.format(**named), None, json={}).status_code == 401, path


def test_a_page_in_a_browser_may_not_ask_for_a_training(champion: Stores, ask: Any) -> None:
    for header in ("Sec-Fetch-Site", "Origin", "Referer"):
        assert ask("POST", CALL, json=notice(LABELS), headers={header: "x"}).status_code == 403
    plain = {"Content-Type": "text/plain"}
    assert ask("POST", CALL, content=json.dumps(notice(LABELS)), headers=plain).status_code == 415
    assert champion.signals.pending(MODEL) == []


@pytest.mark.parametrize(
    "crooked",
    [
        {"model": HOSTILE},
        {"model": "no_such_model"},
        {"cause": "person"},
        {"cause": HOSTILE},
        {"alertname": HOSTILE},
        {"version": "1; drop table signals"},
        {"version": "0"},
    ],
)
def test_labels_that_no_rule_of_ours_has_are_refused_and_never_repeated(
    champion: Stores, ask: Any, crooked: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask("POST", CALL, json=notice(LABELS | crooked, LABELS | {"alertname": "Sound"}))
    assert answer.status_code == 422
    assert answer.json()["recorded"] == 1  # the other counts
    (text,) = crooked.values()
    assert text not in json.dumps(answer.json()["refused"]) or text == "0"
    assert HOSTILE not in caplog.text
    assert [signal.detail.split()[2] for signal in champion.signals.pending(MODEL)] == ["Sound"]


def broken_bodies() -> dict[str, bytes]:
    sound = notice(LABELS)
    return {
        "no json": b"{",
        "nothing": b"",
        "another version": json.dumps(sound | {"version": "5"}).encode(),
        "no alerts": json.dumps({"version": "4"}).encode(),
        "too many alerts": json.dumps(notice(*[LABELS] * (alarms.MOST + 1))).encode(),
        "a long label": json.dumps(notice(LABELS | {"x": "y" * 2001})).encode(),
        "a label that is no text": json.dumps(notice(LABELS | {"x": {"y": 1}})).encode(),  # type: ignore[dict-item]
        "a time without a zone": json.dumps(notice(LABELS, startsAt="2026-03-05T12:00:00")).encode(),
        "deep": b"[" * 100_000,
    }


@pytest.mark.parametrize("kind", broken_bodies())
def test_a_body_that_is_no_notice_is_refused(champion: Stores, ask: Any, kind: str) -> None:
    sent = {"content": broken_bodies()[kind], "headers": {"Content-Type": "application/json"}}
    assert ask("POST", CALL, **sent).status_code == 422
    assert champion.signals.pending(MODEL) == []


def test_a_body_longer_than_any_notice_is_not_read_to_its_end(champion: Stores, ask: Any) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 100_000

    answer = ask("POST", CALL, content=endless(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_an_alert_from_the_future_is_refused(champion: Stores, ask: Any) -> None:
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert ask("POST", CALL, json=notice(LABELS, startsAt=later)).status_code == 422
    assert champion.signals.pending(MODEL) == []


def test_a_champion_that_cannot_be_asked_for_is_told_to_be_tried_again(
    champion: Stores, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: Any, signal: Any) -> bool:
        raise ConnectionError("gone")

    monkeypatch.setattr(Signals, "record", gone)
    answer = ask("POST", CALL, json=notice(LABELS))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
