"""A real Airflow of the proof's own: a temporary home, free ports, quick to notice, and gone afterwards."""

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from pipelines.contracts import EvergreenError, Say
from pipelines.local import supervisor
from pipelines.local.rest import Airflow
from pipelines.places import sqlite_url
from pipelines.prove.servers import free_port, terminable
from pipelines.settings import PROJECT, Settings
from pipelines.stores import Stores

SWEEP_SECONDS = 20
LEASE_SECONDS = 4.0
"""So short that a task which was stopped is outranked by its retry, and both work on one batch."""
DATASETS = ("flights", "departures", "weather")
"""Those whose files are landed; the sweeps of the others would only keep the machine busy."""
QUICK = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "8",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
}


SENSOR = "waits_for_weather"
OWN_DAG = f"""
from airflow.sdk import DAG
from evergreen_airflow.sensors import LandingSensor

with DAG({SENSOR!r}, schedule=None, is_paused_upon_creation=False):
    LandingSensor(task_id="wait", dataset="weather", poll_seconds=1.0, timeout=300)
"""


@dataclass(frozen=True)
class Process:
    """A process of the machine, as /proc tells it."""

    pid: int
    parent: int
    session: int
    state: str
    born: int
    title: str

    def lives(self) -> bool:
        """Whether it is there and not only waiting to be reaped."""
        now = look(self.pid)
        return now is not None and now.born == self.born and now.state != "Z"

    def signal(self, number: signal.Signals) -> bool:
        """Whether it was there to get it."""
        if not self.lives():
            return False
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


def look(pid: int) -> Process | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        title = (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        )
    except OSError:
        return None
    return Process(pid, int(fields[1]), int(fields[3]), fields[0], int(fields[19]), title)


def processes(sessions: set[int]) -> list[Process]:
    """Every process of these sessions, also one whose parents are gone."""
    found = (look(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [process for process in found if process and process.session in sessions]


@dataclass
class Site:
    """The Airflow a proof attacks."""

    settings: Settings
    say: Say
    sessions: set[int] = field(default_factory=set)
    closing: bool = False
    keep: bool = False
    """Whether what was left behind is worth a look."""

    def __post_init__(self) -> None:
        self.stores = Stores(self.settings)

    def start(self) -> None:
        """Start what does not run, and wait until it is healthy."""
        try:
            supervisor.start(self.settings, only="airflow-")
        finally:
            self.sessions |= {service.pid for service in supervisor.recorded(self.settings)}
        self.airflow = Airflow(self.settings)

    def calm(self) -> None:
        """Pause the DAGs that have no part in this, once Airflow knows them all."""
        from pipelines.catalog import datasets

        known = {f"ingest_{name}" for name in datasets()}
        self.until(lambda: known <= {*self.airflow.dags()}, 60, "Airflow knows every DAG")
        for dag in known - {f"ingest_{name}" for name in DATASETS}:
            self.airflow.pause(dag, True)

    def kill(self, service: str, whole: bool = False) -> None:
        """SIGKILL a service's first process; `whole`: with everything it started."""
        (found,) = [s for s in supervisor.recorded(self.settings) if s.name == service]
        for process in processes({found.pid}):
            if whole or process.pid == found.pid:
                process.signal(signal.SIGKILL)
        self.until(lambda: not supervisor.running(found), 10, f"{service} is gone")

    def until(self, condition: Callable[[], object], seconds: float, what: str, every: float = 0.3) -> None:
        """Wait for a condition; EvergreenError if it does not come, or if the proof is being ended.

        `every` so many seconds it is looked at: most looks ask Airflow, which does not work for the proof meanwhile.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if self.closing:
                raise EvergreenError("the proof was ended")
            if time.monotonic() > deadline:
                logs = self.settings.home / "logs"
                raise EvergreenError(f"not within {seconds:.0f} s: {what}; see {logs}")
            time.sleep(every)

    def stop(self) -> None:
        """End every process that was started here, and nothing else."""
        self.closing = True
        self.sessions |= {service.pid for service in supervisor.recorded(self.settings)}
        supervisor.stop(self.settings)
        # Tasks lead process groups of their own and outlive a killed scheduler; their session tells them.
        while left := [process for process in processes(self.sessions) if process.signal(signal.SIGKILL)]:
            time.sleep(0.01 * len(left))


@contextmanager
def site(say: Say) -> Iterator[Site]:
    """An Airflow with its own home; on failure the home is kept and named."""
    home = Path(tempfile.mkdtemp(prefix="evergreen-prove-"))
    with terminable(), _surroundings(_own_dags(home)):
        made = Site(_settings(home), say)
        try:
            say(f"Starting Airflow in {home} ...")
            made.start()
            made.calm()
            yield made
        except BaseException:
            made.keep = True
            raise
        finally:
            made.stop()
            if made.keep:
                say(f"What was left behind lies in {home}")
            else:
                shutil.rmtree(home, ignore_errors=True)


def _settings(home: Path) -> Settings:
    """Every path and address said outright, so that no .env or shell leads to a real deployment."""
    return Settings(
        _env_file=None,
        home=home,
        landing=home / "landing",
        lake=str(home / "lake"),
        database_url=SecretStr(sqlite_url(home / "evergreen.db")),
        tracking_uri=SecretStr(sqlite_url(home / "mlflow.db")),
        artifact_root=(home / "mlartifacts").as_uri(),
        online_store="sqlite",
        host="127.0.0.1",
        arrival_sweep=f"* * * * * */{SWEEP_SECONDS}",
        lease_seconds=LEASE_SECONDS,
        alert_urls=SecretStr("json://127.0.0.1:9/"),
        airflow_port=free_port(),
        mlflow_port=free_port(),
        serving_port=free_port(),
    )


def _own_dags(home: Path) -> str:
    """Airflow's list of DAG folders: one with our DAGs of ingestion, and one with a DAG of somebody's own."""
    ours, own = home / "dags", home / "own"
    for folder in (ours, own):
        folder.mkdir()
    (ours / "ingest.py").symlink_to(PROJECT / "dags" / "ingest.py")
    (own / f"{SENSOR}.py").write_text(OWN_DAG)
    kind = "airflow.dag_processing.bundles.local.LocalDagBundle"
    folders = {"dags-folder": ours, "own": own}
    return json.dumps(
        [{"name": n, "classpath": kind, "kwargs": {"path": str(p)}} for n, p in folders.items()]
    )


@contextmanager
def _surroundings(bundles: str) -> Iterator[None]:
    """The shell's settings put aside, and an Airflow that notices the dead in seconds."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("EVERGREEN_", "AIRFLOW__")):
            del os.environ[name]
    os.environ.update(QUICK | {"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": bundles})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
