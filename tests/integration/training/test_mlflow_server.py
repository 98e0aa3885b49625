"""A training, its gate and its champion through a real `mlflow server` that hands artifacts through."""

import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from pipelines.contracts import Decision
from pipelines.gate import evaluate
from pipelines.promotion.promote import promote
from pipelines.prove.servers import mlflow_server
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
    with mlflow_server(home, f"sqlite:///{home}/mlflow.db") as address:
        yield f"http://{address}"


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
