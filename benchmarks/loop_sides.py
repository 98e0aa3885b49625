"""The two checkouts side by side: each with its own environment, home, driver process and serving process."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRIVER = Path(__file__).with_name("loop_driver.py")
SERVE_SECONDS = 60.0


class Unequal(AssertionError):
    """The two sides did not do the same."""


def worktree(project: Path, commit: str, folder: Path) -> Path:
    """A checkout of a commit with its own installed environment, made once."""
    found = subprocess.run(
        ["git", "rev-parse", "--verify", f"{commit}^{{commit}}"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise SystemExit(f"{commit} is not in this clone; fetch its history, or name another with BASE=")
    path = folder / f"base-{found.stdout.strip()[:12]}"
    if not path.exists():
        subprocess.run(["git", "worktree", "prune"], cwd=project, check=True)
        subprocess.run(
            ["git", "worktree", "add", "--detach", str(path), found.stdout.strip()],
            cwd=project,
            check=True,
            capture_output=True,
        )
    clean = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run(["make", "-s", "install", f"PYTHON={base}"], cwd=path, env=clean, check=True)
    return path


@dataclass
class Took:
    """What a step took: seconds, processor seconds of all its processes, megabytes of its largest one."""

    wall: float
    cpu: float
    peak: float


class Side:
    """One checkout at work in its home."""

    def __init__(self, name: str, checkout: Path, home: Path) -> None:
        self.name, self.checkout, self.home = name, checkout, home
        self.port = free_port()
        self.kept = 0.0
        self.began = 0.0
        self.steps: frozenset[str] = frozenset()
        self.took: dict[str, Took] = {}
        self._driver: subprocess.Popen[str] | None = None
        self._serving: subprocess.Popen[bytes] | None = None

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    def start(self) -> None:
        """Start the driver and wait until it holds what a scheduler holds."""
        self.landing.mkdir(parents=True, exist_ok=True)
        log = self.home.with_suffix(".log").open("a")
        self._driver = subprocess.Popen(
            self._command(),
            cwd=self.checkout,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        said = self._said()
        self.steps, self.began = frozenset(said["steps"]), float(said["cpu"])

    def serve(self) -> None:
        """Start serving, and wait until it answers."""
        log = self.home.with_suffix(".serving.log").open("a")
        self._serving = subprocess.Popen(
            [str(self._python), "-m", "pipelines.serving"],
            cwd=self.checkout,
            env=self._environment(),
            stdout=log,
            stderr=log,
        )

    def stop(self) -> None:
        """End both processes; the driver ends what its steps left running once nobody asks it any more."""
        self.leave()
        if self._driver is not None and self._driver.stdin is not None:
            self._driver.stdin.close()
            self._driver.wait()

    def leave(self) -> None:
        """End serving."""
        if self._serving is not None:
            self._serving.terminate()
            self._serving.wait()

    def take(self, files: list[Path]) -> None:
        """Files land here as an exporter lands them: beside, then renamed."""
        for file in files:
            beside = self.landing / f".{file.name}.tmp"
            shutil.copyfile(file, beside)
            beside.replace(self.landing / file.name)

    def run(self, title: str, *calls: dict[str, Any]) -> list[Any]:
        """The results of calls that run at once; what they took is kept under the title."""
        assert self._driver is not None
        assert self._driver.stdin is not None
        self._driver.stdin.write(json.dumps(calls) + "\n")
        self._driver.stdin.flush()
        found = self._said()
        self.took[title], self.kept = Took(found["wall"], found["cpu"], found["peak"]), found["kept"]
        errors = [answer["error"] for answer in found["answers"] if "error" in answer]
        if errors:
            raise SystemExit(f"{self.name}: {title}: {errors[0]}; see {self.home.with_suffix('.log')}")
        return [answer["result"] for answer in found["answers"]]

    def served(self, model: str, version: int, title: str = "") -> None:
        """Wait until serving answers with a version; the wait is kept under the title."""
        assert self._serving is not None
        begun, worked = time.perf_counter(), _processor(self._serving.pid)
        while (found := self._version(model)) != version:
            if time.perf_counter() - begun > SERVE_SECONDS:
                raise SystemExit(
                    f"{self.name} serves version {found}, not {version}, a minute after it was promoted"
                )
            time.sleep(0.02)
        if title:
            wall, cpu = time.perf_counter() - begun, _processor(self._serving.pid) - worked
            self.took[title] = Took(wall, cpu, _resident(self._serving.pid))

    def _version(self, model: str) -> int | None:
        url = f"http://127.0.0.1:{self.port}/v1/models/{model}"
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                found = json.load(reply).get("version")
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return None
        return None if found is None else int(found)

    def _command(self) -> list[str]:
        return [str(self._python), str(DRIVER)]

    @property
    def _python(self) -> Path:
        return self.checkout / ".venv" / "bin" / "python"

    def _environment(self) -> dict[str, str]:
        """Ours, without what points at another deployment or checkout."""
        plain = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("EVERGREEN_", "AIRFLOW", "PYTHON", "MAKE", "VIRTUAL_ENV"))
        }
        return plain | {
            "EVERGREEN_HOME": str(self.home),
            "EVERGREEN_SERVING_PORT": str(self.port),
            "AIRFLOW_HOME": str(self.home / "airflow"),
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONUNBUFFERED": "1",
        }

    def _said(self) -> dict[str, Any]:
        assert self._driver is not None
        assert self._driver.stdout is not None
        line = self._driver.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: its driver ended; see {self.home.with_suffix('.log')}")
        return dict(json.loads(line))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _processor(pid: int) -> float:
    """The processor seconds of a process until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> float:
    """A process's peak of resident memory in MB."""
    (line,) = (x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
