"""What this process and its children used since a moment, as the system tells it; what it does not tell is None."""

import os
import resource
import sys
import time
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

IO, STATUS, CLEAR = Path("/proc/self/io"), Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What makes the kernel count the peak of the resident memory anew."""
UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in which getrusage tells memory."""
STEP, PROCESS = "step", "process"


@dataclass(frozen=True)
class Used:
    """Seconds of wall and processors, bytes asked of files and pipes and given to them, modules imported.

    Processors are those of all threads, and of children that have ended.
    """

    wall: float = 0.0
    cpu: float = 0.0
    read: int | None = 0
    written: int | None = 0
    imported: int = 0

    def __add__(self, other: "Used") -> "Used":
        return Used(*(_known(a, b, 1) for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: "Used") -> "Used":
        return Used(*(_known(a, b, -1) for a, b in zip(astuple(self), astuple(other), strict=True)))


def _known(one: Any, other: Any, sign: int) -> Any:
    return None if one is None or other is None else one + sign * other


def until_now() -> Used:
    """What this process used since it began."""
    cpu = sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    return Used(time.perf_counter(), cpu, *_bytes(), len(sys.modules))


def _bytes() -> tuple[int | None, int | None]:
    """Whether the disk or its cache answered; of sockets the kernel counts nothing here."""
    try:
        told = dict(line.split(": ") for line in IO.read_text().splitlines())
        return int(told["rchar"]), int(told["wchar"])
    except (OSError, ValueError, KeyError):
        return None, None


class Meter:
    """What is used from its making on; what an inner one counts is the inner one's."""

    def __init__(self, outer: "Meter | None" = None) -> None:
        self._outer, self._inner, self.pid = outer, Used(), os.getpid()
        self.peak, self.peak_of = 0, PROCESS
        if outer is not None:
            outer.see()
        self._childrens = _peak(resource.RUSAGE_CHILDREN)
        with suppress(OSError):
            CLEAR.write_text(RESET_PEAK)
            self.peak_of = STEP if _high_water() else PROCESS
        self._begun = until_now()

    def see(self) -> None:
        """The peak until now, of this process or of a child that ended meanwhile, whichever is the higher."""
        own = _high_water() if self.peak_of == STEP else None
        children = _peak(resource.RUSAGE_CHILDREN)
        self.peak = max(
            self.peak, own or _peak(resource.RUSAGE_SELF), (children > self._childrens) * children
        )

    def stop(self) -> Used:
        """What was used, without what inner meters counted."""
        whole = until_now() - self._begun
        self.see()
        if self._outer is not None:
            self._outer._inner += whole
            self._outer.peak = max(self._outer.peak, self.peak)
        return whole - self._inner


def _high_water() -> int | None:
    """The most memory that was resident since it was last counted anew."""
    with suppress(OSError, ValueError, IndexError):
        return int(STATUS.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return None


def _peak(whose: int) -> int:
    return resource.getrusage(whose).ru_maxrss * UNIT
