"""Importing a room's module is cheap: what computes is imported where it computes."""

import json
import os
import subprocess
import sys
from pathlib import Path

from pipelines.settings import PROJECT

HEAVY = (
    "airflow", "deltalake", "duckdb", "evidently", "fairlearn", "fastapi", "feast", "great_expectations", "kubernetes",
    "matplotlib", "mlflow", "numpy", "optuna", "pandas", "pyarrow", "pyspark", "scipy", "sklearn", "skops", "sqlglot",
    "uvicorn",
)  # fmt: skip
COLUMNS = (
    "pipelines.features.compute", "pipelines.features.dialects", "pipelines.features.engines",
    "pipelines.features.health", "pipelines.features.leakage", "pipelines.features.silver",
    "pipelines.features.executors", "pipelines.features.publishing",
    "pipelines.features.spark", "pipelines.features.view_rows", "pipelines.ingestion.accounting",
    "pipelines.ingestion.ingest", "pipelines.loop.replay", "pipelines.models", "pipelines.reading.arrow_values",
    "pipelines.reading.conversions", "pipelines.reading.copies", "pipelines.reading.delimited",
    "pipelines.reading.files", "pipelines.reading.int96", "pipelines.reading.parquet",
    "pipelines.reading.staging", "pipelines.reading.texts", "pipelines.reading.times", "pipelines.reading.values",
    "pipelines.serving.__main__", "pipelines.serving.answering", "pipelines.serving.app",
    "pipelines.serving.explaining.logged", "pipelines.serving.explaining.mixing",
    "pipelines.serving.explaining.shapley", "pipelines.serving.http", "pipelines.serving.tables",
    "pipelines.stores.feature_store.registry",
    "pipelines.stores.offline", "pipelines.stores.online", "pipelines.stores.spark.relations",
    "pipelines.stores.spark.staged", "pipelines.stores.tables",
    "pipelines.upstream.cards", "pipelines.upstream.nycflights13",
    "pipelines.validation.validate",
)  # fmt: skip
"""Modules, or packages of them, whose every function works on columns, models or a server: they import what they are
made of, and whoever needs them imports them late."""
LIGHT = "pipelines.stores.online.reached"
LOOK = """
import importlib, json, os, sys
heavy, *groups = sys.argv[1:]
import pydantic_settings, sqlalchemy, yaml, typer
found = {}
for name in groups:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        for each in name.split(","):
            importlib.import_module(each)
        os.write(write, json.dumps([h for h in heavy.split(",") if h in sys.modules]).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        found[name] = json.loads(pipe.read() or "null")
    os.waitpid(pid, 0)
print(json.dumps(found))
"""


def _modules() -> list[str]:
    paths = sorted((PROJECT / "pipelines").rglob("*.py"))
    names = [".".join(path.relative_to(PROJECT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names if not name.startswith("pipelines.prove.")]


def _of_columns(name: str) -> bool:
    return name != LIGHT and any(name == each or name.startswith(f"{each}.") for each in COLUMNS)


def _loaded(names: list[str]) -> dict[str, list[str] | None]:
    """What each module, or those of a list with commas, load in a process that has loaded nothing heavy before."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK, ",".join(HEAVY), *names],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_importing_a_module_of_a_room_loads_no_heavy_library() -> None:
    names = [name for name in _modules() if not _of_columns(name) and not name.endswith("__main__")]
    assert len(names) > 100
    # What loads nothing heavy with all the others loads nothing heavy alone; whoever does is looked for only then.
    together = _loaded([",".join(names)])
    if set(map(str, together.values())) != {"[]"}:
        assert {name: heavy for name, heavy in _loaded(names).items() if heavy != []} == {}
        raise AssertionError("together they load something heavy, and none alone")


def test_the_named_few_exist_and_name_a_heavy_library_at_their_head() -> None:
    for each in COLUMNS:
        path = Path(PROJECT, *each.split("."))
        files = [path.with_suffix(".py")] if path.with_suffix(".py").exists() else list(path.rglob("*.py"))
        assert files, each
        heads = "".join(file.read_text() for file in files)
        assert any(f"\nimport {h}" in heads or f"\nfrom {h}" in heads for h in HEAVY), each
