"""A server of some processes: one takes the port and looks after those that answer."""

import fcntl
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

from pipelines.serving.accounts.bookkeeper import Kept
from pipelines.serving.workers.turns import Alone, Together, Turns

COUNTED, HELD = "counted", "held"
UNHEARD = 30
"""Seconds after which a process that does not answer its keeper is ended, and another begun."""


@dataclass(frozen=True)
class Process:
    """One that answers: its `turns`, the folder in which all of its server count (None: it is alone), the threads that
    run as long as its app, where what it takes is `kept`, and `since` which of its processor seconds (unset: from now).
    """

    turns: Turns
    counted: Path | None = None
    threads: Sequence[Any] = ()
    kept: Kept | None = None
    since: float | None = None


def this(shared: Path | None, threads: Sequence[Any], kept: Kept) -> Process:
    """This process from its first moment, alone or among those that share a folder; then it ends with its keeper."""
    if shared is None:
        return Process(Alone(), None, threads, kept, 0.0)
    keeper = parent_process()
    if keeper is not None:
        _end_with(keeper.sentinel)
    return Process(Together(shared), shared / COUNTED, threads, kept, 0.0)


def keep(app: str, workers: int, listening: socket.socket, folders: Path, **given: Any) -> None:
    """Serve with some processes until told to stop; one that ends is begun anew.

    `app` names what makes the app, in each process its own, of a folder in which the processes of this server tell each
    other what they must; it is a new one in `folders`, and gone with the server.
    """
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    with _shared(folders) as shared:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(shared / COUNTED)  # for the processes begun from here
        config = uvicorn.Config(
            partial(_made, app, shared), factory=True, workers=workers, access_log=False, log_config=None,
            timeout_graceful_shutdown=10, timeout_worker_healthcheck=UNHEARD, **given,
        )  # fmt: skip
        Multiprocess(config, sockets=[listening]).run()


def _made(app: str, shared: Path) -> Any:
    from uvicorn.importer import import_from_string

    return import_from_string(app)(shared)


@contextmanager
def _shared(folders: Path) -> Iterator[Path]:
    """A folder of this server, which it holds; those of servers that were killed go."""
    folders.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folders.iterdir():
        with suppress(OSError), (left / HELD).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
    shared = Path(tempfile.mkdtemp(dir=folders))
    (shared / COUNTED).mkdir()
    with (shared / "hold").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        Path(held.name).rename(shared / HELD)  # held from its first moment
        try:
            yield shared
        finally:
            shutil.rmtree(shared, ignore_errors=True)


def _end_with(sentinel: int) -> None:
    """Let this process end, as if told to, once the one that began it is gone."""

    def watch() -> None:
        connection.wait([sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="keeper", daemon=True).start()
