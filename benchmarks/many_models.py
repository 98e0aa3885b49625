"""What many models cost, one of them broken: the catalog, Airflow's DAG files, and serving while all are idle.

A copy of this checkout gets so many models more, each a copy of flight_delays under another name; what a DAG processor
does with it runs in a process of its own, and so does serving, with every model registered and none of them a champion.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from pipelines.catalog import datasets
from pipelines.catalog import models as shipped
from pipelines.settings import PROJECT

MODEL, BROKEN = "flight_delays", "model_0001"
SHIPPED = len(shipped())
OTHERS = len(datasets()) + 1
"""The DAGs that are no model's: one a dataset, and the features."""
PARTS = ("pipelines", "dags", "plugins", "feature_repo", "expectations", "locks")
PARSED = """
import json, resource, time
from airflow.dag_processing.dagbag import DagBag
import evergreen_airflow.stages
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begun = time.perf_counter()
from pipelines import catalog
names, faults = len(catalog.models()), sorted(catalog.faults())
read = time.perf_counter() - begun
begun = time.perf_counter()
bag = DagBag("dags")
took, peak = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"models": names, "dags": len(bag.dags), "faults": faults, "errors": list(bag.import_errors.values()),
                  "catalog": read, "parse": took, "megabytes": (peak - before) / 1024}))
"""
"""In a process of its own: what the catalog and Airflow's own reader of DAG files take, and what they say."""


SERVED = """
import json, resource, statistics, time
from fastapi.testclient import TestClient
from pipelines import catalog
from pipelines.serving.app import create_app
from pipelines.settings import settings
from pipelines.stores import Stores
stores, specs = Stores(settings()), catalog.models()
for name in specs:
    stores.tracking.client.create_registered_model(name)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, begun = peak(), time.perf_counter()
app = create_app(stores.settings, specs, stores.tracking, stores.features, stores.predictions)
start = time.perf_counter() - begun
def took(client, path):
    def once():
        begun = time.perf_counter()
        assert client.get(path).status_code in (200, 503), path
        return time.perf_counter() - begun
    return statistics.median(once() for _ in range(5))
with TestClient(app) as client:
    listed = client.get("/v1/models").json()
    time.sleep(3)  # past the first looks for champions; then nobody asks for five seconds
    begun, busy = time.perf_counter(), time.process_time()
    time.sleep(5)
    idle = (time.process_time() - busy) / (time.perf_counter() - begun)
    pages = {path: took(client, path) for path in ("/v1/models", "/ready", "/metrics", "/docs")}
print(json.dumps({"listed": len(listed), "start": start, "idle": idle, "served": peak() - before, "pages": pages}))
"""
"""In a process of its own: what serving takes to start, of a core while nobody asks, in memory, and for its pages."""


def checkout(folder: Path, models: int) -> None:
    """This checkout's own files, with so many models and one that is broken."""
    for part in PARTS:
        shutil.copytree(PROJECT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    home = folder / "pipelines" / "models"
    for number in range(1, models + 1):
        name = f"model_{number:04d}"
        shutil.copytree(home / MODEL, home / name)
        spec = home / name / "spec.yaml"
        spec.write_text(spec.read_text().replace(f"name: {MODEL}", f"name: {name}", 1))
    broken = home / BROKEN / "spec.yaml"
    broken.write_text(broken.read_text().replace("task:", "tusk:") + "\ncolour: red\n")


def measured(models: int) -> dict[str, Any]:
    """What reading the catalog and both of a model's DAG files takes, and what serving does."""
    with TemporaryDirectory() as name:
        folder = Path(name) / "checkout"
        checkout(folder, models)
        found = _alone(PARSED, folder) | _alone(SERVED, folder)
        size = sum(f.stat().st_size for f in (folder / "pipelines" / "models" / "model_0002").rglob("*"))
        return found | {"bytes": size}


def _alone(code: str, folder: Path) -> dict[str, Any]:
    """What code prints as JSON in a process that does nothing else, in a checkout."""
    path = os.pathsep.join([str(folder), str(folder / "plugins")])
    plain = {n: v for n, v in os.environ.items() if not n.startswith(("EVERGREEN_", "AIRFLOW"))}
    ours = {"PYTHONPATH": path, "EVERGREEN_HOME": str(folder / "var"), "AIRFLOW_HOME": str(folder / "af")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=plain | ours,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, nargs="+", default=[10, 100, 1000])
    all_found = {models: measured(models) for models in parser.parse_args().models}
    for models, found in all_found.items():
        assert found["faults"] == [BROKEN], found["faults"]
        assert found["models"] == found["listed"] == models + SHIPPED - 1, "every other model is there"
        assert found["dags"] == 2 * found["models"] + OTHERS, found["dags"]
        assert len(found["errors"]) == 1, found["errors"]
        assert BROKEN in found["errors"][0]
    console = Console(width=110)
    console.print(_parsing(all_found))
    console.print(_serving(all_found))


def _parsing(all_found: dict[int, dict[str, Any]]) -> Table:
    table = _table(
        "the catalog and Airflow's DAG files",
        "models",
        "sound",
        "broken",
        "DAGs",
        "catalog s",
        "DAG files s",
        "MB more",
        "ms a model",
        "KB on disk",
    )
    for models, found in all_found.items():
        whole = found["catalog"] + found["parse"]
        table.add_row(
            f"{models:,}", f"{found['models']:,}", found["faults"][0], f"{found['dags']:,}", f"{found['catalog']:.2f}",
            f"{found['parse']:.2f}", f"{found['megabytes']:.0f}", f"{whole / found['models'] * 1e3:.1f}",
            f"{found['bytes'] / 1024:.0f}",
        )  # fmt: skip
    return table


def _serving(all_found: dict[int, dict[str, Any]]) -> Table:
    pages = list(next(iter(all_found.values()))["pages"])
    table = _table(
        "the API",
        "models served",
        "start s",
        "idle, of a core",
        "MB more",
        "KB a model",
        *(f"{p} ms" for p in pages),
    )
    for models, found in all_found.items():
        table.add_row(
            f"{models:,}", f"{found['start']:.2f}", f"{found['idle']:.1%}", f"{found['served']:.0f}",
            f"{found['served'] / found['models'] * 1024:.0f}", *(f"{found['pages'][p] * 1e3:.0f}" for p in pages),
        )  # fmt: skip
    return table


def _table(title: str, *names: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in names:
        table.add_column(name, justify="right")
    return table


if __name__ == "__main__":
    main()
