"""One instant of a deployment that goes on working: what its databases and its lake say at the same time.

Those who write to a database wait for some milliseconds, in which each database gets a reader that keeps what it saw.
If a table of the lake got a commit meanwhile, the instant is another one. What is copied afterwards is what lay there
then: a state in which the deployment could have been cut off, and from which it goes on as after any crash.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.backup import lake
from pipelines.backup.databases import Busy, Database, Held, database
from pipelines.backup.manifest import Entry
from pipelines.backup.parts import File, files, other_databases, roots, urls
from pipelines.backup.vault import Vault
from pipelines.contracts import TransientError
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.locks import exclusive

TRIES = 100
PAUSE = 0.05
"""Seconds between two tries."""
ENDED = "SELECT digest, dataset FROM batches WHERE state IN ('refused', 'committed', 'archived')"
Stamp = tuple[int, int, int]


class Moved(Exception):
    """Something that had to be of the instant changed before it was copied."""


@dataclass(frozen=True)
class Moment:
    """An instant: readers of the databases, Delta versions, the files there were, and those copied in it."""

    at: datetime
    held: dict[Database, Held]
    tables: dict[str, int]
    files: tuple[File, ...]
    stamps: dict[Path, Stamp]
    copied: tuple[Entry, ...]
    head: str
    ended: frozenset[tuple[str, str]]

    def unchanged(self) -> None:
        """Moved if a file that is of the instant is another one now."""
        for path, before in self.stamps.items():
            if _stamp(path) != before:
                raise Moved(str(path))


@contextmanager
def moment(stores: Stores, vault: Vault, keys: bool) -> Iterator[Moment]:
    """The next instant at which nothing moves. TransientError if there is none for long."""
    _ = stores.ledger, stores.audit  # their tables are there
    for _try in range(TRIES):
        with ExitStack() as kept:
            try:
                found = _taken(stores, vault, keys, kept)
            except (Busy, FileNotFoundError):
                found = None
            if found is not None:
                yield found
                return
        time.sleep(PAUSE)
    raise TransientError("the deployment never stood still for an instant; back it up when less is written")


def _taken(stores: Stores, vault: Vault, keys: bool, kept: ExitStack) -> Moment | None:
    """The instant; None if the lake moved in it."""
    settings = stores.settings
    folder = roots(settings)["lake"]
    opened = databases(settings)
    with exclusive("audit", settings), ExitStack() as waiting:
        for each in opened:
            waiting.enter_context(each.still())
        before = lake.versions(folder)
        held = {each: kept.enter_context(each.held()) for each in opened}
        listed = tuple(files(settings, keys))
        copied = tuple(_copied(file, vault) for file in listed if file.at_once)
        stamps = {file.path: _stamp(file.path) for file in listed if file.still and not file.at_once}
        at, head = stores.audit.now(), str(stores.audit.head)
        if lake.versions(folder) != before:
            return None
    ended = frozenset((str(one), str(two)) for one, two in held[opened[0]].rows(ENDED))
    return Moment(at, held, before, listed, stamps, copied, head, ended)


def databases(settings: Settings) -> list[Database]:
    """All of a deployment's databases that there are, the ledger's first."""
    named = [database(name, url) for name, url in urls(settings).items()]
    others = [database(file.name, f"sqlite:///{file.path}") for file in other_databases(settings)]
    return [each for each in (*named, *others) if not _unmade(each)]


def _unmade(each: Database) -> bool:
    file = getattr(each, "file", None)
    return file is not None and not file.exists()


def _copied(file: File, vault: Vault) -> Entry:
    mode = file.path.stat().st_mode & 0o777
    digest, size = vault.put(file.path)
    return Entry(name=file.name, sha256=digest, size=size, mode=mode)


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise Moved(str(path)) from None
    return found.st_ino, found.st_size, found.st_mtime_ns
