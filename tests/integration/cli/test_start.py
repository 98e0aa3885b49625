"""A command loads what it needs: no library of arrays, models or features where an answer is read from records."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.start import answering
from pipelines.settings import PROJECT
from tests.champions import copied, crowned

HEAVY = {
    "airflow", "alembic", "deltalake", "duckdb", "evidently", "fairlearn", "fastapi", "feast", "google",
    "great_expectations", "matplotlib", "mlflow", "numpy", "onnxruntime", "optuna", "pandas", "pyarrow", "pyspark",
    "requests", "scipy", "skl2onnx", "sklearn", "skops", "sqlglot", "uvicorn",
}  # fmt: skip
RECORDS = {"sqlalchemy", "cryptography"}
MODEL = "flight_delays"
ASKED: dict[str, tuple[list[str], set[str]]] = {
    "help": (["--help"], set()),
    "help of a group": (["prove", "--help"], set()),
    "help of a command": (["rollback", "--help"], set()),
    "predict": (["predict", MODEL], set()),
    "status": (["status"], RECORDS | {"deltalake"}),  # it counts the rows of feature tables by their log
    "why": (["why", MODEL], RECORDS),
    "why of a version": (["why", f"{MODEL}@1"], RECORDS),
    "features": (["features"], RECORDS),
    "audit verify": (["audit", "verify"], RECORDS),
    "audit show": (["audit", "show"], RECORDS),
    "who was champion": (["who-was-champion", MODEL, "--at", "2100-01-01T00:00:00Z"], RECORDS),
    "doctor": (["doctor"], RECORDS),
    "card": (["card", MODEL], RECORDS),
    "rollback": (["rollback", MODEL, "--to", "1", "--reason", "a test"], RECORDS),
    "pin": (["pin", f"{MODEL}@1", "--reason", "a test"], RECORDS),
}
"""Each command as it is called, and which libraries beyond the command line's own it may load."""
RUN = """
import json, sys
sys.argv = ["evergreen", *sys.argv[1:]]
from pipelines.cli import app
try:
    app()
except SystemExit as end:
    code = end.code or 0
sys.stdout.flush()
print(json.dumps({"code": code, "loaded": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


@pytest.fixture(scope="module")
def serving() -> Iterator[int]:
    """The port of something that answers as serving does."""
    with answering() as port:
        yield port


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a champion, whose feature repository Feast has read once."""
    home = tmp_path_factory.mktemp("home")
    copied(crowned(tmp_path_factory), home)
    subprocess.run([sys.executable, "-c", RUN, "features"], env=_env(home, 1), check=True, cwd=PROJECT)
    return home


def _env(home: Path, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVERGREEN_")}
    return kept | {"EVERGREEN_HOME": str(home), "EVERGREEN_SERVING_PORT": str(port)}


@pytest.mark.parametrize("what", ASKED)
def test_a_command_loads_no_more_than_it_needs(what: str, home: Path, serving: int) -> None:
    command, may = ASKED[what]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command],
        env=_env(home, serving),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["code"] == 0, done.stdout + done.stderr
    assert "typer" in said["loaded"]
    assert set(said["loaded"]) & (HEAVY | RECORDS) <= may
