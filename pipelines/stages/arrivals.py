"""Which files in the landing folder are ours to take in, and where they go when they have ended."""

import logging
import os
import shutil
import stat
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from uuid import uuid4

from pipelines.catalog import DatasetSpec
from pipelines.contracts import Batch, BatchState, TransientError
from pipelines.stages.records import Refused, digest_of
from pipelines.stores import Stores

LOG = logging.getLogger(__name__)
SETTLED = 0.2
"""Seconds without a change after which a file counts as written."""
UNFINISHED = (".tmp", ".part")
LONGEST_NAME = 255
"""In bytes; what Linux allows."""
FOLDERS = {BatchState.COMMITTED: "archive", BatchState.REFUSED: "refused"}


def discover(spec: DatasetSpec, stores: Stores) -> list[Batch]:
    """The settled files in the landing folder that are still to be taken in, by name.

    Files whose bytes ended before are put away again; names and kinds that cannot be files of ours are
    logged and never opened.
    """
    seen = filter(None, (_see(spec, path, stores) for path in _settled(spec, stores.settings.landing_path)))
    return list({batch.digest: batch for batch in seen}.values())


def put_away(batch: Batch, state: BatchState, stores: Stores) -> None:
    """Moves an ended file out of the landing folder; a newer file of the same name stays there."""
    source = stores.settings.landing_path / batch.name
    folder = stores.settings.home / FOLDERS[state] / batch.dataset
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{uuid4().hex}{source.suffix}"
    try:
        shutil.move(source, aside)
    except FileNotFoundError:
        return
    # An exporter may have replaced the file since it was read: what was moved decides.
    if digest_of(aside) == batch.digest:
        aside.replace(folder / _short(f"{batch.digest}_{batch.name}"))
    elif not source.exists():
        shutil.move(aside, source)


def _see(spec: DatasetSpec, path: Path, stores: Stores) -> Batch | None:
    """The file as a batch; None if it is gone, cannot be opened or has ended before."""
    try:
        batch = Batch(digest_of(path), spec.name, path.name, path.stat().st_size)
    except (TransientError, FileNotFoundError):
        return None
    except Refused as error:
        LOG.warning("%s: %r refused: %s", spec.name, path.name, error)
        return None
    known = stores.ledger.see(batch)
    if known.state is BatchState.SEEN:
        return batch
    LOG.info("%s: %r came before, as %r", spec.name, path.name, known.name)
    put_away(batch, known.state, stores)
    return None


def _settled(spec: DatasetSpec, landing: Path) -> list[Path]:
    """Regular files with a name of this dataset that nobody is writing any more, by name."""
    paths = [landing / name for name in sorted(_names(spec, landing))]
    before = {path: _look(path) for path in paths}
    young = [look for look in before.values() if look and time.time() - look[1] / 1e9 < SETTLED]
    if young:
        time.sleep(SETTLED)
    limit = (time.time() + 1) * 1e9
    return [path for path, look in before.items() if look and look == _look(path) and look[1] <= limit]


def _look(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _names(spec: DatasetSpec, landing: Path) -> Iterator[str]:
    if not landing.is_dir():
        return
    with os.scandir(landing) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(UNFINISHED):
                continue
            if fnmatchcase(entry.name.lstrip("-"), spec.pattern):
                fault = _fault(entry)
                if fault is None:
                    yield entry.name
                else:
                    LOG.warning("%s: %r refused unopened: %s", spec.name, entry.name, fault)


def _fault(entry: os.DirEntry[str]) -> str | None:
    """Why a file must not be opened; None if it may."""
    name = entry.name
    if any(0xD800 <= ord(character) <= 0xDFFF for character in name):
        return "its name is not UTF-8"
    if not name.isprintable() or "%2f" in name.lower() or "\\" in name:
        return "its name holds control characters or a path"
    if name.startswith("-"):
        return "its name begins with a dash"
    if len(os.fsencode(name)) > LONGEST_NAME:
        return f"its name is longer than {LONGEST_NAME} bytes"
    try:
        regular = stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return "it vanished"
    return None if regular else "not a regular file"


def _short(name: str) -> str:
    """A name that fits, its end kept because it says what the file is."""
    over = len(os.fsencode(name)) - LONGEST_NAME
    if over <= 0:
        return name
    digest, rest = name[:65], name[65:]
    while len(os.fsencode(digest + rest)) > LONGEST_NAME:
        rest = rest[1:]
    return digest + rest
