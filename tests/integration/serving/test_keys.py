"""Rules of callers' keys: the default is nobody, a key is good for what it says, and what is kept opens nothing."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from pipelines.cli import app as commands
from pipelines.contracts import EvergreenError
from pipelines.serving.app import create_app
from pipelines.serving.door.keyring import Keyring
from pipelines.serving.http.access import statement
from pipelines.serving.schemas import example
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.api_keys import PREFIX, SCOPES, ApiKeys
from tests.integration.serving.worlds import SPEC, URL, FeatureTable, Models, Version, wait

NOW = datetime.now(UTC)
TABLE = {
    "/health": None,
    "/ready": None,
    "/docs": None,
    "/openapi.json": None,
    "/v2/health/live": None,
    "/v2/health/ready": None,
    "/v2/models/{model}/ready": None,
    "/v2/models/{model}/versions/{version}/ready": None,
    "/metrics": "read",
    "/v1/models": "read",
    "/v1/models/{model}": "read",
    "/v2": "read",
    "/v2/models/{model}": "read",
    "/v2/models/{model}/versions/{version}": "read",
    "/v1/feedback": "feedback",
    URL: "predict",
    f"/v1/models/{SPEC.name}/explanations": "explain",
    "/v1/models/{model}/explanations": "explain",
    "/v1/explanations": "explain",
    "/v1/models/{model}/predictions": "predict",
    "/v1/models/{model}/invocations": "predict",
    "/v2/models/{model}/infer": "predict",
    "/v2/models/{model}/versions/{version}/infer": "predict",
}
"""Who may call what: with callers' keys, whose key is good for that; None: whoever reaches the port."""


@dataclass
class Locked:
    """An app that asks for keys."""

    client: TestClient
    stores: Stores

    def call(self, method: str, path: str, token: str | None = None, body: Any = None) -> Any:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.client.request(method, path, headers=headers, json=body)

    def ask(self, token: str | None) -> Any:
        return self.call("POST", URL, token, example(SPEC))


@pytest.fixture
def locked(stores: Stores, pipeline: Any) -> Iterator[Locked]:
    quick = Settings(_env_file=None, home=stores.settings.home, serving_poll_seconds=0.02)
    models = Models(Version(1, "one"), {1: pipeline})
    parts = (models, FeatureTable(), stores.predictions, Keyring(lambda: stores.api_keys, 0.02))
    with TestClient(create_app(quick, {SPEC.name: SPEC}, *parts), raise_server_exceptions=False) as client:
        made = Locked(client, stores)
        wait(lambda: client.get("/ready").status_code == 200)
        yield made


def known(locked: Locked, token: str) -> None:
    wait(lambda: locked.ask(token).status_code not in {401, 503})


def test_the_table_of_routes_is_whole(locked: Locked) -> None:
    said = {route.path: statement(route) for route in locked.client.app.routes}  # type: ignore[attr-defined]
    assert {path: access.scope for path, access in said.items() if access} == TABLE
    assert set(TABLE.values()) == {None, *SCOPES}


@pytest.mark.parametrize("path", TABLE)
def test_each_route_lets_in_those_whose_key_is_good_for_it_and_no_others(path: str, locked: Locked) -> None:
    needed, name = TABLE[path], path.format(model=SPEC.name, version=1)
    method = "POST" if needed in {"predict", "explain", "feedback"} else "GET"
    others = [scope for scope in SCOPES if scope != needed]
    good = locked.stores.api_keys.make("good", [needed or "read"], NOW)
    bad = locked.stores.api_keys.make("bad", others, NOW)
    for token in (good, bad):
        known(locked, token)
    shut = {401, 403}
    assert (locked.call(method, name).status_code in shut) == (needed is not None)
    assert (locked.call(method, name, "evergreen_guess").status_code in shut) == (needed is not None)
    assert (locked.call(method, name, bad).status_code == 403) == (needed is not None)
    assert locked.call(method, name, good).status_code not in shut


def test_before_the_keys_were_read_nobody_is_let_in(stores: Stores, pipeline: Any) -> None:
    def silent() -> ApiKeys:
        raise ConnectionError("the database is down at postgresql://ada:hush@db")

    token = stores.api_keys.make("app", ["predict"], NOW)
    models = Models(Version(1, "one"), {1: pipeline})
    app = create_app(
        stores.settings, {SPEC.name: SPEC}, models, FeatureTable(), stores.predictions, Keyring(silent, 1)
    )
    with TestClient(app) as client:
        said = client.post(URL, json=example(SPEC), headers={"Authorization": f"Bearer {token}"})
        assert (said.status_code, said.headers["Retry-After"]) == (503, "1")
        assert client.get("/health").status_code == 200


def test_a_known_key_holds_on_while_the_keys_cannot_be_read(
    locked: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, tried = locked.stores.api_keys.make("app", ["predict"], NOW), []
    known(locked, token)

    def broken(self: ApiKeys) -> list[Any]:
        tried.append(1)
        raise ConnectionError("gone")

    monkeypatch.setattr(ApiKeys, "all", broken)
    wait(lambda: len(tried) > 2)
    assert locked.ask(token).status_code == 200
    assert locked.ask("evergreen_guess").status_code == 401


def test_a_key_that_was_ended_or_has_run_out_opens_nothing(locked: Locked) -> None:
    token = locked.stores.api_keys.make("app", ["predict"], NOW)
    short = locked.stores.api_keys.make("other", ["predict"], NOW, datetime.now(UTC) + timedelta(seconds=0.5))
    known(locked, token)
    locked.stores.api_keys.end("app", datetime.now(UTC))
    for gone in (token, short):
        wait(lambda gone=gone: locked.ask(gone).status_code == 401)  # type: ignore[misc]
    assert "no such key" in locked.ask(token).json()["detail"]


def test_who_asks_more_often_than_his_key_may_is_told_when_to_ask_again(locked: Locked) -> None:
    slow = locked.stores.api_keys.make("slow", ["predict"], NOW, per_second=0.01)
    free = locked.stores.api_keys.make("free", ["predict"], NOW)
    for token in (slow, free):
        known(locked, token)
    told = [locked.ask(slow) for _ in range(3)]
    assert told[-1].status_code == 429
    assert int(told[-1].headers["Retry-After"]) > 1
    assert locked.ask(free).status_code == 200


def test_what_is_kept_of_a_key_opens_nothing(locked: Locked) -> None:
    token = locked.stores.api_keys.make("app", ["predict"], NOW)
    known(locked, token)
    home = locked.stores.settings.home
    with sqlite3.connect(home / "evergreen.db") as database:
        ((digest,),) = database.execute("select digest from api_keys").fetchall()
    assert locked.ask(digest).status_code == 401
    kept = b"".join(path.read_bytes() for path in home.glob("evergreen.db*"))
    assert token.encode() not in kept
    assert token.removeprefix(PREFIX).encode() not in kept


@pytest.mark.parametrize(
    ("name", "scopes"),
    [("App", ["predict"]), ("", ["predict"]), ("a" * 70, ["read"]), ("app", []), ("app", ["predict", "all"])],
)
def test_a_key_for_nobody_or_for_nothing_is_not_made(name: str, scopes: list[str], stores: Stores) -> None:
    with pytest.raises(EvergreenError):
        stores.api_keys.make(name, scopes, NOW)
    assert stores.api_keys.all() == []


def test_a_person_makes_rotates_and_ends_keys_and_the_log_says_so(stores: Stores) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(commands, ["keys", *words])
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    first = run(
        "make", "billing", "--scope", "predict", "--scope", "read", "--days", "90", "--per-second", "5"
    )
    second = run("rotate", "billing", "--hours", "0")
    assert first != second
    older, newer = stores.api_keys.all()
    assert (newer.scopes, newer.per_second) == (("predict", "read"), 5.0)
    assert not older.lasts(datetime.now(UTC))
    assert newer.ends_at - newer.made_at == timedelta(days=90)
    run("end", "billing", "--reason", "leaked")
    assert not any(key.lasts(datetime.now(UTC)) for key in stores.api_keys.all())
    shown = json.loads(run("list", "--json"))
    assert [each["name"] for each in shown] == ["billing", "billing"]
    entries = stores.audit.entries("key:billing")
    assert [entry.action for entry in entries] == ["make-key", "rotate-key", "end-key"]
    assert not any(token in str(entries) for token in (first, second))
    assert CliRunner().invoke(commands, ["keys", "rotate", "billing"]).exit_code == 1
