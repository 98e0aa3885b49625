"""Which process this is, and whether another still lives. A pid alone is reused; its birth is not."""

import os
import socket
import subprocess
import time
from pathlib import Path


def identity() -> str:
    """This process on this machine: host, pid, and when it was born."""
    return f"{socket.gethostname()}:{os.getpid()}:{born(os.getpid())}"


def died(who: str) -> bool:
    """Whether that process is known to be gone; False for one on another machine, where nobody can know."""
    host, pid, birth = who.rsplit(":", 2)
    return host == socket.gethostname() and str(born(int(pid))) != birth


def born(pid: int) -> int | None:
    """When a process was started (clock ticks since boot); None if it is gone or only waits to be reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _born_elsewhere(pid)
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def _born_elsewhere(pid: int) -> int | None:
    """The same where there is no /proc, from ps."""
    if Path("/proc/self/stat").exists():
        return None
    told = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return int(time.mktime(time.strptime(told))) if told else None
