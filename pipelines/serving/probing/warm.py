"""`python -m pipelines.serving.probing.warm SOCKET [IDLE]`: imports what probes need once, and forks who is asked for.

A child begins as a new process would: a session of its own, the asker's environment, folder and standard input, no
model imported, no number drawn. The server holds no secret and starts no thread (OpenBLAS ends its own before a fork;
that of jemalloc is not started by who starts this). It ends when nobody has asked for IDLE seconds, when its socket is
gone or another's, and when it is told to.
"""

import importlib
import io
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

from pipelines.processes import private, same_user, status
from pipelines.serving.probing.askers import END, Asked, Server
from pipelines.serving.probing.inherited import Inherited

IDLE = 300.0
"""So many seconds without a question, and it ends."""
KEPT = 1
"""So many older servers of this user stay when a new one comes, the newest; the others end when they are idle."""
PROMPT = 2.0
FIRST = ("pipelines.serving.probing.probe", "pandas", "pyarrow.parquet")
LOADING = ("skops.io", "threadpoolctl", "sklearn.pipeline")
"""What every model is loaded with, beside its own estimator.py."""


def main() -> int:
    """0 when it ended as it should; in a child, what the probe says."""
    path, idle = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else IDLE
    try:
        private(path.parent)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    if os.fork():
        os._exit(0)  # who starts it need not wait for its end
    inherited = imported()
    with closing(Server(path, idle)) as server:
        _detached()
        _fewer(path)
        asked = server.serve()
    return 0 if asked is None else _become(asked, inherited)


def imported() -> Inherited:
    """All that a probe imports, but no model; what of it a probe by itself imports while it loads the model, timed."""
    for name in FIRST:
        importlib.import_module(name)
    begun, data = time.process_time(), status("VmData")
    for name in LOADING:
        importlib.import_module(name)
    return Inherited.since(begun, data)


def _detached() -> None:
    """Standard input held the lock of who starts it, standard output told who waits for it: both are let go."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)


def _fewer(path: Path) -> None:
    """Tells older servers of this user to end."""
    others = [other for other in path.parent.glob("*.sock") if other != path]
    for other in sorted(others, key=_made, reverse=True)[KEPT:]:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PROMPT)
            try:
                connection.connect(str(other))
            except ConnectionRefusedError:
                other.unlink(missing_ok=True)
            if same_user(connection):
                connection.sendall(END)


def _made(path: Path) -> float:
    with suppress(OSError):
        return path.lstat().st_mtime
    return 0.0


def _become(asked: Asked, inherited: Inherited) -> int:
    """In the child: what a process started by the asker would be."""
    import numpy as np

    from pipelines.serving.probing import probe

    os.setsid()
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(asked.log, 1)
    os.dup2(asked.log, 2)
    os.close(asked.log)
    os.environ.clear()
    os.environ.update(asked.environ)
    os.chdir(asked.folder)
    sys.argv, sys.stdin = [probe.__file__, *asked.words], io.StringIO(asked.given)
    tempfile.tempdir = None
    importlib.invalidate_caches()
    np.random.seed()
    return probe.main(inherited.child())


if __name__ == "__main__":
    sys.exit(main())
