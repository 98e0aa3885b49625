"""What docker-compose.yml starts, started: the locked packages, its own commands and environment, real back ends.

The image is not built: its lock is installed into a virtual environment, and each service runs as a process.
"""

import base64
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from pipelines.prove.servers import free_port, postgresql_missing, postgresql_server
from pipelines.settings import PROJECT
from tests.once import once
from tests.production.installed import install

pytestmark = [
    pytest.mark.skipif(postgresql_missing() is not None, reason=str(postgresql_missing())),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="Redis is not installed here"),
    pytest.mark.timeout(1200),
]
COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
LONG_RUNNING = [
    name for name, s in COMPOSE.items() if s["image"] == "evergreen:local" and s["restart"] != "no"
]
DAG = """
from airflow.sdk import dag, task


@dag(schedule="@once", is_paused_upon_creation=False)
def proof():
    @task
    def executed() -> str:
        return "by a worker"

    executed()


proof()
"""
IMPORTED = """
import asyncpg, boto3, psycopg2, redis
from airflow.providers.celery.cli import celery_command
from airflow.providers.celery.executors.celery_executor import CeleryExecutor
from airflow.providers.celery.executors.celery_executor_utils import create_celery_app
from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager
from celery.backends.database import DatabaseBackend
import pipelines.serving.app
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands that the production lock brings."""

    return once(tmp_path_factory, "production", lambda folder: install(folder, "production.txt")) / "bin"


@dataclass
class Site:
    """The compose file's services as processes on this machine."""

    bin: Path
    home: Path
    ports: dict[str, int]
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def here(self, text: Any) -> str:
        """A value of the compose file with its variables filled in and its hosts and folders on this machine."""
        secrets = {"FERNET_KEY": base64.urlsafe_b64encode(b"k" * 32).decode()}
        said = re.sub(r"(?<!\$)\$\{([A-Z_]+)(?::-([^}]*)|:\?[^}]*)?\}",
                      lambda m: m[2] or secrets.get(m[1], "hush"), str(text)).replace("$$", "$")  # fmt: skip
        for host, port in {"mlflow": "5000", "airflow-api-server": "8080", "redis": "6379"}.items():
            said = said.replace(f"{host}:{port}", f"127.0.0.1:{self.ports[host]}")
        said = said.replace("@postgres/", f"@127.0.0.1:{self.ports['postgres']}/")
        return re.sub(r"^/(data|keys)", lambda m: str(self.home / m[1]), said)

    def environment(self, name: str) -> dict[str, str]:
        told = {key: self.here(value) for key, value in COMPOSE[name]["environment"].items()}
        image = {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")]),
            "HOME": str(self.home),
            "AIRFLOW_HOME": str(self.home / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.home / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(self.ports["log"]),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(self.ports["triggers"]),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(self.ports["health"]),
        }
        return image | told | {"EVERGREEN_SERVING_PORT": str(self.ports["serving"])}

    def command(self, name: str) -> list[str]:
        words = [self.here(word) for word in COMPOSE[name]["command"]]
        ports = {"8080": "airflow-api-server", "--port=5000": "mlflow"}
        return [re.sub(r"\d+$", str(self.ports[ports[w]]), w) if w in ports else w for w in words]

    def log(self, name: str) -> Path:
        return self.home / f"{name}.log"

    def start(self, name: str) -> None:
        with self.log(name).open("wb") as out:
            self.started[name] = subprocess.Popen(
                self.command(name), env=self.environment(name), cwd=self.home, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self.started.values():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            limit = time.monotonic() + 15
            while any(p.poll() is None for p in self.started.values()) and time.monotonic() < limit:
                time.sleep(0.2)

    def await_(self, what: str, done: Callable[[], bool]) -> None:
        limit = time.monotonic() + 600
        while not done():
            for name, process in self.started.items():
                assert process.poll() is None, f"{name} ended: {self.log(name).read_text()[-3000:]}"
            assert time.monotonic() < limit, f"{what}: not within 600 s; logs in {self.home}"
            time.sleep(0.5)


@pytest.fixture(scope="module")
def site(installed: Path) -> Iterator[Site]:
    """PostgreSQL with compose's databases and Redis with its password, on loopback; nothing of ours runs yet."""
    home = Path(tempfile.mkdtemp(prefix="evergreen-production-"))
    names = ("postgres", "redis", "mlflow", "airflow-api-server", "serving", "log", "triggers", "health")
    found = Site(installed, home, {name: free_port() for name in names})
    (home / "dags").mkdir()
    (home / "dags" / "proof.py").write_text(DAG)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        data = stack.enter_context(tempfile.TemporaryDirectory(prefix="evergreen-pg-"))
        stack.enter_context(postgresql_server(Path(data), found.ports["postgres"]))
        redis = subprocess.Popen(
            ["redis-server", "--port", str(found.ports["redis"]), "--requirepass", "hush", "--bind", "127.0.0.1",
             "--save", ""], cwd=home, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        stack.callback(redis.wait)
        stack.callback(redis.terminate)
        stack.callback(found.stop)
        with postgres(found, "postgres") as connection:
            for database in ("evergreen", "airflow", "mlflow"):
                connection.exec_driver_sql(f"create database {database}")
        yield found


def postgres(site: Site, database: str) -> Any:
    url = f"postgresql+psycopg2://evergreen@127.0.0.1:{site.ports['postgres']}/{database}"
    return sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool).connect()


def answers(site: Site, name: str, path: str) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{site.ports[name]}{path}", timeout=10).close()
    except OSError:
        return False
    return True


def test_what_the_services_need_is_imported_with_the_locked_versions(site: Site) -> None:
    environment = site.environment("airflow-worker")
    done = subprocess.run([site.bin / "python", "-c", IMPORTED], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-3000:]


def test_everything_that_compose_starts_starts_and_a_worker_executes_a_task(site: Site) -> None:
    migrated = subprocess.run(
        site.command("airflow-migrate"), env=site.environment("airflow-migrate"), cwd=site.home, capture_output=True
    )  # fmt: skip
    assert migrated.returncode == 0, migrated.stderr.decode()[-3000:]
    assert len(LONG_RUNNING) >= 7
    for name in LONG_RUNNING:
        site.start(name)
    site.await_("serving", lambda: answers(site, "serving", "/health"))
    site.await_("MLflow", lambda: answers(site, "mlflow", "/health"))
    site.await_("Airflow", lambda: answers(site, "airflow-api-server", "/api/v2/monitor/health"))
    site.await_("a task", lambda: executed(site) == ["success"])
    site.await_("Celery's word of it", lambda: celery(site) == ["SUCCESS"])
    with postgres(site, "airflow") as connection:
        jobs = connection.exec_driver_sql("select job_type from job where state = 'running'")
        assert {"SchedulerJob", "DagProcessorJob", "TriggererJob"} <= set(jobs.scalars())
        assert connection.exec_driver_sql("select username from ab_user").scalar_one() == "admin"


def executed(site: Site) -> list[Any]:
    with postgres(site, "airflow") as connection:
        asked = "select state from task_instance where dag_id = 'proof'"
        return list(connection.exec_driver_sql(asked).scalars())


def celery(site: Site) -> list[Any]:
    with postgres(site, "airflow") as connection:
        return list(connection.exec_driver_sql("select status from celery_taskmeta").scalars())
