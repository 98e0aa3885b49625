"""How long Airflow's DAG files and the catalog take with many models, one of them broken, and how much memory.

A copy of this checkout gets so many models more, each a copy of flight_delays under another name; what a DAG processor
does with it runs in a process of its own.
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
from pipelines.settings import PROJECT

MODEL, BROKEN = "flight_delays", "model_0001"
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


def parsed(models: int) -> dict[str, Any]:
    """What reading the catalog and both of a model's DAG files takes, in a process that does nothing else."""
    with TemporaryDirectory() as name:
        folder = Path(name) / "checkout"
        checkout(folder, models)
        path = os.pathsep.join([str(folder), str(folder / "plugins")])
        plain = {n: v for n, v in os.environ.items() if not n.startswith(("EVERGREEN_", "AIRFLOW"))}
        environ = plain | {
            "PYTHONPATH": path,
            "EVERGREEN_HOME": str(folder / "var"),
            "AIRFLOW_HOME": str(folder / "af"),
        }
        done = subprocess.run(
            [sys.executable, "-c", PARSED],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        size = sum(f.stat().st_size for f in (folder / "pipelines" / "models" / "model_0002").rglob("*"))
        return json.loads(done.stdout.splitlines()[-1]) | {"asked": models, "bytes": size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, nargs="+", default=[10, 100, 1000])
    table = Table(title="Many models, one of them broken", title_justify="left")
    for name in (
        "models",
        "sound",
        "broken",
        "DAGs",
        "catalog s",
        "DAG files s",
        "MB more",
        "ms a model",
    ):
        table.add_column(name, justify="right")
    for models in parser.parse_args().models:
        found = parsed(models)
        assert found["faults"] == [BROKEN], found["faults"]
        assert found["models"] == models, "every other model is there, and the one that ships"
        assert found["dags"] == 2 * found["models"] + OTHERS, found["dags"]
        assert len(found["errors"]) == 1, found["errors"]
        assert BROKEN in found["errors"][0]
        whole = found["catalog"] + found["parse"]
        table.add_row(
            f"{models:,}", f"{found['models']:,}", found["faults"][0], f"{found['dags']:,}", f"{found['catalog']:.2f}",
            f"{found['parse']:.2f}", f"{found['megabytes']:.0f}", f"{whole / found['models'] * 1e3:.1f}",
        )  # fmt: skip
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
