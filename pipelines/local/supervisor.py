"""Starts the local services, knows their processes, and ends exactly those."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.contracts import EvergreenError
from pipelines.local.answering import exchange
from pipelines.local.environment import BIN, USER, commands, environment, password
from pipelines.processes import born, of_sessions
from pipelines.settings import Settings

START_SECONDS, STOP_SECONDS = 180.0, 20.0


@dataclass(frozen=True)
class Service:
    """A process we started; `born` (clock ticks since boot) tells it from another with the same pid."""

    name: str
    pid: int
    born: int


@dataclass(frozen=True)
class Services:
    """What runs, and what a person needs to open it."""

    running: tuple[Service, ...]
    settings: Settings
    new_password: str | None

    def told(self) -> list[str]:
        """Addresses and log-ins; a password is told once, when it is made."""
        base = f"http://{self.settings.host}"
        where = self.settings.home / "secrets" / "airflow_passwords.json"
        login = f"password {self.new_password}" if self.new_password else f"password in {where}"
        return [
            f"Airflow      {base}:{self.settings.airflow_port}  user {USER}, {login}",
            f"MLflow       {base}:{self.settings.mlflow_port}  no log-in, loopback only",
            f"Predictions  {self.settings.serving_address}/docs  {_let_in(self.settings)}",
        ]


def _let_in(settings: Settings) -> str:
    """Who may ask serving."""
    known = {"keys": "with a key of `evergreen keys`", "oidc": "with a token of the issuer"}
    return known.get(settings.serving_access, "no log-in, loopback only")


def start(
    settings: Settings, progress: Callable[[str], None] = lambda text: None, only: str = ""
) -> Services:
    """Start what does not run yet and wait until all of it is healthy; `only`: how the services' names begin."""
    settings.landing_path.mkdir(parents=True, exist_ok=True)
    alive = {service.name: service for service in recorded(settings) if running(service)}
    _end([s for s in recorded(settings) if s.name not in alive], signal.SIGKILL, STOP_SECONDS)
    wanted = {name: command for name, command in commands(settings).items() if name.startswith(only)}
    missing = {name: command for name, command in wanted.items() if name not in alive}
    _ports_free(settings, set(missing))
    value, fresh = password(settings)
    surroundings = environment(settings)
    if not alive:
        progress("Preparing the databases ...")
        _prepare(settings, surroundings, "mlflow" in wanted)
    for name, command in missing.items():
        progress(f"Starting {name} ...")
        alive[name] = _spawn(settings, name, command, surroundings)
        _record(settings, list(alive.values()))
    _await_health(settings, list(alive.values()), set(missing), progress)
    return Services(tuple(alive.values()), settings, value if fresh else None)


def stop(settings: Settings) -> list[str]:
    """End every process that `start` recorded, with its children, idle servers of probes, and nothing else; names."""
    from pipelines.gate import probes

    ours = [service for service in recorded(settings) if members([service])]
    _end(ours, signal.SIGTERM, STOP_SECONDS)
    _end(ours, signal.SIGKILL, STOP_SECONDS)
    _file(settings).unlink(missing_ok=True)
    probes.end()
    return [service.name for service in ours]


def recorded(settings: Settings) -> list[Service]:
    path = _file(settings)
    return [Service(**entry) for entry in json.loads(path.read_text())] if path.exists() else []


def attended(settings: Settings) -> str:
    """The services that run here; EvergreenError naming those that were started here and ended by themselves."""
    services = recorded(settings)
    gone = [service.name for service in services if not running(service)]
    if gone:
        raise EvergreenError(
            f"{', '.join(gone)} was started here and runs no more; {settings.home / 'logs'} says why,"
            " and `evergreen start` starts what is missing"
        )
    return ", ".join(service.name for service in services) or "none was started here"


def running(service: Service) -> bool:
    return born(service.pid) == service.born


def members(services: list[Service]) -> list[int]:
    """The living processes of the services' sessions: also those that outlive them, in process groups of their own."""
    return of_sessions({s.pid for s in services if born(s.pid) in (s.born, None)})


def _end(services: list[Service], number: signal.Signals, seconds: float) -> None:
    """Signals every process of the services until none is left or the time is up."""
    deadline, told = time.monotonic() + seconds, set[int]()
    while time.monotonic() < deadline and (left := members(services)):
        for pid in left:
            if pid not in told:
                told.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        for service in services:
            with suppress(ChildProcessError):
                os.waitpid(service.pid, os.WNOHANG)
        time.sleep(0.1)


def _file(settings: Settings) -> Path:
    return settings.home / "services.json"


def _record(settings: Settings, services: list[Service]) -> None:
    part = _file(settings).with_suffix(".part")
    part.write_text(json.dumps([asdict(service) for service in services], indent=2))
    part.replace(_file(settings))


def _spawn(settings: Settings, name: str, command: list[str], surroundings: dict[str, str]) -> Service:
    """A child in a session of its own, so that it outlives us and ends as a group."""
    log = settings.home / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=surroundings,
            start_new_session=True,
        )
    birth = born(child.pid)
    if birth is None:
        raise EvergreenError(f"{name} ended at once; {_tail(log)}")
    return Service(name, child.pid, birth)


def _ports_free(settings: Settings, missing: set[str]) -> None:
    ports = {"airflow-api-server": "airflow_port", "mlflow": "mlflow_port", "serving": "serving_port"}
    for name, field in ports.items():
        port = getattr(settings, field)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if name in missing and _taken(probe, settings.host, port):
                raise EvergreenError(
                    f"port {port} is taken by another program; end it, or set EVERGREEN_{field.upper()} to a free port"
                )


def _taken(probe: socket.socket, host: str, port: int) -> bool:
    try:
        probe.bind((host, port))
    except OSError:
        return True
    return False


def _prepare(settings: Settings, surroundings: dict[str, str], mlflow: bool) -> None:
    """The tables of Airflow and MLflow, made once before many processes want to make them."""
    import sqlite3

    (settings.home / "airflow").mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(settings.home / "airflow" / "airflow.db") as database:
        database.execute("pragma journal_mode=wal")
    makers = [
        [str(BIN / "airflow"), "db", "migrate"],
        *([[sys.executable, "-m", "pipelines.stores.tracking.registry"]] if mlflow else []),
    ]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(m, env=surroundings, stdout=pipe, stderr=pipe, text=True) for m in makers]
    for maker, child in zip(makers, started, strict=True):
        _, error = child.communicate()
        if child.returncode:
            raise EvergreenError(f"{' '.join(maker)} failed: {error[-2000:]}")


def _await_health(
    settings: Settings, services: list[Service], fresh: set[str], progress: Callable[[str], None]
) -> None:
    begun = time.time()
    names = {service.name for service in services}
    while waiting := [name for name, healthy in _health(settings, begun, fresh, names) if not healthy]:
        for service in services:
            if not running(service):
                raise EvergreenError(
                    f"{service.name} ended; {_tail(settings.home / 'logs' / f'{service.name}.log')}"
                )
        if time.time() - begun > START_SECONDS:
            raise EvergreenError(
                f"{', '.join(waiting)} not healthy after {START_SECONDS:.0f} s; see {settings.home / 'logs'}"
            )
        progress(f"Waiting for {', '.join(waiting)} ({time.time() - begun:.0f} s)")
        time.sleep(0.3)


def _health(settings: Settings, begun: float, fresh: set[str], names: set[str]) -> Iterator[tuple[str, bool]]:
    """Each service's own word; a part of Airflow counts from a heartbeat after `begun`, if it is fresh."""
    base = f"http://{settings.host}"
    airflow = _get(f"{base}:{settings.airflow_port}/api/v2/monitor/health") or {}
    yield "Airflow", bool(airflow)
    for part in ("scheduler", "dag_processor", "triggerer"):
        since = begun - (0 if f"airflow-{part.replace('_', '-')}" in fresh else 10)
        yield part, _beats(airflow.get(part) or {}, part, since)
    if "mlflow" in names:
        yield "MLflow", _get(f"{base}:{settings.mlflow_port}/health") is not None
    if "serving" in names:
        yield "serving", _serves(settings)


def _serves(settings: Settings) -> bool:
    """Whether serving is alive; EvergreenError if its certificate is not trusted."""
    try:
        return bool(exchange(settings, "/health", seconds=2))
    except OSError:
        return False


def _beats(part: dict[str, Any], name: str, since: float) -> bool:
    from datetime import datetime

    beat = part.get(f"latest_{name}_heartbeat")
    return bool(beat) and datetime.fromisoformat(str(beat)).timestamp() > since


def _get(url: str) -> Any:
    """The JSON (or text) of a page; None if there is no good answer."""
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:  # noqa: S310 - our own servers
            text = reply.read().decode()
    except (urllib.error.URLError, OSError):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
    return f"the end of {log}:\n" + "\n".join(lines)
