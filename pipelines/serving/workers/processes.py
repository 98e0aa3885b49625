"""A server of some processes: one takes the port and looks after those that answer."""

import os
import shutil
import signal
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

from pipelines.serving.workers.turns import Alone, Together, Turns

COUNTED = "counted"
UNHEARD = 30
"""Seconds after which a process that does not answer its keeper is ended, and another begun."""


@dataclass(frozen=True)
class Process:
    """One that answers: its `turns`, the folder in which all of its server count (None: it is alone), and the threads
    that run as long as its app."""

    turns: Turns
    counted: Path | None = None
    threads: Sequence[Any] = ()


def this(home: Path, threads: Sequence[Any]) -> Process:
    """This process, alone or among those of a keeper; it ends with the keeper."""
    parent = parent_process()
    own = folder(home, parent.pid) if parent and parent.pid else None
    if parent is None or own is None or not own.is_dir():
        return Process(Alone(), None, threads)
    _end_with(parent.sentinel)
    return Process(Together(own), own / COUNTED, threads)


def folder(home: Path, keeper: int) -> Path:
    """Where the processes of one server tell each other what they have to; gone with the server."""
    return home / "serving" / "workers" / str(keeper)


def keep(app: str, workers: int, listening: socket.socket, home: Path, **given: Any) -> None:
    """Serve with some processes until told to stop; one that ends is begun anew.

    `app` names a function that makes the app, in each process its own; they share what they count.
    """
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    own = folder(home, os.getpid())
    (own / COUNTED).mkdir(mode=0o700, parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(own / COUNTED)  # for the processes that are begun from here
    config = uvicorn.Config(
        app, factory=True, workers=workers, access_log=False, log_config=None, timeout_graceful_shutdown=10,
        timeout_worker_healthcheck=UNHEARD, **given,
    )  # fmt: skip
    try:
        Multiprocess(config, sockets=[listening]).run()
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _end_with(sentinel: int) -> None:
    """Let this process end, as if told to, once the one that began it is gone."""

    def watch() -> None:
        connection.wait([sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="keeper", daemon=True).start()
