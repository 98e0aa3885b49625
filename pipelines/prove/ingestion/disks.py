"""A real file system of 20 MB that a run finds almost full, in a mount namespace of its own."""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipelines.contracts import EvergreenError
from pipelines.prove.exports import Export
from pipelines.prove.forks import Home, Work, errors, quiet, start, write
from pipelines.prove.ingestion.homes import State, audit, state

SMALL = 20 << 20
NEW_USER, NEW_MOUNTS, RECURSIVE, PRIVATE = 0x10000000, 0x20000, 0x4000, 0x40000
SETTLING = 3


@dataclass
class SmallDiskRun:
    """A run on an almost full disk, and the runs after somebody made room."""

    said: str | None = None
    """What the run complained of; None if it ended as if nothing were wrong."""
    first: list[str] = field(default_factory=list)
    """What was not whole right after it although the ledger says so."""
    second: list[str] = field(default_factory=list)
    """What was wrong after the runs with room."""
    states: list[State] = field(default_factory=list)
    """The home after the run and after the runs with room."""
    used: int = 0
    """Bytes taken in the end."""
    trouble: str | None = None
    """Why there was no disk to try it on."""


def small_disk_run(work: Work, home: Home, files: list[Export], free: int) -> SmallDiskRun:
    """Runs the work with so many bytes free, makes room, and runs it again; EvergreenError if no mount is allowed."""
    ours, theirs = Pipe()
    process = start(_live, theirs, work, home, files, free)
    theirs.close()
    try:
        run: SmallDiskRun = ours.recv()
    except EOFError as error:
        raise EvergreenError("a run on a small disk died; its error stands above") from error
    finally:
        process.join()
        ours.close()
    if run.trouble:
        raise EvergreenError(run.trouble)
    return run


def _live(connection: Connection, work: Work, home: Home, files: list[Export], free: int) -> None:
    """One process without threads: all that starts some happens in forks of it."""
    quiet(home)
    run = SmallDiskRun()
    try:
        _mount(home.folder)
    except OSError as error:
        run.trouble = (
            f"a full disk needs a file system of its own, and mounting one failed ({error});"
            " run as root or where user namespaces are allowed"
        )
        connection.send(run)
        return
    ballast = _fill(home.folder, free)
    run.said = _forked(write, work, home)
    ballast.unlink()
    first = _answer(_look, files, home, False)
    again = [_forked(write, work, home) for _ in range(SETTLING)]
    second = _answer(_look, files, home, True)
    run.first, run.second, run.states = first[0], second[0], [first[1], second[1]]
    run.second += [f"a run with room failed: {said}" for said in again if said]
    run.used = SMALL - _available(home.folder)
    connection.send(run)


def _mount(folder: Path) -> None:
    """Puts a small tmpfs there for this process and its forks alone."""
    libc, user, group = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    _check(libc.unshare(NEW_MOUNTS if user == 0 else NEW_MOUNTS | NEW_USER))
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _check(libc.mount(b"none", b"/", None, RECURSIVE | PRIVATE, None))
    _check(libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={SMALL}".encode()))


def _check(answer: int) -> None:
    if answer:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _fill(folder: Path, free: int) -> Path:
    """A file that leaves so many bytes free."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, _available(folder) - free))
    return ballast


def _available(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _forked(function: Callable[..., object], *arguments: Any) -> str | None:
    """Runs the function in a fork; what went wrong there, if anything."""
    child = os.fork()
    if not child:
        code = 1
        try:
            function(*arguments)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    noted = errors(arguments[-1])
    last = noted.read_text().splitlines()[-1] if noted.exists() else ""
    return f"exit code {code} {last}" if code else None


def _answer(look: Callable[..., None], files: list[Export], home: Home, ended: bool) -> Any:
    """What a fork saw, so that no library starts threads here."""
    ours, theirs = Pipe()
    _forked(look, theirs, files, ended, home)
    return ours.recv()


def _look(connection: Connection, files: list[Export], ended: bool, home: Home) -> None:
    connection.send((list(audit(files, home, ended)), state(home)))
