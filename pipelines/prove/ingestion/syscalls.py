"""A run whose every system call on its home passes under our eyes first: counted, let through or broken.

The kernel's seccomp notification hands over the calls of all threads in one order, so that a point is
a number: the n-th call of the process that changes the home, whichever thread makes it. (strace counts
per thread, and delta-rs writes from a pool whose threads take turns.) A call is broken before it has
any effect: the process is killed, or the call returns an error. Writes into mapped memory are no
system calls and pass unseen; SQLite's shared-memory index is the only such file here.
"""

import ctypes
import fcntl
import os
import platform
import select
import signal
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path

from pipelines.contracts import EvergreenError
from pipelines.prove.forks import Home, Work, quiet, start

# Name: its numbers on x86_64 and aarch64, and its arguments: f a file, d a folder that the next path
# starts from, p a path, - anything else. The last file or path is the one that changes.
Calls = dict[str, tuple[int | None, int | None, str]]
WRITES: Calls = {
    "write": (1, 64, "f"),
    "writev": (20, 66, "f"),
    "pwrite64": (18, 68, "f"),
    "pwritev": (296, 70, "f"),
    "pwritev2": (328, 287, "f"),
    "sendfile": (40, 71, "f"),
    "copy_file_range": (326, 285, "--f"),
    "ftruncate": (77, 46, "f"),
    "fallocate": (285, 47, "f"),
    "fsync": (74, 82, "f"),
    "fdatasync": (75, 83, "f"),
    "sync_file_range": (277, 84, "f"),
    "syncfs": (306, 267, "f"),
    "sync": (162, 81, ""),
    "truncate": (76, 45, "p"),
    "open": (2, None, "p"),
    "creat": (85, None, "p"),
    "openat": (257, 56, "dp"),
    "mkdir": (83, None, "p"),
    "mkdirat": (258, 34, "dp"),
    "rename": (82, None, "-p"),
    "renameat": (264, 38, "--dp"),
    "renameat2": (316, 276, "--dp"),
    "link": (86, None, "-p"),
    "linkat": (265, 37, "--dp"),
    "symlink": (88, None, "-p"),
    "symlinkat": (266, 36, "-dp"),
    "unlink": (87, None, "p"),
    "unlinkat": (263, 35, "dp"),
    "rmdir": (84, None, "p"),
}
READS: Calls = {
    "read": (0, 63, "f"),
    "readv": (19, 65, "f"),
    "pread64": (17, 67, "f"),
    "preadv": (295, 69, "f"),
    "open": (2, None, "p"),
    "openat": (257, 56, "dp"),
}
SHAPES = {name: shape for name, (_, _, shape) in (WRITES | READS).items()}
OPENING = ("open", "openat")
SECCOMP = {"x86_64": (0, 317), "aarch64": (1, 277)}
"""Per machine: the column of its numbers above, and its number of seccomp itself."""
NO_NEW_PRIVILEGES, SET_FILTER, NEW_LISTENER = 38, 1, 8
RECEIVE, SEND, CONTINUE = 0xC0502100, 0xC0182101, 1
LOAD, JUMP_IF_EQUAL, RETURN, ALLOW, NOTIFY = 0x20, 0x15, 0x06, 0x7FFF0000, 0x7FC00000
LONGEST_RUN = 120.0
"""Seconds after which a run counts as hung."""


@dataclass(frozen=True)
class Call:
    """A system call on the home: its name and the path that it changes, within the home."""

    name: str
    path: str


@dataclass(frozen=True)
class Fault:
    """What befalls the call with this number: an errno, or death if None."""

    at: int
    error: int | None = None


@dataclass
class Run:
    """The calls that a run got to, the last one broken if it died, and how it ended."""

    calls: list[Call] = field(default_factory=list)
    hit: bool = False
    end: str = "died"
    """done, raised, died or hung."""
    said: str = ""
    """What it returned or raised, as text."""
    kinds: tuple[str, ...] = ()
    """The class of its error and that class's bases."""


def supervised(work: Work, home: Home, fault: Fault | None = None, reads: bool = False) -> Run:
    """Runs the work in a process of its own and breaks the one call that `fault` names.

    It counts the calls that change the home or, with reads=True, those that open or read landed files.
    """
    numbers = _numbers(READS if reads else WRITES)
    folders = (home.landing,) if reads else (home.folder, home.landing)
    ours, theirs = Pipe()
    process = start(_live, theirs, work, home, sorted(numbers))
    theirs.close()
    supervision = _Supervision(process.pid or 0, folders, numbers, fault)
    try:
        supervision.watch(ours)
    finally:
        process.kill()
        process.join()
        ours.close()
    return supervision.run


def watchable() -> bool:
    """Whether this machine hands system calls over: Linux 5.5 or newer, on a processor whose numbers we know."""
    known = Path("/proc/sys/kernel/seccomp/actions_avail")
    return platform.machine() in SECCOMP and known.exists() and "user_notif" in known.read_text()


def _numbers(calls: Calls) -> dict[int, str]:
    if not watchable():
        raise EvergreenError(
            "system calls can be watched on Linux 5.5 or newer only; use --points 0 elsewhere"
        )
    machine = SECCOMP[platform.machine()]
    found = {name: on_arm if machine[0] else on_intel for name, (on_intel, on_arm, _) in calls.items()}
    return {number: name for name, number in found.items() if number is not None}


def _live(connection: Connection, work: Work, home: Home, numbers: list[int]) -> None:
    """The watched process: no thread exists before the filter, so none escapes it."""
    quiet(home)
    listener = _listen(numbers)
    send_handle(connection, listener, None)
    os.close(listener)
    try:
        end: tuple[str, str, tuple[str, ...]] = ("done", str(work(home)), ())
    except Exception as error:
        end = ("raised", str(error), tuple(kind.__name__ for kind in type(error).__mro__))
    connection.send(end)


def _listen(numbers: list[int]) -> int:
    """A descriptor on which the kernel announces these calls of this process and waits."""
    steps = [struct.pack("HBBI", LOAD, 0, 0, 0)]
    steps += [
        struct.pack("HBBI", JUMP_IF_EQUAL, len(numbers) - i, 0, number) for i, number in enumerate(numbers)
    ]
    steps += [struct.pack("HBBI", RETURN, 0, 0, what) for what in (ALLOW, NOTIFY)]
    code = ctypes.create_string_buffer(b"".join(steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    listener: int = libc.syscall(SECCOMP[platform.machine()][1], SET_FILTER, NEW_LISTENER, program)
    if listener < 0:
        raise EvergreenError(
            f"this machine lets nobody watch system calls ({os.strerror(ctypes.get_errno())}):"
            " it takes Linux 5.5 and a container that allows seccomp; or use --points 0"
        )
    return listener


@dataclass
class _Supervision:
    """Answers the kernel for each announced call until the process has ended."""

    process: int
    folders: tuple[Path, ...]
    numbers: dict[int, str]
    fault: Fault | None
    run: Run = field(default_factory=Run)

    def watch(self, connection: Connection) -> None:
        listener = self._listener(connection)
        poll, until = select.poll(), time.monotonic() + LONGEST_RUN
        poll.register(listener, select.POLLIN)
        poll.register(connection, select.POLLIN)
        try:
            while self._step(listener, dict(poll.poll(1000)), connection):
                if time.monotonic() > until:
                    self.run.end = "hung"
                    return
        finally:
            os.close(listener)

    def _listener(self, connection: Connection) -> int:
        try:
            return recv_handle(connection)
        except (EOFError, OSError, RuntimeError) as error:
            raise EvergreenError(
                "a watched process did not start: it takes Linux 5.5 and a container that allows"
                " seccomp; or use --points 0"
            ) from error

    def _step(self, listener: int, ready: dict[int, int], connection: Connection) -> bool:
        """Handles what is ready; whether the process still lives."""
        events = ready.get(listener, 0)
        if events & select.POLLIN:
            self._answer(listener)
            return True
        if connection.fileno() in ready:
            with suppress(EOFError, ConnectionResetError):
                self.run.end, self.run.said, self.run.kinds = connection.recv()
            return False
        return not events & select.POLLHUP

    def _answer(self, listener: int) -> None:
        buffer = bytearray(80)
        with suppress(OSError):  # the thread died meanwhile
            fcntl.ioctl(listener, RECEIVE, buffer)
            notice, thread, _, number, _, _, *arguments = struct.unpack("QIIiIQ6Q", buffer)
            error = self._judge(thread, self.numbers[number], arguments)
            if error is None:
                os.kill(self.process, signal.SIGKILL)
            else:
                answer = struct.pack("QqiI", notice, 0, -error, 0 if error else CONTINUE)
                fcntl.ioctl(listener, SEND, answer)

    def _judge(self, thread: int, name: str, arguments: list[int]) -> int | None:
        """What becomes of a call: 0 it goes on, an errno, or None for death."""
        path = self._path(thread, name, arguments)
        if path is None:
            return 0
        self.run.calls.append(Call(name, path))
        if self.fault is None or len(self.run.calls) - 1 != self.fault.at:
            return 0
        self.run.hit = True
        return self.fault.error

    def _path(self, thread: int, name: str, arguments: list[int]) -> str | None:
        """The path that a call is about, within its folder; None if it does not touch ours."""
        shape = SHAPES[name]
        if name in OPENING and not self._counts(arguments[len(shape)]):
            return None
        path = _target(thread, shape, arguments) if shape else str(self.folders[0])
        for folder in self.folders:
            if path == str(folder) or path.startswith(f"{folder}/"):
                return os.path.relpath(path, folder)
        return None

    def _counts(self, flags: int) -> bool:
        """Whether an open of this kind is one of ours: it makes or empties a file, or any will do."""
        return bool(flags & (os.O_CREAT | os.O_TRUNC)) or READS.keys() >= set(self.numbers.values())


def _target(thread: int, shape: str, arguments: list[int]) -> str:
    """The last file or path of a call, absolute."""
    last = arguments[len(shape) - 1]
    if shape.endswith("f"):
        return _link(f"/proc/{thread}/fd/{last}")
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        memory.seek(last)
        path = os.fsdecode(memory.read(4096).split(b"\0")[0])
    folder = ctypes.c_int(arguments[len(shape) - 2] if shape.endswith("dp") else -1).value
    base = _link(f"/proc/{thread}/fd/{folder}" if folder >= 0 else f"/proc/{thread}/cwd")
    return os.path.join(base, path)


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
