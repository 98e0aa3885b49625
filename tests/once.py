"""What is slow to make is made once per test run, whichever worker needs it first."""

import fcntl
import gc
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

SQLITE = b"SQLite format 3"


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` fills; the workers share it, so tests that write work on copies."""
    own = factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    home, made = root / name, root / f"{name}.made"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            make(home)
            _settle(home)
            made.touch()
    return home


def copied_home(home: Path, to: Path) -> Path:
    """A copy of what `once` made, to work on.

    What SQLite keeps beside a database comes and goes as others close theirs; since `once` nothing is in it. Files that
    are not whole yet are left out, too: a run of MLflow in a copy keeps its artifacts where the first home is.
    """
    beside = shutil.ignore_patterns("*.db-shm", "*.db-wal", ".part-*")
    return Path(shutil.copytree(home, to, dirs_exist_ok=True, ignore=beside))


def _settle(home: Path) -> None:
    """All that was written lies in the databases themselves."""
    gc.collect()  # connections that nobody holds any more
    for path in home.rglob("*.db"):
        if not path.read_bytes().startswith(SQLITE):
            continue  # Feast's registry has this name too
        connection = sqlite3.connect(path)
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.close()
        assert not busy, f"somebody works on {path}"
