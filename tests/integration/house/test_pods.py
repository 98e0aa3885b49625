"""The pods that Airflow makes of tasks, made by Airflow's own code, and every manifest against Kubernetes' schemas."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.settings import PROJECT
from tests.integration.house.test_production import installed  # noqa: F401 - the production lock, installed once
from tests.locked import installed as installed_lock
from tests.once import once

pytestmark = pytest.mark.timeout(900)
HERE = PROJECT / "deploy" / "kubernetes"
SCRIPT = Path(__file__).with_name("pods_of_tasks.py")
RESOURCES = {
    "train": {"cpu": 2, "memory": "4Gi"},
    "evaluate": {"cpu": 0.5, "memory": "1500Mi"},
    "monitor": {"cpu": "250m", "memory": "1Gi"},
}
ASKED = {
    "retrain_flight_delays.train": ({"cpu": "2", "memory": "4Gi"}, "4Gi"),
    "retrain_flight_delays.evaluate": ({"cpu": "0.5", "memory": "1500Mi"}, "1500Mi"),
    "monitor_flight_delays.report": ({"cpu": "250m", "memory": "1Gi"}, "1Gi"),
    "monitor_flight_delays.performance": ({"cpu": "250m", "memory": "1Gi"}, "1Gi"),
}
OLDEST, NEWEST = "1.30", "1.37"
"""Of Kubernetes, against whose schemas everything is held."""


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pods") / "pod_template_file.yaml"
    file.write_text(yaml.safe_load((HERE / "values.yaml").read_text())["podTemplate"])
    return file


@pytest.fixture(scope="session")
def made(installed: Path, template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:  # noqa: F811
    """What the executor makes of every task of a model whose spec asks for `RESOURCES`."""
    folder = once(
        tmp_path_factory,
        "pods-of-tasks",
        lambda to: (to / "pods.json").write_text(printed(installed, "KubernetesExecutor", template)),
    )
    return dict(json.loads((folder / "pods.json").read_text()))


@pytest.fixture(scope="session")
def validate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command that holds manifests against Kubernetes' schemas, of its own lock."""
    return (
        once(tmp_path_factory, "manifests", lambda to: installed_lock(to, "manifests.txt"))
        / "bin"
        / "kubernetes-validate"
    )


def printed(folder: Path, executor: str, template: Path) -> str:
    told = os.environ | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"}
    command = [str(folder / "python"), str(SCRIPT), executor, str(template), json.dumps(RESOURCES)]
    done = subprocess.run(command, cwd=PROJECT, env=told, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


def judged(validate: Path, version: str, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [str(validate), "--strict", "-k", version, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_task_whose_stage_the_spec_names_gets_its_processors_and_memory(made: dict[str, Any]) -> None:
    assert set(made["asked"]) == set(ASKED)
    for task, (requests, limit) in ASKED.items():
        (base,) = made["pods"][task]["spec"]["containers"]
        assert base["resources"] == {"requests": requests, "limits": {"memory": limit}}, task


def test_any_other_task_gets_what_the_template_says(made: dict[str, Any], template: Path) -> None:
    (said,) = yaml.safe_load(template.read_text())["spec"]["containers"]
    others = {task: pod for task, pod in made["pods"].items() if task not in ASKED}
    assert len(others) >= 8
    assert [pod["spec"]["containers"][0]["resources"] for pod in others.values()] == [
        said["resources"]
    ] * len(others)


def test_asking_for_resources_takes_nothing_else_of_the_template_away(
    made: dict[str, Any], template: Path
) -> None:
    said = yaml.safe_load(template.read_text())["spec"]
    for task, pod in made["pods"].items():
        (base,), (asked,) = pod["spec"]["containers"], said["containers"]
        assert pod["spec"]["volumes"] == said["volumes"], task
        for key in ("securityContext", "serviceAccountName", "automountServiceAccountToken", "restartPolicy"):
            assert pod["spec"][key] == said[key], (task, key)
        for key in ("volumeMounts", "envFrom", "securityContext"):
            assert base[key] == asked[key], (task, key)
        assert base["image"] == "registry.example.com/evergreen:1"
        assert {"name": "AIRFLOW__CORE__EXECUTOR", "value": "LocalExecutor"} in base["env"]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_pod_and_manifest_is_sound_to_the_letter(
    made: dict[str, Any], validate: Path, version: str, tmp_path: Path
) -> None:
    pods = tmp_path / "pods.yaml"
    kind = {"apiVersion": "v1", "kind": "Pod"}
    pods.write_text(yaml.safe_dump_all([kind | pod for pod in made["pods"].values()]))
    files = [p for p in sorted(HERE.glob("*.yaml")) if p.name not in {"values.yaml", "kustomization.yaml"}]
    assert len(files) >= 4
    done = judged(validate, version, pods, *files)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(" passed for resource ") >= len(made["pods"]) + 14


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_judge_finds_a_misspelt_key(validate: Path, version: str, tmp_path: Path) -> None:
    wrong = tmp_path / "serving.yaml"
    text = (HERE / "serving.yaml").read_text()
    assert "readinessProbe" in text
    wrong.write_text(text.replace("readinessProbe", "readynessProbe"))
    assert judged(validate, version, wrong).returncode != 0


def test_elsewhere_nothing_of_kubernetes_is_loaded_and_no_task_asks_for_a_pod(
    made: dict[str, Any],
    installed: Path,  # noqa: F811
    template: Path,
) -> None:
    assert made["loaded"]
    celery = json.loads(printed(installed, "CeleryExecutor", template))
    assert celery["dags"] == made["dags"]
    assert celery == {"dags": made["dags"], "loaded": False, "asked": []}
