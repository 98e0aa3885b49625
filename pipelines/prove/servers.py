"""Real back ends on loopback, each with a folder of its own, that end with the block in which they are needed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from pipelines.contracts import EvergreenError

PATIENCE = 240.0
POSTGRESQL = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
"""Where Debian keeps the newest server's programs, which are not on the path."""


def redis_missing() -> str | None:
    """Why Redis cannot be tried here; None if it can."""
    if which("redis-server") is None:
        return "there is no redis-server on this machine"
    return None if find_spec("redis") else "the redis client is not installed"


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """host:port of a Redis that keeps nothing."""
    port = str(free_port())
    command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        lines = process.stdout or ()
        if not any("Ready to accept connections" in line for line in lines):
            raise EvergreenError("redis-server ended at once; run it by hand to see why")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()


def postgresql_missing() -> str | None:
    """Why PostgreSQL cannot be tried here; None if it can."""
    if POSTGRESQL is None:
        return "PostgreSQL's server is not installed on this machine"
    return None if find_spec("psycopg2") else "psycopg2 is not installed"


@contextmanager
def postgresql_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """host:port of a PostgreSQL with the user `evergreen`, who needs no password, and the database `postgres`."""
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    port, data = port or free_port(), f"{folder}/data"
    _as_postgres(f"{POSTGRESQL}/initdb", "-D", data, "-U", "evergreen", "--auth=trust")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    _as_postgres(f"{POSTGRESQL}/pg_ctl", "-D", data, "-o", options, "-l", f"{folder}/log", "-w", "start")
    try:
        yield f"127.0.0.1:{port}"
    finally:
        _as_postgres(f"{POSTGRESQL}/pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _as_postgres(*command: str) -> None:
    """Runs one of PostgreSQL's programs, which refuse to run as root."""
    before = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    subprocess.run([*before, *command], check=True, capture_output=True, cwd="/")


@contextmanager
def mlflow_server(folder: Path, database: str) -> Iterator[str]:
    """host:port of an MLflow server on this database; what it is given to keep lies in the folder."""
    port, programs = free_port(), Path(sys.executable).parent
    command = [str(programs / "mlflow"), "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port),
               "--artifacts-destination", str(folder / "artifacts")]  # fmt: skip
    told = {
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | told, cwd=folder, stdout=log, stderr=log, process_group=0
        )
    try:
        _answers(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield f"127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)  # with the workers that it has
        process.wait(30)


def prometheus_missing() -> str | None:
    """Why Prometheus and Alertmanager cannot be tried here; None if they can."""
    if which("prometheus") is None or which("promtool") is None:
        return "Prometheus is not installed on this machine"
    return None if alertmanager() else "Alertmanager is not installed on this machine"


def alertmanager() -> str | None:
    """Its program, which Debian names otherwise; None if there is none."""
    return which("prometheus-alertmanager") or which("alertmanager")


@contextmanager
def alertmanager_server(folder: Path, config: Path) -> Iterator[str]:
    """host:port of an Alertmanager of this configuration, alone."""
    own = ["--storage.path", str(folder / "alertmanager"), "--cluster.listen-address="]
    command = [str(alertmanager()), "--config.file", str(config), *own]
    with _ready(command, f"127.0.0.1:{free_port()}", folder / "alertmanager.log") as address:
        yield address


@contextmanager
def prometheus_server(folder: Path, config: Path) -> Iterator[str]:
    """host:port of a Prometheus of this configuration."""
    own = ["--storage.tsdb.path", str(folder / "prometheus"), "--log.level", "warn"]
    command = ["prometheus", "--config.file", str(config), *own]
    with _ready(command, f"127.0.0.1:{free_port()}", folder / "prometheus.log") as address:
        yield address


@contextmanager
def _ready(command: list[str], address: str, log: Path) -> Iterator[str]:
    """A server of Prometheus's family at this address, once it says that it is ready."""
    with log.open("wb") as said:
        process = subprocess.Popen([*command, "--web.listen-address", address], stdout=said, stderr=said)
    try:
        _answers(f"http://{address}/-/ready", process, log)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - our own server
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise EvergreenError(f"{url} does not answer; the end of its log: {log.read_text()[-500:]}")


@contextmanager
def terminable() -> Iterator[None]:
    """A polite request to end (SIGTERM) ends what was started in here, as Ctrl-C does; by default that would go on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, code = os.getpid(), 128 + signal.SIGTERM
    # A process that was forked meanwhile has nothing to clear away.
    asked = signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(code) if os.getpid() == ours else os._exit(code)
    )
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, asked)


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
