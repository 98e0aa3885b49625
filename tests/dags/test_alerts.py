"""Telling people never makes anything fail, never shows the webhook's address, and no event depends on it."""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from pipelines.contracts import EvergreenError
from pipelines.settings import Settings, settings
from pipelines.stores import Stores
from tests.integration.ingestion.test_ingest import DATA, GOOD, land

SECRET = "T0KEN-hunter2"
ALERT = {"what": "x failed", "why": "boom", "act": "Yes."}
BAD = [
    f"hooks.example/{SECRET}",
    f"file:///etc/{SECRET}",
    f"ftp://hooks.example/{SECRET}",
    f"https:///{SECRET}",
    f"https://hooks.example/a b/{SECRET}",
    f"https://hooks.example:notaport/{SECRET}",
    f"https://hooks.example:99999/{SECRET}",
    f"https://user:{SECRET}@hooks.example/",
    f"https://hooks.example/é{SECRET}",
    f"https://hooks.example/{SECRET}\nX: y",
    f"javascript:{SECRET}",
    f"https://[::1/{SECRET}",
    f" https://hooks.example/{SECRET}",
    f"https:hooks.example/{SECRET}",
]
NONSENSE = {
    "no HTTP at all": b"\x00\x01garbage\r\n",
    "nothing": b"",
    "half a status": b"HTTP/1.1 ",
    "a wrong status": b"HTTP/1.1 abc OK\r\n\r\n",
    "an error": b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
    "a redirect to a file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
    "a redirect without an address": b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000,
}


@pytest.fixture
def hook() -> Iterator[Callable[[bytes], tuple[str, list[bytes]]]]:
    """A webhook that answers each post with these bytes; its address, and what was posted."""
    servers = []

    def serve(answer: bytes) -> tuple[str, list[bytes]]:
        server, posted = socket.create_server(("127.0.0.1", 0)), []
        servers.append(server)

        def work() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with closing(client):
                    client.settimeout(5)
                    asked = b""
                    while not asked.endswith(b"}") and (
                        more := client.recv(65536)
                    ):  # head and body come apart
                        asked += more
                    posted.append(asked)
                    client.sendall(answer)

        threading.Thread(target=work, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/{SECRET}", posted

    yield serve
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def use(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("EVERGREEN_ALERT_WEBHOOK", address)
    settings.cache_clear()


def kept() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (settings().home / "alerts.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
def test_a_hook_that_answers_nonsense_fails_nothing_and_its_address_is_in_no_log(
    hook: Any, answer: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from evergreen_airflow.alerts import tell

    address, posted = hook(answer)
    use(monkeypatch, address)
    with caplog.at_level(logging.DEBUG):
        tell(ALERT)
    assert posted
    assert kept() == [ALERT]
    assert SECRET not in caplog.text
    assert "not posted to the webhook" in caplog.text


def test_a_hook_that_answers_is_posted_to(hook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from evergreen_airflow.alerts import tell

    address, posted = hook(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    use(monkeypatch, address)
    tell(ALERT | {"odd": datetime(2013, 1, 1, tzinfo=UTC), "path": Path("/x")})
    assert b"x failed: boom. Act? Yes." in b"".join(posted)


@pytest.mark.parametrize("address", BAD)
def test_a_bad_address_is_refused_at_the_start_and_not_shown(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from evergreen_airflow.alerts import tell

    from pipelines.cli import app

    with pytest.raises(EvergreenError, match="EVERGREEN_ALERT_WEBHOOK") as said:
        Settings(_env_file=None, alert_webhook=SecretStr(address))
    use(monkeypatch, address)
    for command in (["start"], ["doctor"], ["doctor", "--json"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 1
        assert "EVERGREEN_ALERT_WEBHOOK" in done.output
        assert SECRET not in done.output
    with caplog.at_level(logging.DEBUG):
        tell(ALERT)
    assert SECRET not in caplog.text + str(said.value)


@pytest.mark.parametrize(
    "address",
    ["https://hooks.example/T/B/x", "http://127.0.0.1:8123/", "https://[::1]:8/x?y=%20#z", "HTTPS://h"],
)
def test_a_good_address_is_taken(address: str) -> None:
    found = Settings(_env_file=None, alert_webhook=SecretStr(address)).alert_webhook
    assert found is not None
    assert found.get_secret_value() == address
    assert Settings(_env_file=None, alert_webhook=SecretStr("")).alert_webhook is None


def test_a_hook_that_does_not_answer_in_time_is_left_alone_for_a_while(
    hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evergreen_airflow import alerts

    server = socket.create_server(("127.0.0.1", 0))  # accepts, never answers
    monkeypatch.setattr(alerts, "SECONDS", 0.2)
    use(monkeypatch, f"http://127.0.0.1:{server.getsockname()[1]}/")
    begun = time.monotonic()
    with closing(server):
        for _ in range(50):
            alerts.tell(ALERT)
    assert time.monotonic() - begun < 5
    assert len(kept()) == 50


def test_a_home_that_cannot_be_written_does_not_keep_an_alert_from_the_webhook(
    hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evergreen_airflow.alerts import tell

    address, posted = hook(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    use(monkeypatch, address)
    (settings().home / "alerts.jsonl").mkdir()
    tell(ALERT)
    assert posted


@pytest.mark.parametrize("answer", [NONSENSE["no HTTP at all"], NONSENSE["nothing"]])
def test_rows_that_came_in_make_an_event_whatever_the_webhook_does(
    dags: dict, hook: Any, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, hook(answer)[0])
    stores = Stores(settings())
    land(stores, (DATA / "flights_missing_column.csv").read_bytes(), "flights_0.csv")
    land(stores, GOOD)
    task = dags["ingest_flights"].get_task("ingest_and_validate")
    assert [asset.name for asset in task.outlets] == ["silver_flights"]
    results = task.python_callable()
    assert [result["state"] for result in results] == ["refused", "archived"]
    assert [alert["what"].split(":")[1].strip() for alert in kept()] == ["flights_0.csv"]


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
        patched.setattr("evergreen_airflow.alerts.refused", die)
        with pytest.raises(Killed):
            task.python_callable()
    tried(2)
    assert [result["silver"] for result in task.python_callable()] == [30]
    tried(1)  # of the next run
    with pytest.raises(AirflowSkipException):
        task.python_callable()
