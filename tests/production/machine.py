"""Where compose's hosts, ports and folders lie on this machine: on loopback, below one folder. Nothing else changes."""

import os
import random
import re
import shutil
import socket
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pipelines.contracts import EvergreenError
from pipelines.prove.servers import POSTGRESQL
from pipelines.settings import PROJECT
from tests.production.compose import Service

LISTENS = {
    "postgres": 5432, "redis": 6379, "objects": 8333, "mlflow": 5000, "airflow-api-server": 8080, "serving": 8000,
}  # fmt: skip
"""The port that each service listens on inside, as the file's addresses say; a replica has the same."""
OURS = (20_000, 32_000)
IMAGE_ROOT = "/opt/evergreen"


@dataclass(frozen=True)
class Machine:
    """Programs in `bin`, all state in `home`; a port of loopback for each replica that listens."""

    bin: Path
    home: Path
    ports: dict[str, int] = field(default_factory=dict)

    def port(self, replica: str) -> int:
        """The port of `serving-1`, or of what else a replica listens on, such as `airflow-worker-2 log`."""
        if replica not in self.ports:
            self.ports[replica] = next(
                port for port in iter(free_port, None) if port not in self.ports.values()
            )
        return self.ports[replica]

    def here(self, text: str, service: Service, replica: str) -> str:
        """A text of the file as it holds here, for one replica of a service."""
        for host, inside in LISTENS.items():
            found = self.port(f"{host}-1")
            text = re.sub(rf"\b{host}:{inside}\b", f"127.0.0.1:{found}", text)
            text = re.sub(rf"@{host}/", f"@127.0.0.1:{found}/", text)
        own = LISTENS.get(service_of(replica))
        if own is not None:
            text = re.sub(
                rf"(?<![\w.:]){own}(?!\w)|(?<=127\.0\.0\.1:){own}(?!\d)", str(self.port(replica)), text
            )
        text = re.sub(r"\b0\.0\.0\.0\b", "127.0.0.1", text)
        for inside, folder in self.volumes(service).items():
            text = re.sub(rf"(?<![\w/.]){inside}(?![\w-])", str(folder), text)
        return text

    def volumes(self, service: Service) -> dict[str, Path]:
        """The folder of each named volume, by where it lies inside; whoever names the same volume shares it."""
        pairs = [each.split(":")[:2] for each in service.volumes if each[0] not in "./"]
        return {inside: self.home / "volumes" / name for name, inside in pairs}

    def folder(self, service: Service) -> Path:
        """The one volume of a service that has one."""
        return next(iter(self.volumes(service).values()))

    def own(self, replica: str) -> Path:
        """What a container has for itself."""
        return self.home / "containers" / replica

    def environment(self, service: Service, replica: str) -> dict[str, str]:
        """What the file says, with what the image would say before it, and what tells replicas on one machine apart."""
        own = self.own(replica)
        machine = {
            "PATH": f"{self.bin}{os.pathsep}{POSTGRESQL}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(own),
            "HOSTNAME": replica,
            "TMPDIR": str(own / "tmp"),
            "LANG": "C.UTF-8",
        }
        told = {name: self.here(value, service, replica) for name, value in service.environment.items()}
        return {**machine, **(self._image(replica) if service.ours else {}), **told, **self._apart(replica)}

    def _image(self, replica: str) -> dict[str, str]:
        """The Dockerfile's own ENV, its checkout being this one."""
        text = (PROJECT / "Dockerfile").read_text().replace("\\\n", " ").rpartition("\nFROM ")[2]
        pairs = re.findall(
            r"([A-Z][A-Z0-9_]*)=(\S+)", " ".join(re.findall(r"^ENV (.+)$", text, re.MULTILINE))
        )
        told = {name: value.replace(IMAGE_ROOT, str(PROJECT)) for name, value in pairs if name != "PATH"}
        return told | {"AIRFLOW_HOME": str(self.own(replica) / "airflow")}

    def _apart(self, replica: str) -> dict[str, str]:
        """Ports that each container has for itself; on one machine they would be taken."""
        name = service_of(replica)
        ports = {
            "airflow-worker": "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT",
            "airflow-triggerer": "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT",
            "airflow-scheduler": "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT",
        }
        aside = {ports[name]: str(self.port(f"{replica} aside"))} if name in ports else {}
        if name.startswith("airflow-"):
            aside["AIRFLOW__CORE__HOSTNAME_CALLABLE"] = "tests.production.hostname.of_container"
        mapped = {"postgres": {"PGHOST": "127.0.0.1", "PGPORT": str(self.port("postgres-1"))}}
        return aside | mapped.get(name, {})

    def command(self, service: Service, replica: str) -> list[str]:
        """The file's command, on a host of its own name where this user may make one: a container is another host."""
        named = (
            ["unshare", "--uts", "sh", "-c", 'hostname "$HOSTNAME" && exec "$@"', "sh"] if own_hosts() else []
        )
        return [*(named if service.ours else []), *self.words(service, replica)]

    def words(self, service: Service, replica: str) -> list[str]:
        """The file's command, with the programs of this machine and the ports that it has nowhere else."""
        words = [self._file(self.here(word, service, replica), service, replica) for word in service.command]
        if service.name == "postgres":
            return self._postgres(service)
        if service.name == "redis":
            return [
                *words,
                "--port",
                str(self.port(replica)),
                "--bind",
                "127.0.0.1",
                "--dir",
                str(self.folder(service)),
            ]
        if service.name == "objects":
            return [
                "weed",
                *(re.sub(r"^-ip=objects$", "-ip=127.0.0.1", word) for word in words),
                *self._weed(),
            ]
        if service.name == "airflow-worker":
            return [*words, "--celery-hostname", f"celery@{replica}"]
        return words

    def check(self, service: Service, replica: str) -> list[str]:
        """The file's health check of this replica."""
        words = [self.here(word, service, replica) for word in service.check]
        aside = str(self.port(f"{replica} aside")) if service.name == "airflow-scheduler" else ""
        words = [word.replace(":8974", f":{aside}") if aside else word for word in words]
        return [words[0], "-p", str(self.port(replica)), *words[1:]] if service.name == "redis" else words

    def _file(self, word: str, service: Service, replica: str) -> str:
        """Paths of configs, where they lie here."""
        for target in service.configs:
            word = word.replace(target, str(self.own(replica) / Path(target).name))
        return word

    def _postgres(self, service: Service) -> list[str]:
        data, port = self.folder(service), self.port("postgres-1")
        before = (
            ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        )
        return [*before, "postgres", "-D", str(data / "db"), "-p", str(port), "-k", str(data), "-c",
                "listen_addresses=127.0.0.1"]  # fmt: skip

    def _weed(self) -> list[str]:
        """SeaweedFS's other ports, which nobody but itself asks."""
        names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
                 "s3.port.grpc", "s3.port.iceberg", "s3.port.lance")  # fmt: skip
        return [f"-{name}={self.port(f'objects-1 {name}')}" for name in names]


def service_of(replica: str) -> str:
    """`airflow-worker` of `airflow-worker-2`."""
    return replica.partition(" ")[0].rpartition("-")[0]


def free_port() -> int:
    """A port of loopback that nobody has now, and below those that connections out are given: it stays free for us."""
    for port in random.sample(range(*OURS), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise EvergreenError(f"of a hundred ports from {OURS[0]} to {OURS[1]} none is free")


@lru_cache(maxsize=1)
def own_hosts() -> bool:
    """Whether processes can be given another host's name, so that nobody takes another container's for its own."""
    command = ["unshare", "--uts", "hostname", "another"]
    return shutil.which("unshare") is not None and not subprocess.run(command, capture_output=True).returncode


def missing(programs: Iterable[str]) -> list[str]:
    """Which of these programs this machine has not."""
    path = os.pathsep.join([str(POSTGRESQL or ""), os.environ["PATH"]])
    return [name for name in programs if shutil.which(name, path=path) is None]
