"""What the kernel tells and grants: which files were opened, and that file modes bind even root."""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.prove.awkward.bench import must

IN_OPEN = 0x20
EVENT = struct.Struct("iIII")
DAC = 0b110
"""The capabilities to read and write whatever the modes say."""


class Watch:
    """The names of files opened in some folders since it began, told by the kernel."""

    def __init__(self, *folders: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_NONBLOCK)
        for folder in folders:
            must(
                self._libc.inotify_add_watch(self._handle, os.fsencode(folder), IN_OPEN) >= 0,
                f"the kernel does not watch {folder}",
            )

    def opened(self) -> set[bytes]:
        """The names opened so far."""
        found: set[bytes] = set()
        try:
            while events := os.read(self._handle, 1 << 16):
                found |= set(_names(events))
        except BlockingIOError:
            pass
        return found


def _names(events: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(events):
        *_, size = EVENT.unpack_from(events, at)
        yield events[at + EVENT.size : at + EVENT.size + size].rstrip(b"\0")
        at += EVENT.size + size


class _Capabilities(ctypes.Structure):
    """What the kernel's capget and capset speak, version 3."""

    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int), ("sets", ctypes.c_uint32 * 6)]


@contextmanager
def bound_by_modes() -> Iterator[None]:
    """Lets file modes bind this thread even if it is root's, as they bind everybody else."""
    libc, held = ctypes.CDLL(None, use_errno=True), _Capabilities(0x20080522, 0)
    sets = ctypes.addressof(held) + _Capabilities.sets.offset
    must(libc.capget(ctypes.byref(held), ctypes.c_void_p(sets)) == 0, "the kernel tells no capabilities")
    effective = held.sets[0]
    held.sets[0] = effective & ~DAC
    libc.capset(ctypes.byref(held), ctypes.c_void_p(sets))
    try:
        yield
    finally:
        held.sets[0] = effective
        libc.capset(ctypes.byref(held), ctypes.c_void_p(sets))
