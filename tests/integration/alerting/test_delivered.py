"""Alerts get to people by e-mail and webhook; what hangs, drips, lies or is gone holds nobody up and learns nothing."""

import json
import logging
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from pipelines.alerting import delivery, telling
from pipelines.alerting.alert import Alert, Well
from pipelines.alerting.delivery import MOST, checked, deliver, tried
from pipelines.alerting.kinds import Kind
from pipelines.alerting.message import Message
from pipelines.alerting.telling import ended, heard
from pipelines.cli import app
from pipelines.contracts import EvergreenError
from pipelines.settings import PROJECT, Settings, settings
from pipelines.stores import Stores
from tests.sinks import hook, mail_server

SECRET = "T0KEN-hunter2"
NOW = datetime(2013, 4, 2, 6, tzinfo=UTC)
DRIFT = Alert(Kind.DRIFT, "m", "m drifted", "two columns <b>moved</b> @channel", "evergreen monitor m", NOW)
SAID = [Message("[warning] x", "y", "warning")]
NONSENSE = {
    "no HTTP at all": b"\x00\x01garbage\r\n",
    "nothing": b"",
    "half a status": b"HTTP/1.1 ",
    "a wrong status": b"HTTP/1.1 abc OK\r\n\r\n",
    "an error": b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
    "a redirect to a file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000,
}


@pytest.fixture(autouse=True)
def _nobody_rests() -> None:
    delivery._SILENT.clear()


def told_at(*addresses: str, home: Path, **more: Any) -> Stores:
    return Stores(Settings(_env_file=None, home=home, alert_urls=SecretStr(" ".join(addresses)), **more))


def kept(stores: Stores) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (stores.settings.home / "alerts.jsonl").read_text().splitlines()]


def test_a_mail_and_a_webhook_are_told_once_and_once_more_when_it_is_over(tmp_path: Path) -> None:
    with mail_server() as mail, hook() as posted:
        mailto = f"mailto://127.0.0.1:{mail.port}/?from=evergreen@example.org&to=oncall@example.org"
        stores = told_at(mailto, f"json://{posted.host}/{SECRET}", home=tmp_path)
        for hours in range(3):
            heard([DRIFT], stores, NOW + timedelta(hours=hours))
        heard([Well(Kind.DRIFT, "m")], stores, NOW + timedelta(hours=4))
        ended(Well(Kind.DRIFT, "m"), stores, NOW + timedelta(hours=5))
    assert [mail["Subject"] for mail in mail.mails] == ["[warning] m drifted", "[over] m drifted"]
    assert [(mail["To"], mail.get_content_type()) for mail in mail.mails] == [
        ("oncall@example.org", "text/plain")
    ] * 2
    first = mail.mails[0].get_payload(decode=True).decode()
    assert "Since: 2013-04-02 06:00 UTC" in first
    assert "two columns <b>moved</b> @\u200bchannel" in first
    assert "Act: Not now." in first
    bodies = [json.loads(each.partition(b"\r\n\r\n")[2]) for each in posted.posted]
    assert [(each["title"], each["type"]) for each in bodies] == [
        ("[warning] m drifted", "warning"), ("[over] m drifted", "warning"),
    ]  # fmt: skip
    assert [each["event"] for each in kept(stores)] == ["opened", "over"]


def test_below_the_least_severity_nobody_is_disturbed_but_it_is_kept_here(tmp_path: Path) -> None:
    with hook() as posted:
        stores = told_at(f"json://{posted.host}/", home=tmp_path, alert_severity="critical")
        heard([DRIFT, Alert(Kind.TASK_FAILED, "t", "t failed", "boom", "log")], stores, NOW)
    assert [json.loads(each.partition(b"\r\n\r\n")[2])["title"] for each in posted.posted] == [
        "[critical] t failed"
    ]
    assert len(kept(stores)) == 2


def test_what_reached_nobody_is_tried_again_after_a_while_by_whoever_tells_anything(tmp_path: Path) -> None:
    with hook(NONSENSE["an error"]) as deaf:
        stores = told_at(f"json://{deaf.host}/", home=tmp_path)
        heard([DRIFT], stores, NOW)
        heard([DRIFT], stores, NOW + timedelta(minutes=1))
        assert len(deaf.posted) == 1
    with hook() as hears:
        again = told_at(f"json://{hears.host}/", home=tmp_path)
        heard([Well(Kind.DECAY, "other")], again, NOW + timedelta(minutes=11))
        heard([DRIFT], again, NOW + timedelta(minutes=12))
        assert len(hears.posted) == 1


def test_hooks_that_answer_nonsense_fail_nothing_and_their_addresses_are_in_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack, caplog.at_level(logging.DEBUG):
        hooks = [stack.enter_context(hook(answer)) for answer in NONSENSE.values()]
        addresses = [f"json://user:{SECRET}@{odd.host}/{SECRET}" for odd in hooks]
        stores = told_at(*addresses, home=tmp_path)
        heard([DRIFT], stores, NOW)
        assert all(odd.posted for odd in hooks)
        assert [each.whole for each in tried(stores.settings, NOW)] == [False] * len(NONSENSE)
    assert len(kept(stores)) == 1
    said = caplog.text + "".join(capfd.readouterr()) + (tmp_path / "alerts.jsonl").read_text()
    assert SECRET not in said
    assert "1 alerts were not delivered" in caplog.text


def test_redirects_are_not_followed_even_where_the_address_asks_for_them(tmp_path: Path) -> None:
    with hook() as other:
        away = f"HTTP/1.1 307 Away\r\nLocation: http://{other.host}/\r\nContent-Length: 0\r\n\r\n".encode()
        with hook(away) as first:
            stores = told_at(f"json://{first.host}/{SECRET}?redirect=yes", home=tmp_path)
            assert deliver(SAID, stores.settings) == [False]
            assert first.posted
    assert other.posted == []


def test_who_hangs_or_drips_is_given_up_and_left_alone_and_the_others_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SECONDS", 8.0)
    with ExitStack() as stack:
        silent = stack.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
        drips = stack.enter_context(hook(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", drip=0.2))
        hears = stack.enter_context(hook())
        hosts = (f"127.0.0.1:{silent.getsockname()[1]}", drips.host, hears.host)
        stores = told_at(*(f"json://{host}/" for host in hosts), home=tmp_path)
        begun = time.monotonic()
        assert deliver(SAID, stores.settings) == [True]
        assert time.monotonic() - begun < 60
        begun = time.monotonic()
        for _ in range(3):
            assert deliver(SAID, stores.settings) == [True]
        assert len(drips.posted) == 1
        assert len(hears.posted) == 4


def test_an_answer_without_end_ends_neither_the_machine_nor_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SECONDS", 8.0)
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 50_000_000
    with hook(endless, drip=0.01) as posted:
        stores = told_at(f"json://{posted.host}/", home=tmp_path)
        begun = time.monotonic()
        assert deliver(SAID, stores.settings) == [False]
        assert time.monotonic() - begun < 60


def test_a_hundred_alerts_are_a_few_messages(tmp_path: Path) -> None:
    with hook() as posted:
        stores = told_at(f"json://{posted.host}/", home=tmp_path)
        heard(
            [Alert(Kind.FILE_REFUSED, f"f/{n}", f"file {n}", "bad", "look") for n in range(100)], stores, NOW
        )
    bodies = [json.loads(each.partition(b"\r\n\r\n")[2]) for each in posted.posted]
    assert len(bodies) == MOST
    assert bodies[-1]["title"] == f"[warning] {100 - MOST + 1} more alerts"
    assert len(stores.alerts.listed()) == len(kept(stores)) == 100


def test_a_database_that_is_gone_keeps_nobody_from_being_told_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "SECONDS", 0.5)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent, hook() as posted:
        gone = SecretStr(f"postgresql+psycopg2://ada:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/x")
        stores = told_at(f"json://{posted.host}/", home=tmp_path, database_url=gone)
        begun = time.monotonic()
        heard(
            [Well(Kind.DRIFT, "w"), DRIFT, Alert(Kind.DECAY, "m", "m decayed", SECRET, "look")], stores, NOW
        )
        ended(Well(Kind.TASK_FAILED, "t"), stores, NOW)
        assert time.monotonic() - begun < 60
    assert len(posted.posted) == 2
    assert SECRET.encode() not in b"".join(posted.posted)
    assert len(kept(stores)) == 2


def test_what_raises_while_it_is_looked_for_is_not_over_and_what_was_found_before_is_told(
    tmp_path: Path,
) -> None:
    stores = told_at(home=tmp_path)
    heard([DRIFT], stores, NOW)

    def found() -> Any:
        yield Alert(Kind.DECAY, "m", "m decayed", "why", "look")
        raise EvergreenError("MLflow is not heard")
        yield Well(Kind.DRIFT, "m")

    heard(found(), stores, NOW)
    assert {each.key for each in stores.alerts.listed()} == {"drift:m", "decay:m"}


def test_a_home_that_cannot_be_written_does_not_keep_an_alert_from_people(tmp_path: Path) -> None:
    with hook() as posted:
        stores = told_at(f"json://{posted.host}/", home=tmp_path)
        (tmp_path / "alerts.jsonl").mkdir()
        heard([DRIFT], stores, NOW)
    assert posted.posted


def test_each_address_is_tried_and_named_by_its_place_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with hook() as hears, hook(NONSENSE["an error"]) as deaf:
        addresses = f"json://{hears.host}/{SECRET}, json://{deaf.host}/{SECRET}\njson://{hears.host}/"
        monkeypatch.setenv("EVERGREEN_ALERT_URLS", addresses)
        settings.cache_clear()
        done = CliRunner().invoke(app, ["alerts", "test"])
        assert done.exit_code == 1
        assert done.output.splitlines() == [
            "address 1: delivered",
            "address 2: not delivered",
            "address 3: delivered",
        ]
        monkeypatch.setenv("EVERGREEN_ALERT_URLS", f"json://{hears.host}/")
        settings.cache_clear()
        plain = CliRunner().invoke(app, ["alerts", "test", "--json"])
        assert (plain.exit_code, json.loads(plain.output)) == (
            0,
            [{"address": 1, "delivered": True, "silent": False}],
        )
    assert len(hears.posted) == 3


def test_whether_apprise_can_use_an_address_is_said_without_showing_it(tmp_path: Path) -> None:
    good, bad = "json://127.0.0.1:9/x", f"slack://{SECRET}"
    assert checked(told_at(good, home=tmp_path).settings) == "1 addresses"
    assert checked(told_at(home=tmp_path).settings).startswith("nobody is told")
    with pytest.raises(EvergreenError, match="address 2 of 3") as said:
        checked(told_at(good, bad, good, home=tmp_path).settings)
    assert SECRET not in str(said.value)


def test_open_alerts_are_listed_with_since_when_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    stores = Stores(settings())
    assert CliRunner().invoke(app, ["alerts"]).output.strip() == "Nothing is open."
    heard([DRIFT, Alert(Kind.TASK_FAILED, "t", "t \x1b[31mfailed", "boom", "log")], stores, NOW)
    heard([Well(Kind.DRIFT, "m")], stores, NOW)
    shown = CliRunner().invoke(app, ["alerts"]).output
    assert "[critical] t \\x1b[31mfailed, since 2013-04-02 06:00 UTC, seen 1 times" in shown
    assert "act: Yes. Read the task's log" in " ".join(shown.split())
    assert "\x1b" not in shown
    assert "drifted" not in shown
    every = json.loads(CliRunner().invoke(app, ["alerts", "--all", "--json"]).output)
    assert [(each["key"], each["resolved_at"] is None) for each in every] == [
        ("task_failed:t", True),
        ("drift:m", False),
    ]
    assert tried(stores.settings, NOW) == []


def test_telling_loads_nothing_heavy_into_the_task_that_tells(tmp_path: Path) -> None:
    code = (
        "import sys; from datetime import UTC, datetime; from pipelines.alerting.telling import ended;"
        "from pipelines.alerting.alert import Well; from pipelines.alerting.kinds import Kind;"
        "from pipelines.settings import settings; from pipelines.stores import Stores;"
        "ended(Well(Kind.TASK_FAILED, 't'), Stores(settings()), datetime.now(UTC));"
        "heavy = {'apprise', 'requests', 'pandas', 'mlflow', 'feast', 'sklearn', 'yaml'} & set(sys.modules);"
        "print(sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
