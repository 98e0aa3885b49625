"""What a probe that was forked from a warm process has from it: its costs are told as those of a process alone."""

import os
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pipelines.processes import status

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAGE = resource.getpagesize()
FILE_IN_MEMORY = 0b101
"""The upper three bits of an entry of /proc/self/pagemap: present, not swapped, of a file."""


@dataclass(frozen=True)
class Inherited:
    """What a process alone would do itself, and have itself.

    `seconds` of processor time went into imports that otherwise fall into loading. `data` (KiB) is how much less than
    this process one alone would hold when its memory is bounded; negative: how much more. `files` (KiB) and `pages` are
    the libraries' files as far as they were in memory.
    """

    seconds: float = 0.0
    data: int = 0
    files: int = 0
    pages: "NDArray[Any] | None" = None

    @classmethod
    def since(cls, begun: float, data: int) -> Self:
        """From processor time `begun` and VmData `data` on, what is loaded would be loaded with a model."""
        return cls(time.process_time() - begun, data, status("RssFile"), _pages())

    def child(self) -> Self:
        """The same, in a fork: libraries' threads, and their stacks, did not come with it."""
        return replace(self, data=status("VmData") - self.data)

    def peak(self) -> int:
        """The most memory in use (KiB), as if every library had been loaded here.

        What a parent computed is in a fork's VmHWM from the start; but of libraries' files a fork begins with no page,
        and counts only those that it touches again. Those that only the parent touched are added.
        """
        return status("VmHWM") + self._untouched()

    def _untouched(self) -> int:
        now = _pages() if self.pages is not None else None
        if self.pages is None or now is None:
            return max(0, self.files - status("RssFile"))
        import numpy as np

        return int(np.setdiff1d(self.pages, now, assume_unique=True).size) * PAGE // 1024


NOTHING = Inherited()


def _pages() -> "NDArray[Any] | None":
    """The numbers of this process's pages that are in memory and of files; None where the kernel does not tell."""
    import numpy as np

    found = []
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            for line in Path("/proc/self/maps").read_text().splitlines():
                where, _, _, _, inode, *_ = line.split()
                first, last = (int(end, 16) // PAGE for end in where.split("-"))
                if inode != "0":
                    told = np.frombuffer(os.pread(pagemap.fileno(), (last - first) * 8, first * 8), "u8")
                    found.append(first + np.flatnonzero(told >> 61 == FILE_IN_MEMORY))
    except OSError:
        return None
    return np.concatenate(found) if found else None
