"""From drift that Prometheus sees to a retraining's plan, on the real Prometheus and the real Alertmanager."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.loop.gauges.names import Sample, families
from pipelines.prove.servers import alertmanager_server, prometheus_missing, prometheus_server
from pipelines.settings import PROJECT
from pipelines.stores import Stores
from tests.dags.test_alertmanager import ask, champion, woken
from tests.retrainings import MODEL, plan
from tests.training_sets import AS_OF

__all__ = ["ask", "champion", "woken"]

pytestmark = pytest.mark.skipif(prometheus_missing() is not None, reason=str(prometheus_missing()))


class Drifting:
    """A stub of the loop's numbers whose drift can be set."""

    def __init__(self) -> None:
        self.share, self.asked = 0.2, 0

    def text(self) -> bytes:
        from prometheus_client import CollectorRegistry, generate_latest

        self.asked += 1
        found = [Sample("drift_share", (MODEL, "1"), self.share), Sample("drift_threshold", (MODEL,), 0.5)]
        registry = CollectorRegistry()
        registry.register(
            type("Told", (), {"collect": lambda _: families(found), "describe": lambda _: []})()
        )
        return generate_latest(registry)


@pytest.fixture
def stub() -> Iterator[tuple[Drifting, str]]:
    from pipelines.loop.gauges.server import server

    told = Drifting()
    made = server("127.0.0.1", 0, told.text)
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield told, f"127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    made.server_close()


@dataclass(frozen=True)
class Route:
    """Where the pages are, and a token of Airflow's own for somebody who may start runs."""

    address: str
    token: str


@pytest.fixture
def route(ask: Any) -> Iterator[Route]:
    """The pages at a port, behind Airflow's own guard."""
    import uvicorn
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from evergreen_airflow.pages import app

    assert app.dependency_overrides == {}
    made = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    _wait(lambda: made.started)
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="prometheus", role="user"))
    yield Route(f"http://127.0.0.1:{made.servers[0].sockets[0].getsockname()[1]}", token)
    made.should_exit = True
    thread.join(10)


def _wait(until: Callable[[], Any], seconds: float = 40.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := until():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


def _prometheus(folder: Path, scraped: str, told: str) -> Path:
    """Our configuration and rules, asked every quarter of a second, an alert's `for` being a moment."""
    ours = yaml.safe_load((PROJECT / "observability" / "prometheus" / "prometheus.yml").read_text())
    rules = yaml.safe_load((PROJECT / "observability" / "prometheus" / "rules" / "pipeline.yml").read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"] if "for" in rule):
        rule["for"] = "300ms"
    (folder / "rules").mkdir()
    (folder / "rules" / "pipeline.yml").write_text(yaml.safe_dump(rules))
    ours["global"] = dict.fromkeys(("scrape_interval", "evaluation_interval", "scrape_timeout"), "250ms")
    for job in ours["scrape_configs"]:
        job.pop("scrape_timeout", None)
    (folder / "targets").mkdir()
    for name, target in (("serving", "127.0.0.1:1"), ("pipeline", scraped), ("alertmanager", told)):
        (folder / "targets" / f"{name}.yml").write_text(yaml.safe_dump([{"targets": [target]}]))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(ours))
    return folder / "prometheus.yml"


def _alertmanager(folder: Path, route: Route) -> Path:
    """Our configuration, in which the webhook lies where this test has it, and nobody waits for more alerts."""
    ours = yaml.safe_load((PROJECT / "observability" / "alertmanager" / "alertmanager.yml").read_text())
    for each in (ours["route"], *ours["route"]["routes"]):
        each |= {"group_wait": "100ms", "group_interval": "500ms", "repeat_interval": "1s"}
    (webhook,) = ours["receivers"][1]["webhook_configs"]
    webhook["url"] = webhook["url"].replace("http://127.0.0.1:8080/evergreen", route.address)
    (folder / webhook["http_config"]["authorization"]["credentials_file"]).write_text(f"{route.token}\n")
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(ours))
    return folder / "alertmanager.yml"


def test_drift_that_prometheus_sees_starts_a_retraining_through_alertmanager(
    champion: Stores, woken: Any, stub: tuple[Drifting, str], route: Route, tmp_path: Path
) -> None:
    (told, scraped), folder = stub, tmp_path / "watch"
    folder.mkdir()
    with (
        alertmanager_server(folder, _alertmanager(folder, route)) as alerts,
        prometheus_server(folder, _prometheus(folder, scraped, alerts)),
    ):
        _wait(lambda: told.asked > 3)
        assert champion.signals.pending(MODEL) == []
        told.share = 0.6
        (signal,) = _wait(lambda: champion.signals.pending(MODEL))
        _wait(woken)
        posted = told.asked
        _wait(lambda: told.asked > posted + 8)  # two seconds, in which it is sent again
    assert (signal.version, signal.cause.value) == (1, "drift")
    assert woken() == [f"retrain_{MODEL}"]
    found = plan(now=datetime.now(UTC), as_of=AS_OF, woken="monitor")
    assert (found["trigger"], "drift" in {reason["cause"] for reason in found["reasons"]}) == ("drift", True)
    assert len(champion.signals.pending(MODEL)) == 1
    (entry,) = champion.audit.entries(f"model:{MODEL}@1", "signal")
    assert entry.who == "alertmanager: prometheus"
