"""What this checkout is made of, as a version's record names it: commit, files, machine."""

import hashlib
import platform
import re
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from pipelines.catalog import ModelSpec
from pipelines.settings import PROJECT
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import file_digest

PARTS = ("pipelines", "feature_repo", "expectations")
"""What of the project decides what a training makes."""
MADE_OF = {".py", ".sql", ".yaml", ".json"}
LOCKS = ("default.txt", "production.txt")
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
LIBRARIES = ("numpy", "pandas", "scikit-learn", "scipy", "skops")
"""What a model file is written and read with."""


def environment() -> str:
    """The digest of the lock that everything here was installed from."""
    return file_digest(lock())


@lru_cache(maxsize=1)
def lock() -> Path:
    """The lock that everything here was installed from: the one of whose packages the fewest are missing."""
    here = {_plain(found.name) for found in metadata.distributions()}
    return min((PROJECT / "locks" / name for name in LOCKS), key=lambda path: len(pinned(path) - here))


def pinned(lock: Path) -> set[str]:
    """The names of the packages that a lock pins, as they are compared."""
    return {_plain(name) for name in PINNED.findall(lock.read_text())}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def commit() -> str:
    """The commit the code is at, `unknown` outside a git checkout."""
    return _git("rev-parse", "HEAD") or "unknown"


def code() -> str:
    """The digest of the files here that decide what a training makes, in a git checkout or not."""
    sha = hashlib.sha256()
    found = (path for part in PARTS for path in (PROJECT / part).rglob("*") if path.suffix in MADE_OF)
    for path in sorted(found):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        sha.update(f"{path.relative_to(PROJECT).as_posix()} {digest}\n".encode())
    return sha.hexdigest()


def libraries() -> dict[str, str]:
    """The versions of what a model file is written and read with."""
    return {name: metadata.version(name) for name in LIBRARIES}


def fit_threads(spec: ModelSpec, stores: Stores) -> int:
    """How many threads fit a model: half of a task's where it is made a second time beside its training."""
    most = stores.settings.threads
    return max(1, most // 2) if spec.gate.rebuild else most


def made_with(spec: ModelSpec, stores: Stores) -> dict[str, str | int]:
    """What answers may depend on beside data, code and libraries: interpreter, machine and threads."""
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": fit_threads(spec, stores),
    }


def uncommitted() -> list[str]:
    """The files that differ from the commit the checkout is at; none outside a git checkout."""
    lines = _git("status", "--porcelain", "--untracked-files=all", "--", *PARTS).splitlines()
    return sorted(line[3:] for line in lines)


def changed_since(commit: str) -> list[str] | None:
    """The files in which this checkout differs from a commit; None where git does not know the commit."""
    if not _git("cat-file", "-t", commit).startswith("commit"):
        return None
    named = _git("diff", "--name-only", commit, "--", *PARTS).splitlines()
    return sorted({*named, *uncommitted()})


def _git(*command: str) -> str:
    done = subprocess.run(["git", *command], cwd=PROJECT, capture_output=True, text=True, check=False)
    return done.stdout.rstrip("\n") if done.returncode == 0 else ""
