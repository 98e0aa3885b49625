"""A part of a page that was read, or why it could not be."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipelines.contracts import EvergreenError

LOG = logging.getLogger("evergreen.site")
T = TypeVar("T")


@dataclass(frozen=True)
class Told(Generic[T]):
    """What a part says; `trouble` says why nothing can be said, and is None where it was read."""

    value: T | None = None
    trouble: str | None = None


def told(what: str, read: Callable[[], T]) -> Told[T]:
    """Reads one part. Whatever is wrong with its records is told in its place, and never raised."""
    try:
        return Told(read())
    except EvergreenError as error:
        return Told(trouble=str(error))
    except Exception as error:
        # Of the error only its kind: its text may hold an address with a password.
        LOG.warning("%s could not be read for the pages: %s", what, type(error).__name__)
        return Told(trouble=f"its records could not be read ({type(error).__name__})")
