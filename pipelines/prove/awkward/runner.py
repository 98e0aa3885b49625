"""Work done in a process of its own, forked from one that has everything imported, and weighed."""

import importlib
import multiprocessing
import os
import resource
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from pipelines.contracts import EvergreenError

WALL = 6 << 30
"""Bytes of private memory at which a process is stopped, so that a bomb breaks a case and no machine."""
PATIENCE = 300.0
PRELOAD = ["pipelines.prove.imported", "duckdb_sqlalchemy", "deltalake", "pipelines.prove.awkward"]


@dataclass(frozen=True)
class Weighed:
    """What a piece of work gave (None if it died: see `death`), and its peak in megabytes above its imports."""

    value: Any = None
    peak_mb: float = 0.0
    death: str | None = None


def apart(
    work: Callable[..., Any], *arguments: Any, needs: tuple[str, ...] = (), patience: float = PATIENCE
) -> Weighed:
    """Does the work in a process of its own and weighs it; its death or silence is told, never raised."""
    ours, theirs = multiprocessing.Pipe()
    child = _server().Process(target=_enter, args=(theirs, needs, work, arguments))
    child.start()
    theirs.close()
    try:
        if not ours.poll(patience):
            return Weighed(death=f"no answer within {patience:.0f} seconds")
        found = Weighed(*ours.recv())
        child.join(10)
        return found
    except EOFError:
        child.join(10)
        return Weighed(death=f"its process died with exit code {child.exitcode}")
    finally:
        child.kill()
        child.join()


@lru_cache(maxsize=1)
def _server() -> ForkServerContext:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def _enter(pipe: Connection, needs: tuple[str, ...], work: Callable[..., Any], arguments: Any) -> None:
    for name in needs:
        importlib.import_module(name)
    resource.setrlimit(resource.RLIMIT_DATA, (WALL, WALL))
    base = peak_mb()
    value = work(*arguments)
    pipe.send((value, peak_mb() - base))


def peak_mb() -> float:
    """The most memory this process ever held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def crash(error: Exception) -> str:
    """An exception with the line of ours it came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/pipelines/" in f.filename]
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    kind = "refuses to go on" if isinstance(error, EvergreenError) else f"crashed with {type(error).__name__}"
    return f"{kind}{where}: {error}"
