"""What may go wrong with one file and is neither its refusal nor the disk's: the files after it are taken all the same.

A fault of ours (an exception that nobody foresaw) is noted in the ledger, and the file is tried again by later runs.
One that fails each time is refused in the end: its bytes are kept, and a person may release it once we are mended.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from pipelines.contracts import Batch, BatchState, Claim, EvergreenError, IngestResult, TransientError
from pipelines.reading.records import Unsettled
from pipelines.stores import Stores

LOG = logging.getLogger(__name__)
TRIES = 3
"""How often a file is tried before a fault of ours becomes its refusal."""
LONGEST = 300
FAULT = "a fault of ours"
"""How the reason of a file begins that such a fault keeps out."""
PANIC = "PanicException"
"""What Rust's libraries raise where they cannot go on: no Exception, but no wish to end the process either."""
T = TypeVar("T")
Told = Callable[[str], str]


def infrastructure() -> tuple[type[BaseException], ...]:
    """Errors of disks, databases and an installation that is not whole: no file's doing, so the run ends."""
    import duckdb
    from deltalake.exceptions import DeltaError
    from sqlalchemy import exc

    databases = (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError)
    return (
        *(OSError, ImportError, DeltaError, *databases),
        *(duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException),
    )


def unforeseen(error: BaseException) -> bool:
    """Whether an exception is a fault of ours with one file: none of our own words, nor the infrastructure's."""
    if any(isinstance(each, infrastructure()) for each in _chain(error)) or isinstance(error, EvergreenError):
        return False
    return isinstance(error, Exception) or type(error).__name__ == PANIC


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def failed(batch: Batch, claim: Claim, error: BaseException, shown: Told, stores: Stores) -> IngestResult:
    """Notes a fault of ours with a claimed batch: it waits for the next run, or is refused after the last try."""
    LOG.error("%s: a fault of ours with %r", batch.dataset, batch.name, exc_info=error)
    why = _said(error, shown)
    tries = stores.ledger.failed(claim, why)
    if tries < TRIES:
        return waiting(batch, f"{why}; it is tried again by the next run, {TRIES - tries} more times")
    return IngestResult(
        batch.digest,
        batch.dataset,
        batch.name,
        BatchState.REFUSED,
        reason=f"{why}; {tries} tries failed. Report it; `evergreen quarantine release {batch.digest[:12]}` judges it"
        " again once that is mended",
    )


def contained(batch: Batch, work: Callable[[], IngestResult], shown: Told) -> IngestResult:
    """The result of taking one batch in, or that it waits, where only this one stands in its own way."""
    try:
        return work()
    except Unsettled as error:
        LOG.warning("%s: %r waits: %s", batch.dataset, batch.name, error)
        return waiting(batch, shown(str(error)))
    except BaseException as error:
        if not unforeseen(error):
            raise
        LOG.error("%s: a fault of ours with %r", batch.dataset, batch.name, exc_info=error)
        return waiting(batch, f"{_said(error, shown)}; it is tried again by the next run")


def in_turn(names: Iterable[str], work: Callable[[str], list[T]]) -> tuple[list[T], list[str]]:
    """What the work gave for each dataset, and what kept one from being worked on; the others were.

    TransientError of the infrastructure ends it: the next dataset would meet the same.
    """
    done: list[T] = []
    troubles = []
    for name in names:
        try:
            done += work(name)
        except TransientError:
            raise
        except EvergreenError as error:
            troubles.append(f"{name}: {error}")
        except BaseException as error:
            if not unforeseen(error):
                raise
            LOG.error("%s: a fault of ours", name, exc_info=error)
            troubles.append(f"{name}: {_said(error, str)}; report it with what was logged above")
    return done, troubles


def waiting(batch: Batch, why: str) -> IngestResult:
    """A batch that could not be taken in now: nothing of it counts, and its file stays where it lies."""
    return IngestResult(batch.digest, batch.dataset, batch.name, BatchState.SEEN, reason=why)


def _said(error: BaseException, shown: Told) -> str:
    first = next(iter(str(error).splitlines()), "")[:LONGEST]
    return shown(f"{FAULT}: {type(error).__name__}: {first}")
