"""A way at work on days of flights, in a process of its own, and the record of what each step took."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipelines.settings import PROJECT

HERE = Path(__file__).parent


class Side:
    """A process that answers a line of JSON by a line, warm before it is asked; begun when it is first asked."""

    def __init__(self, name: str, script: str, home: Path, checkout: Path = PROJECT) -> None:
        self.name, self.home = name, home
        self._script, self._checkout = script, checkout
        self._process: subprocess.Popen[str] | None = None
        self.base = 0.0

    def ask(self, **what: Any) -> dict[str, Any]:
        """What a step answers; SystemExit if its process ended."""
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._said()

    def stop(self) -> None:
        """End the process."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("EVERGREEN_", "PYTHON", "MAKE"))}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(HERE / self._script), str(self.home)],
            cwd=self._checkout,
            env=kept | {"PYTHONPATH": str(self._checkout), "OMP_WAIT_POLICY": "PASSIVE"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.home.with_suffix(".log").open("a"),
            text=True,
        )
        self.base = self._said()["peak"]

    def _said(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise SystemExit(f"{self.name} ended; see {self.home.with_suffix('.log')}")


class Record:
    """What each step took, a line of JSON each, on disk before the next begins: a run that was ended goes on here."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.steps: dict[str, dict[str, Any]] = {}
        for line in lines:
            try:
                said = json.loads(line)
            except ValueError:  # cut off while it was written
                continue
            self.steps[said["step"]] = said
        path.write_text("".join(json.dumps(each) + "\n" for each in self.steps.values()))

    def once(self, name: str, side: Side, **what: Any) -> dict[str, Any]:
        """What a step took, run if no earlier run has ended it."""
        if name not in self.steps:
            found = {**side.ask(**what), "step": name, "base": side.base}
            with self._path.open("a") as file:
                file.write(json.dumps(found) + "\n")
            self.steps[name] = found
        return self.steps[name]


def checkout_of(commit: str, folder: Path) -> Path:
    """A checkout of a commit, run with this environment; SystemExit if what it locks is another version here."""
    found = _git("rev-parse", "--verify", f"{commit}^{{commit}}").strip()
    if not found:
        raise SystemExit(f"{commit} is not in this clone; fetch its history, or name another")
    others = sorted(_pins(found) - _pins("HEAD"))
    if others:
        raise SystemExit(f"{commit} pins {', '.join(others[:3])}: its rate would be that of other libraries")
    path = folder / f"base-{found[:12]}"
    if not path.exists():
        subprocess.run(["git", "worktree", "prune"], cwd=PROJECT, check=True)
        subprocess.run(
            ["git", "worktree", "add", "-q", "--detach", str(path), found], cwd=PROJECT, check=True
        )
    return path


def _pins(commit: str) -> set[str]:
    """Every package of a commit's default lock, with its version."""
    return set(re.findall(r"(?m)^[\w.-]+==[^ ;]+", _git("show", f"{commit}:locks/default.txt")))


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, check=False).stdout
