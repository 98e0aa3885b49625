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
    host, pid, birth = ["", "", "", *who.split(":")][-3:]
    if not pid.isdigit():
        return False
    return host == socket.gethostname() and str(born(int(pid))) != birth


def born(pid: int) -> int | None:
    """When a process was started (clock ticks since boot); None if it is gone or only waits to be reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _born_elsewhere(pid)
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def session(leader: int) -> list[int]:
    """The living processes of a session, the leader's among them or not; of the leader's group without /proc."""
    if not Path("/proc/self/stat").exists():
        return [leader] if born(leader) is not None else []
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[3]) == leader:
            found.append(int(path.parent.name))
    return found


def _born_elsewhere(pid: int) -> int | None:
    """The same where there is no /proc, from ps."""
    if Path("/proc/self/stat").exists():
        return None
    told = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return int(time.mktime(time.strptime(told))) if told else None
