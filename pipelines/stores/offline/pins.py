"""Which Delta version of a table a question reads."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_PINS: ContextVar[Mapping[str, int] | None] = ContextVar("pinned_tables", default=None)


@contextmanager
def pinned(versions: Mapping[str, int]) -> Iterator[None]:
    """Questions asked inside read these Delta tables at these versions, whenever they are answered.

    Keys are paths as the sources have them, such as `features/aircraft/v1`. Tables not named, and all
    tables outside the block, are read at their newest version. An inner block adds to an outer one.
    """
    token = _PINS.set({**(_PINS.get() or {}), **{_normal(path): v for path, v in versions.items()}})
    try:
        yield
    finally:
        _PINS.reset(token)


def pinned_version(path: str) -> int | None:
    """The version that the enclosing `pinned` blocks name for a path; None for the newest."""
    return (_PINS.get() or {}).get(_normal(path))


def _normal(path: str) -> str:
    return path.rstrip("/")
