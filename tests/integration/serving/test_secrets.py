"""Nothing that an open route says, and nothing in serving's log, is an exception's text, an address or a secret."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pipelines.contracts import EvergreenError, TransientError
from pipelines.serving.__main__ import _named
from pipelines.serving.app import create_app
from pipelines.serving.causes import Cause, Discreet
from pipelines.serving.schemas import example
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores
from tests.integration.serving.worlds import (
    SPEC,
    URL,
    FeatureTable,
    Models,
    Version,
    licence,
    wait,
)

TEXT = "postgresql://ada:hush@10.1.2.3:5432/x said: no, Grace Hopper"
TOLD = ("hush", "ada:", "10.1.2.3", ":5432", "Grace")
ERRORS = [EvergreenError(TEXT), TransientError(TEXT), ConnectionError(TEXT), ValueError(TEXT)]


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def walked(app: FastAPI, client: TestClient) -> dict[str, str]:
    """What each route of the app answers, by verb and path: headers and body."""
    said = {}
    for route in app.routes:
        for verb in sorted(route.methods & {"GET", "POST"}):  # type: ignore[attr-defined]
            path = route.path.replace("{model}", SPEC.name)  # type: ignore[attr-defined]
            reply = client.request(verb, path, json=example(SPEC) if verb == "POST" else None)
            said[f"{verb} {path}"] = f"{reply.status_code} {dict(reply.headers)} {reply.text}"
    assert {f"POST {URL}", "GET /v1/models", "GET /ready", "GET /metrics", "GET /docs"} <= set(said)
    return said


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A deployment of which nothing listens, and every address carries a secret."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    port = closed_port()
    return Settings(
        _env_file=None,
        home=tmp_path,
        tracking_uri=f"http://ada:hush-tracking@127.0.0.1:{port}",
        database_url=f"postgresql+psycopg2://ada:hush-database@127.0.0.1:{port}/evergreen",
        online_store="redis",
        redis_url=f"127.0.0.1:{port},password=hush-redis",
        alert_urls=f"json://127.0.0.1:{port}/hush-webhook",
        serving_poll_seconds=0.05,
    )


def test_with_every_back_end_gone_no_open_route_and_no_log_line_tells_where_it_was_or_its_secret(
    secret: Settings, pipeline: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stores, models = Stores(secret), Models(Version(1, "one"), {1: pipeline})
    asked, told = [], []
    for source in (stores.tracking, models):
        app = create_app(secret, {SPEC.name: SPEC}, source, stores.features, stores.predictions)
        with TestClient(app, raise_server_exceptions=False) as client:
            wait(lambda c=client: _settled(c))  # type: ignore[misc]
            asked += walked(app, client).values()
            told.append(client.get("/v1/models/flight_delays").json())
    assert told[0]["last_error"] == Cause.SILENT
    assert told[1]["version"] == 1
    assert any("prediction log" in said for said in asked)
    logged = [Discreet().format(record) for record in caplog.records]
    assert len(logged) >= 3
    port = secret.mlflow_uri.rpartition(":")[2]
    assert not [text for text in asked + logged if "hush" in text or f":{port}" in text]


def _settled(client: TestClient) -> bool:
    status = client.get("/v1/models/flight_delays").json()
    return bool(status["version"] or status["last_error"])


class Leaky:
    """Sources of which one way in raises an error full of what must not be told."""

    def __init__(self, door: str, error: Exception, pipeline: Any, stores: Stores) -> None:
        self.door, self.error, self.pipeline, self.stores = door, error, pipeline, stores
        self.table = FeatureTable()

    def _open(self, door: str) -> None:
        if door == self.door:
            raise self.error

    def champion(self, model: str) -> Version:
        self._open("champion")
        return Version(1, "one")

    def champions(self) -> Any:
        return self.champion

    def licence(self, version: Version) -> Any:
        self._open("licence")
        return licence(version, "OVERRIDE", TEXT)

    def fitted(self, version: Version) -> Any:
        self._open("fitted")
        return self

    def feature_names(self, spec: Any) -> list[str]:
        return self.table.feature_names(spec)

    def online_rows(self, *asked: Any) -> Any:
        self._open("features")
        return self.table.online_rows(*asked)

    def record(self, *predictions: Any) -> None:
        self._open("log")
        self.stores.predictions.record(*predictions)

    def predict_proba(self, row: Any) -> Any:
        self._open("answer")
        return self.pipeline.predict_proba(row[list(self.pipeline.feature_names_in_)])


@pytest.fixture
def log_lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    caplog.set_level(logging.DEBUG)
    caplog.handler.setFormatter(Discreet("%(levelname)s %(name)s %(message)s"))
    lines: list[str] = []
    yield lines
    assert not [line for line in caplog.text.splitlines() if any(word in line for word in TOLD)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("door", "said"),
    [
        ("champion", {Cause.SILENT, Cause.FOREIGN}),
        ("licence", {Cause.UNLICENSED, Cause.UNFETCHED}),
        ("fitted", {Cause.REFUSED, Cause.UNFETCHED}),
        ("answer", {Cause.MUTE, Cause.UNFETCHED}),
        ("features", {None}),
        ("log", {None}),
        ("none", {None}),
    ],
)
def test_whatever_fails_with_whatever_text_an_open_route_says_one_of_our_causes(
    door: str, said: set[Cause | None], error: Exception, pipeline: Any, stores: Stores, log_lines: list[str]
) -> None:
    quick = Settings(_env_file=None, home=stores.settings.home, serving_poll_seconds=0.02)
    leaky: Any = Leaky(door, error, pipeline, stores)
    app = create_app(quick, {SPEC.name: SPEC}, leaky, leaky, leaky)
    with TestClient(app, raise_server_exceptions=False) as client:
        wait(lambda: _settled(client))
        told, status = walked(app, client), client.get("/v1/models/flight_delays").json()
    assert not [path for path, text in told.items() if any(word in text for word in TOLD)]
    last = status["last_error"]
    assert any(last == cause if cause is None else str(cause) in last for cause in said), last
    assert (status["version"] == 1) == (None in said)


def test_a_thread_that_ends_by_an_error_is_told_of_without_what_that_says() -> None:
    script = f"""
import threading
from pipelines.serving.__main__ import _log
_log()
def broken(): raise ConnectionError({TEXT!r})
ending = threading.Thread(target=broken, name="books")
ending.start()
ending.join()
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "the thread books ended: ConnectionError at <string>:" in ended.stderr
    assert not [word for word in TOLD if word in ended.stderr + ended.stdout]


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg2://ada:hush@db:hush/x", "postgresql//ada:hush@db/x", "hush://ada:hush@db/x"]
)
def test_a_server_whose_database_has_no_address_ends_in_words_that_do_not_repeat_it(
    tmp_path: Path, url: str
) -> None:
    told = {
        "EVERGREEN_HOME": str(tmp_path),
        "EVERGREEN_DATABASE_URL": url,
        "EVERGREEN_SERVING_PORT": f"{closed_port()}",
    }
    command = [sys.executable, "-m", "pipelines.serving"]
    ended = subprocess.run(
        command, cwd=PROJECT, env=os.environ | told, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, "EVERGREEN_DATABASE_URL" in ended.stderr) == (2, True)
    assert not [word for word in ("hush", "ada", "Traceback") if word in ended.stderr + ended.stdout]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200), ("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:8000", 200), ("evil.example", 421),
        ("127.0.0.1.evil.example", 421), ("", 421), ("[::1", 421), ("localhost@evil.example", 421),
    ],
)  # fmt: skip
def test_who_asks_under_another_name_is_refused(
    stores: Stores, pipeline: Any, host: str, status: int
) -> None:
    """Such as a page of another site whose name was pointed to loopback."""
    named = _named(Settings(_env_file=None, home=stores.settings.home))
    app = create_app(named, {SPEC.name: SPEC}, Models(), FeatureTable(), stores.predictions)
    with TestClient(app) as client:
        for path in ("/health", "/v1/models"):
            assert client.get(path, headers={"Host": host}).status_code == status
    elsewhere = Settings(_env_file=None, home=stores.settings.home, host="0.0.0.0")  # noqa: S104
    assert _named(elsewhere).serving_hosts is None
    own = Settings(_env_file=None, home=stores.settings.home, serving_hosts="models.example")
    assert _named(own) == own


@pytest.mark.timeout(240)
def test_the_log_of_the_real_process_says_that_the_registry_is_silent_and_not_where_it_is(
    secret: Settings, tmp_path: Path
) -> None:
    port = closed_port()
    ours = {
        f"EVERGREEN_{name.upper()}": getattr(value, "get_secret_value", lambda v=value: str(v))()
        for name in type(secret).model_fields
        if (value := getattr(secret, name)) is not None
    }
    command = [sys.executable, "-m", "pipelines.serving"]
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=os.environ | ours | {"EVERGREEN_SERVING_PORT": str(port)},
            stdout=out,
            stderr=out,
        )
    try:
        wait_long(lambda: b"registry cannot be asked" in log.read_bytes())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=30) as reply:
            told = reply.read().decode() + log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    told += log.read_text()
    assert str(Cause.SILENT) in told
    closed = secret.mlflow_uri.rpartition(":")[2]
    assert not [word for word in ("hush", "ada", f":{closed}", "Traceback") if word in told], told


def wait_long(condition: Any) -> None:
    limit = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.1)
