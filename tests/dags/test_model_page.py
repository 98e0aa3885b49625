"""Rules of the page Model: who sees it, who may roll back, and that nobody else's page can."""

from pathlib import Path
from typing import Any

import pytest

from pipelines import catalog
from pipelines.promotion.promote import override
from pipelines.prove.promotion.world import World
from pipelines.settings import settings
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import CHAMPION
from tests.champions import copied, crowned, entries
from tests.dags.test_feature_page import HOSTILE, Read

PAGE, CALL = "/model/retrain_flight_delays", "/model/retrain_flight_delays/rollback"
OURS = {"X-Evergreen": "rollback"}


@pytest.fixture(scope="module")
def ask() -> Any:
    """The pages as Airflow's API server has them, with its own guard; `role` is that of who asks, None for nobody."""
    from airflow.api_fastapi.app import init_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from airflow.utils.db import initdb
    from evergreen_airflow.pages import app
    from fastapi.testclient import TestClient

    initdb()
    init_auth_manager()
    client = TestClient(app)

    def asked(method: str, path: str, role: str | None = "admin", **sent: Any) -> Any:
        app.dependency_overrides = {}
        if role is not None:
            user = SimpleAuthManagerUser(username="ada", role=role)
            app.dependency_overrides[get_user] = lambda: user
        answer = client.request(method, path, **sent)
        app.dependency_overrides = {}
        return answer

    return asked


@pytest.fixture
def world(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> World:
    made = copied(crowned(tmp_path_factory), tmp_path / "home")
    monkeypatch.setenv("EVERGREEN_HOME", str(made.home))
    monkeypatch.setattr("evergreen_airflow.model_pages.models", lambda: {made.spec.name: made.spec})
    monkeypatch.setattr(catalog, "model", lambda name: made.spec)
    settings.cache_clear()
    return made


def champion(world: World) -> int | None:
    return world.stores.tracking.named(world.spec.name, CHAMPION)


def test_the_page_shows_champion_previous_anchor_and_each_versions_verdict(world: World, ask: Any) -> None:
    answer = ask("GET", PAGE, "viewer")
    assert answer.status_code == 200
    found = Read(answer.text)
    for said in ("version 2", "version 1", "previous", "anchor", "PASS", "FAIL", "not judged", "overridden"):
        assert said in found.text, said
    links = [each["href"] for each in found.of("a")]
    assert "retrain_flight_delays/1" in links
    shown = ask("GET", "/model/retrain_flight_delays/1", "viewer")
    assert shown.status_code == 200
    assert "PASS" in shown.text
    assert ask("GET", "/model/retrain_flight_delays/77").status_code == 404
    assert "trains no model" in ask("GET", "/model/features").text


def test_before_there_is_a_champion_the_page_says_so(ask: Any) -> None:
    assert "No champion yet" in ask("GET", PAGE).text


def test_who_may_not_start_a_run_may_not_roll_back(world: World, ask: Any) -> None:
    sent = {"json": {"reason": "r"}, "headers": OURS}
    assert ask("GET", PAGE, None).status_code == 401
    assert ask("POST", CALL, None, **sent).status_code == 401
    assert ask("POST", CALL, "viewer", **sent).status_code == 403
    assert champion(world) == 2
    assert ask("POST", CALL, "user", **sent).status_code == 200
    assert champion(world) == 1


def test_who_may_not_use_the_button_does_not_see_it(world: World, ask: Any) -> None:
    assert "<form" in ask("GET", PAGE, "user").text
    seen = ask("GET", PAGE, "viewer").text
    assert "<form" not in seen
    assert "who may answer its approvals can roll back" in seen


def test_where_there_is_nothing_to_go_back_to_there_is_no_button(ask: Any) -> None:
    """Before the first champion, and with a single version."""
    from evergreen_airflow.model_pages import _form

    assert "There is no other version to roll back to" in ask("GET", PAGE).text
    assert "<form" not in ask("GET", PAGE).text
    one = {"version": 1, "retired": None}
    found = {"champion": 1, "versions": [one], "rollback": {"to": None, "obstacles": []}}
    assert "<form" not in _form("retrain_flight_delays", found)
    assert "<form" in _form(
        "retrain_flight_delays", found | {"versions": [one, {"version": 2, "retired": None}]}
    )


@pytest.mark.parametrize(
    "path", [PAGE, f"{PAGE}/2", "/models", "/arrivals/ingest_flights", "/features/features"]
)
def test_pages_fit_phones_and_the_dark(world: World, ask: Any, path: str) -> None:
    answer = ask("GET", path)
    assert answer.status_code == 200
    assert "name=viewport" in answer.text
    assert "prefers-color-scheme:dark" in answer.text.replace(" ", "")


def test_a_call_rolls_back_in_the_name_of_who_is_logged_in(world: World, ask: Any) -> None:
    answer = ask("POST", CALL, json={"reason": "late flights", "to": 1}, headers=OURS)
    assert answer.status_code == 200, answer.text
    assert answer.json()["champion_version"] == 1
    last = entries(world, world.stores)[-1]
    assert (last.action, last.who, last.why) == ("rollback", "ui: ada", "late flights")
    again = ask("POST", CALL, json={"reason": "late flights", "to": 1}, headers=OURS)
    assert (again.status_code, "already" in again.json()["detail"]) == (409, True)
    assert "rolled back to by ui: ada" in Read(ask("GET", PAGE).text).text


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"json": {"reason": "r"}}, 403),
        ({"json": {"reason": "r"}, "headers": {"X-Evergreen": "x"}}, 403),
        ({"json": {"reason": "r"}, "headers": {**OURS, "Sec-Fetch-Site": "cross-site"}}, 403),
        ({"json": {"reason": "r"}, "headers": {**OURS, "Sec-Fetch-Site": "same-site"}}, 403),
        ({"content": '{"reason": "r"}', "headers": {**OURS, "Content-Type": "text/plain"}}, (403, 422)),
        ({"data": {"reason": "r"}, "headers": OURS}, (403, 422)),
        ({"json": {"reason": ""}, "headers": OURS}, 422),
        ({"json": {"reason": "x" * 501}, "headers": OURS}, 422),
        ({"json": {"reason": "r", "force": True}, "headers": OURS}, 422),
        ({"json": {"reason": "r", "to": 0}, "headers": OURS}, 422),
        ({"json": {"reason": " "}, "headers": OURS}, 409),
    ],
)
def test_no_other_sites_page_and_no_crooked_call_rolls_back(
    world: World, ask: Any, sent: Any, code: Any
) -> None:
    assert ask("POST", CALL, **sent).status_code in (code if isinstance(code, tuple) else (code,))
    assert champion(world) == 2


def test_the_page_runs_its_own_script_and_no_other(world: World, ask: Any) -> None:
    import base64
    import hashlib

    answer = ask("GET", PAGE)
    policy = answer.headers["content-security-policy"]
    script = answer.text.split("<script>")[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert answer.text.count("<script>") == 1


def test_what_a_person_wrote_is_no_markup(world: World, ask: Any) -> None:
    override(world.spec, 3, Stores(settings(), HOSTILE), _now(), HOSTILE)
    found = Read(ask("GET", PAGE).text)
    assert found.text.count(HOSTILE) >= 2
    assert not found.of("img")
    assert len(found.of("script")) == 1


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)
