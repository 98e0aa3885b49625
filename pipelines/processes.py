"""Which process this is, what it holds, and whether another still lives. A pid alone is reused; its birth is not."""

import os
import socket
import stat
import struct
import subprocess
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path


def identity() -> str:
    """This process on this machine: host, pid, and when it was born."""
    return f"{socket.gethostname()}:{os.getpid()}:{born(os.getpid())}"


def status(name: str) -> int:
    """A number of this process from /proc, in KiB; 0 without. ru_maxrss would count what the parent had before exec."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0


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


def of_sessions(leaders: Collection[int]) -> list[int]:
    """The living processes of some sessions, their leaders among them or not; the leaders alone without /proc."""
    if not Path("/proc/self/stat").exists():
        return [leader for leader in leaders if born(leader) is not None]
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[3]) in leaders:
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


def private(folder: Path) -> Path:
    """That folder, made if need be, in which nobody but this user has a say; PermissionError if others could have."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    known = folder.lstat()
    if not stat.S_ISDIR(known.st_mode) or known.st_uid != os.geteuid() or known.st_mode & 0o077:
        raise PermissionError(f"{folder} is no folder of this user's alone; see who made it, and remove it")
    return folder


def same_user(connection: socket.socket) -> bool:
    """Whether a process of this user is at the other end; where the kernel does not say, the folder has to do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    known = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", known)[1] == os.geteuid())


def processors() -> list[int]:
    """The processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
