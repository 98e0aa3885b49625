"""On whose behalf this process acts: a person at a command line, or a run of a scheduler. The audit log names it."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_BEHALF: ContextVar[str | None] = ContextVar("on whose behalf", default=None)


def acting() -> str:
    """Who is behind what is done now; the person who started this process, unless `acting_as` says otherwise."""
    return _BEHALF.get() or f"cli: {_user()}"


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Within, everything is done on behalf of `name`."""
    before = _BEHALF.set(name)
    try:
        yield
    finally:
        _BEHALF.reset(before)


def _user() -> str:
    """The user's name; its number where the system knows no name, as in many containers."""
    import os

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
