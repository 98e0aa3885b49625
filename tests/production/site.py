"""The whole deployment of docker-compose.yml on this machine, with as many replicas as `--scale` would make."""

import base64
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import sqlalchemy as sa

from pipelines.contracts import EvergreenError
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores
from tests.production.compose import Service, read
from tests.production.machine import LISTENS, Machine
from tests.production.services import Replica, until

SCALE = {"airflow-scheduler": 2, "airflow-worker": 2}
HEALTHY, COMPLETED = "service_healthy", "service_completed_successfully"
START_SECONDS = 600
Tell = Callable[[str], None]


@dataclass
class Site:
    """The replicas by name, such as `airflow-worker-2`, and what was filled into the file."""

    machine: Machine
    services: dict[str, Service]
    given: dict[str, str]
    replicas: dict[str, Replica] = field(default_factory=dict)

    @cached_property
    def stores(self) -> Stores:
        """The stores as a worker of this deployment has them."""
        told = self.machine.environment(self.services["airflow-worker"], "airflow-worker-1")
        ours = {name[10:].lower(): value for name, value in told.items() if name.startswith("EVERGREEN_")}
        return Stores(Settings(_env_file=None, **ours), "production-test")  # type: ignore[call-arg, arg-type]

    def database(self, name: str) -> sa.Engine:
        """PostgreSQL's database of this name, by connections that are not kept."""
        address = f"127.0.0.1:{self.machine.port('postgres-1')}"
        url = f"postgresql+psycopg2://evergreen:{self.given['POSTGRES_PASSWORD']}@{address}/{name}"
        return sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args={"connect_timeout": 5})

    def asked(self, name: str) -> str:
        """Where a service is asked from outside."""
        return f"http://127.0.0.1:{self.machine.port(f'{name}-1')}"

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """What `docker compose exec airflow-worker` would run."""
        environment = self.machine.environment(self.services["airflow-worker"], "airflow-worker-1")
        return subprocess.run(words, env=environment, cwd="/", capture_output=True, text=True, timeout=300)

    def start(self, tell: Tell) -> None:
        """Everything is started in the order of depends_on and is healthy by the file's own checks."""
        waiting = dict(self.services)
        while waiting:
            ready = [s for s in waiting.values() if not {*s.needs} & {*waiting}]
            for service in ready:
                self._await(service, tell)
                self._begin(service, tell)
                del waiting[service.name]
        for name, replica in self.replicas.items():
            if replica.service.check:
                seconds = until(f"{name} is healthy", replica.healthy, START_SECONDS)
                tell(f"{name} is healthy ({seconds:.0f} s more)")

    def stop(self) -> None:
        """Nothing of it runs any more; servers that others use end last."""
        for ours in (True, False):
            with ThreadPoolExecutor(max_workers=16) as pool:
                list(
                    pool.map(
                        Replica.stop, [each for each in self.replicas.values() if each.service.ours is ours]
                    )
                )

    def _await(self, service: Service, tell: Tell) -> None:
        """Compose's conditions; a service that must complete has been run to its end already."""
        for need, condition in service.needs.items():
            if condition == HEALTHY:
                until(f"{need} is healthy", self.replicas[f"{need}-1"].healthy, START_SECONDS)

    def _begin(self, service: Service, tell: Tell) -> None:
        completes = any(other.needs.get(service.name) == COMPLETED for other in self.services.values())
        for number in range(1, SCALE.get(service.name, 1) + 1):
            replica = Replica(self.machine, service, f"{service.name}-{number}")
            if service.name == "postgres":
                self._prepare_postgres(service)
            for folder in self.machine.volumes(service).values():
                folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            tell(f"starting {replica.name}")
            if completes:
                replica.run()
            else:
                self.replicas[replica.name] = replica
                replica.start()
                if service.name == "postgres":
                    self._databases(service, replica)

    def _prepare_postgres(self, service: Service) -> None:
        """An empty cluster with the image's user and password, as the image makes it in an empty volume."""
        folder, word = self.machine.folder(service), self.machine.home / "postgres.password"
        folder.mkdir(mode=0o700, parents=True)
        write_private(word, service.environment["POSTGRES_PASSWORD"])
        before = []
        if os.getuid() == 0:
            import shutil

            shutil.chown(folder, "postgres")
            shutil.chown(word, "postgres")
            before = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        user = service.environment["POSTGRES_USER"]
        command = [
            *before,
            "initdb",
            "-D",
            str(folder / "db"),
            "-U",
            user,
            "-A",
            "scram-sha-256",
            "--pwfile",
            str(word),
        ]
        path = self.machine.environment(service, "postgres-1")["PATH"]
        done = subprocess.run(
            command, env={"PATH": path, "LANG": "C.UTF-8"}, cwd="/", capture_output=True, text=True
        )
        word.unlink()
        if done.returncode:
            raise EvergreenError(f"initdb: {done.stderr.strip()}")

    def _databases(self, service: Service, replica: Replica) -> None:
        """The image's own database, and what the file's script adds."""
        until("PostgreSQL answers", replica.healthy, 60)
        scripts = [each.split(":")[0] for each in service.volumes if "docker-entrypoint-initdb.d" in each]
        made = [f"create database {service.environment['POSTGRES_DB']}"]
        made += [
            line for name in scripts for line in (PROJECT / name).read_text().splitlines() if line[:2] != "--"
        ]
        engine = self.database("postgres")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in filter(None, made):
                connection.exec_driver_sql(statement)


def write_private(path: Path, content: str) -> None:
    """A file that its owner alone may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)


def secrets_of(example: Path) -> dict[str, str]:
    """A random value for each secret that .env.example leaves empty, made as it says."""
    lines = (line for line in example.read_text().splitlines() if line and not line.startswith("#"))
    made = {line.partition("=")[0]: secrets.token_hex(32) for line in lines}
    return made | {"FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}


@contextmanager
def site(home: Path, bin: Path, more: Mapping[str, str] = {}) -> Iterator[Site]:
    """A deployment below `home`, not started yet; it ends with the block. Its secrets lie in a file of the owner's."""
    machine = Machine(bin, home)
    published = {
        "EVERGREEN_AIRFLOW_PORT": "airflow-api-server", "EVERGREEN_MLFLOW_PORT": "mlflow",
        "EVERGREEN_SERVING_PORT": "serving",
    }  # fmt: skip
    for name in LISTENS:
        machine.port(f"{name}-1")
    given = secrets_of(PROJECT / ".env.example") | dict(more)
    given |= {variable: str(machine.port(f"{name}-1")) for variable, name in published.items()}
    write_private(home / ".env", "".join(f"{name}={value}\n" for name, value in given.items()))
    built = Site(machine, read(PROJECT / "docker-compose.yml", given), given)
    try:
        yield built
    finally:
        built.stop()
