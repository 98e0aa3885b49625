"""MLflow behind docker/mlflow-login.yml's log-in: who has an account looks, the deployment alone writes."""

import json
import os
import re
import signal
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
import yaml

from pipelines.contracts import TransientError
from pipelines.prove.servers import free_port
from pipelines.settings import PROJECT
from pipelines.stores.tracking.rest import Rest
from tests.integration.house.test_production import installed

__all__ = ["installed"]

pytestmark = pytest.mark.timeout(1200)
WORD = "of-the-test-alone"
OVER = yaml.safe_load((PROJECT / "docker" / "mlflow-login.yml").read_text())
BASE = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
MINE, ADA, NOBODY = ("evergreen", WORD), ("ada", WORD + "-ada"), None
API = "/api/2.0/mlflow"
LOOKS = [
    ("GET", f"{API}/registered-models/alias?name=late&alias=champion", None),
    ("GET", f"{API}/model-versions/get?name=late&version=1", None),
    ("GET", f"{API}/runs/get?run_id=RUN", None),
    ("GET", f"{API}/registered-models/search", None),
]
WRITES = [
    ("POST", f"{API}/registered-models/alias", {"name": "late", "alias": "champion", "version": "1"}),
    ("DELETE", f"{API}/registered-models/alias", {"name": "late", "alias": "champion"}),
    ("POST", f"{API}/model-versions/create", {"name": "late", "source": "mlflow-artifacts:/x"}),
    ("POST", f"{API}/model-versions/set-tag", {"name": "late", "version": "1", "key": "k", "value": "v"}),
    ("POST", f"{API}/registered-models/set-tag", {"name": "late", "key": "k", "value": "v"}),
    ("POST", f"{API}/registered-models/rename", {"name": "late", "new_name": "mine"}),
    ("POST", f"{API}/runs/log-metric", {"run_id": "RUN", "key": "auc", "value": 1.0, "timestamp": 1}),
    ("POST", f"{API}/runs/set-tag", {"run_id": "RUN", "key": "k", "value": "v"}),
    ("POST", f"{API}/runs/delete", {"run_id": "RUN"}),
    ("POST", f"{API}/runs/create", {"experiment_id": "EXPERIMENT"}),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/EXPERIMENT/RUN/artifacts/model.skops", {"x": 1}),
    ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/EXPERIMENT/RUN/artifacts/model.skops", None),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/elsewhere", {"x": 1}),
    ("POST", f"{API}/users/create", {"username": "eve", "password": WORD}),
    ("PATCH", f"{API}/users/update-admin", {"username": "ada", "is_admin": True}),
    ("PATCH", f"{API}/users/update-password", {"username": "evergreen", "password": WORD + "2"}),
]


class Server:
    """MLflow with its log-in, asked as somebody."""

    def __init__(self, address: str) -> None:
        self.address, self.ids = address, {"RUN": "", "EXPERIMENT": ""}

    def ask(self, who: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        sent = json.dumps(body) if body is not None else ""
        for name, value in self.ids.items():
            path, sent = path.replace(name, value), sent.replace(name, value)
        request = Request(f"{self.address}{path}", sent.encode() or None, method=method)
        request.add_header("Content-Type", "application/json")
        if who:
            request.add_header("Authorization", f"Basic {b64encode(':'.join(who).encode()).decode()}")
        try:
            with urlopen(request, timeout=60) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text.startswith(b"{") else None
        except HTTPError as error:
            with error:
                return error.code, None


@pytest.fixture(scope="module")
def server(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As the compose files start it, on SQLite and a folder; a version has an alias, and Ada an account."""
    home, port = tmp_path_factory.mktemp("mlflow"), free_port()
    said = OVER["configs"]["mlflow-login"]["content"]
    (home / "auth.ini").write_text(
        re.sub(r"database_uri = .*", f"database_uri = sqlite:///{home}/auth.db", said)
    )
    told = {key: str(value) for key, value in OVER["services"]["mlflow"]["environment"].items()}
    told = {key: WORD if "${" in value else value for key, value in told.items()}
    told |= {
        "PATH": f"{installed}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "MLFLOW_AUTH_CONFIG_PATH": str(home / "auth.ini"),
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{home}/mlflow.db",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [str(installed / "mlflow"), "server", "--app-name=basic-auth", "--workers=1", "--host=127.0.0.1",
               f"--port={port}", f"--artifacts-destination={home}/artifacts"]  # fmt: skip
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=told, cwd=home, stdout=log, stderr=log, start_new_session=True
        )
    found = Server(f"http://127.0.0.1:{port}")
    try:
        _awaited(found, process, home / "log")
        _filled(found)
        yield found
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def _awaited(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + 600
    while time.monotonic() < limit:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            if server.ask(NOBODY, "GET", "/health")[0] == 200:
                return
        except (URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-3000:])


def _filled(server: Server) -> None:
    def done(path: str, body: Any) -> Any:
        code, said = server.ask(MINE, "POST", f"{API}/{path}", body)
        assert code == 200, path
        return said

    server.ids["EXPERIMENT"] = done("experiments/create", {"name": "late"})["experiment_id"]
    run = done("runs/create", {"experiment_id": server.ids["EXPERIMENT"], "start_time": 1})
    server.ids["RUN"] = run["run"]["info"]["run_id"]
    done("registered-models/create", {"name": "late"})
    source = f"mlflow-artifacts:/{server.ids['EXPERIMENT']}/{server.ids['RUN']}/artifacts"
    done("model-versions/create", {"name": "late", "source": source, "run_id": server.ids["RUN"]})
    done("users/create", {"username": ADA[0], "password": ADA[1]})


def test_the_deployment_moves_aliases_by_our_own_client_and_nobody_without_a_log_in_reads(
    server: Server,
) -> None:
    Rest(server.address, MINE).set_alias("late", "champion", 1)
    for who in (MINE, ADA):
        found = Rest(server.address, who).aliased("late", "champion")
        assert found is not None
        assert found.version == 1
    with pytest.raises(TransientError):
        Rest(server.address, (ADA[0], "wrong")).aliased("late", "champion")
    with pytest.raises(TransientError):
        Rest(server.address, ADA).set_alias("late", "champion", 1)
    for method, path, body in [*LOOKS, *WRITES]:
        assert server.ask(NOBODY, method, path, body)[0] == 401, path


def test_who_has_an_account_looks(server: Server) -> None:
    Rest(server.address, MINE).set_alias("late", "champion", 1)
    assert {path: server.ask(ADA, method, path, body)[0] for method, path, body in LOOKS} == {
        path: 200 for _, path, _ in LOOKS
    }


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_who_has_an_account_and_no_more_changes_nothing(
    method: str, path: str, body: Any, server: Server
) -> None:
    assert server.ask(ADA, method, path, body)[0] == 403


def test_the_overlay_starts_what_the_compose_file_starts_behind_a_log_in() -> None:
    base, over = BASE["services"], OVER["services"]
    assert [word for word in over["mlflow"]["command"] if word != "--app-name=basic-auth"] == base["mlflow"][
        "command"
    ]
    ours = {name for name, each in base.items() if each.get("image") == "evergreen:local"}
    assert set(over) == ours - {"bucket"}
    for name in set(over) - {"mlflow"}:
        assert "@mlflow:5000" in over[name]["environment"]["EVERGREEN_TRACKING_URI"]
    assert "${" not in str([each.get("command") for each in over.values()]).replace(
        "${EVERGREEN_MLFLOW_PORT", ""
    )
