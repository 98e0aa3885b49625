"""What the locks pin."""

import re
from collections.abc import Iterable
from pathlib import Path

PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)
LOCKS = Path(__file__).resolve().parent.parent / "locks"


def every() -> list[Path]:
    """Every lock of the product, those of its tools included."""
    return sorted(LOCKS.glob("*.txt"))


def pins(locks: Iterable[Path]) -> list[tuple[str, str]]:
    """Each name and version that is pinned, once, on whatever platform it is installed."""
    found = {(name.lower(), version) for lock in locks for name, version in PIN.findall(lock.read_text())}
    return sorted(found)
