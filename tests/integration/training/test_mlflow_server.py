"""A training, its gate and its champion through a real `mlflow server` that hands artifacts through."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from pipelines.contracts import Decision
from pipelines.gate import evaluate
from pipelines.promotion.promote import promote
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.tracking.model_files import forget
from pipelines.training.train import train
from tests.training_sets import NOW, spec, training_set

SPEC = spec()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server; its clients see neither its database nor its artifacts."""
    home = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bin_ = Path(sys.executable).parent
    command = [bin_ / "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port),
               "--artifacts-destination", str(home / "artifacts")]  # fmt: skip
    told = {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{home}/mlflow.db",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}",
    }
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | told, cwd=home, stdout=log, stderr=log, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        limit = time.monotonic() + 240
        while not alive(address):
            assert process.poll() is None, (home / "log").read_text()[-2000:]
            assert time.monotonic() < limit
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def alive(address: str) -> bool:
    try:
        urllib.request.urlopen(f"{address}/health", timeout=5).close()
    except OSError:
        return False
    return True


def test_a_version_is_registered_judged_promoted_and_loaded_elsewhere_through_a_server(
    server: str, tmp_path: Path
) -> None:
    stores = Stores(Settings(_env_file=None, home=tmp_path, tracking_uri=server))
    rows = training_set(tmp_path)
    made = train(SPEC, rows, stores)
    assert evaluate(SPEC, made, rows, stores, NOW).decision is Decision.PASS
    assert promote(SPEC, made.version, stores, NOW).promoted
    champion = stores.tracking.champion(SPEC.name)
    assert champion is not None
    assert champion.source.startswith("mlflow-artifacts:/")
    shutil.rmtree(tmp_path / "models")
    forget()
    assert stores.tracking.load_licensed(SPEC.name, made.version).predict_proba is not None
    assert stores.tracking.load_baseline(champion).predict_proba is not None
    assert "carrier" in stores.tracking.inputs(champion)
    assert train(SPEC, rows, stores).version == made.version


def test_a_login_in_the_tracking_uri_reaches_the_server_and_stands_in_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import base64

    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
    asked: list[str | None] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.headers["Authorization"])
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answers) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        uri = f"http://ada:hu%40sh@127.0.0.1:{listening.server_port}"
        tracking = Stores(Settings(_env_file=None, home=tmp_path, tracking_uri=uri)).tracking
        assert list(tracking.client.search_experiments(max_results=1)) == []
        listening.shutdown()
    assert asked == [f"Basic {base64.b64encode(b'ada:hu@sh').decode()}"]
    assert "hu" not in str(tracking.client.tracking_uri)
