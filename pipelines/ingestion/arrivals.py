"""Which files in the landing folder are ours to take in, and where they go when they have ended."""

import errno
import json
import logging
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

from pipelines.catalog import DatasetSpec, datasets
from pipelines.contracts import Batch, BatchState, EvergreenError, IngestResult, TransientError
from pipelines.ingestion import inbox
from pipelines.ingestion.faults import FAULT, unforeseen
from pipelines.processes import died, identity
from pipelines.reading.records import Refused, digest_of, open_regular
from pipelines.stores import Stores
from pipelines.stores.erasures import Erasures

LOG = logging.getLogger(__name__)
SETTLED = 0.2
"""Seconds without a change after which a file counts as written."""
FORGOTTEN = 3600.0
"""Seconds: putting a file away is a rename, or a copy to another disk."""
ASIDE, UNCLAIMED = ".evergreen", ""
MANIFEST = ".manifest.json"
LONGEST_MANIFEST = 65_536
UNFINISHED = (".tmp", ".part", MANIFEST)
LONGEST_NAME = 255
"""In bytes; what Linux allows."""


def discover(spec: DatasetSpec, stores: Stores) -> list[Batch]:
    """The settled files in the landing folder that are still to be taken in, by name.

    Files whose bytes ended before are put away again; names and kinds that cannot be files of ours are
    noted in the ledger and never opened.
    """
    _bring(spec, stores)
    seen = filter(None, (_see(spec, path, stores) for path in _settled(spec, stores)))
    return list({batch.digest: batch for batch in seen}.values())


def _bring(spec: DatasetSpec, stores: Stores) -> None:
    """What arrived for a dataset on an object store comes to the landing folder; its manifest comes first."""
    there = inbox.names(stores)
    for name in there:
        if (
            name.startswith(".")
            or name.endswith(UNFINISHED)
            or not fnmatchcase(name.lstrip("-"), spec.pattern)
        ):
            continue
        fault = name_fault(name)
        if fault is not None:
            _unopened(spec, name, fault, stores)
            continue
        if spec.manifest and name + MANIFEST in there:
            inbox.bring(name + MANIFEST, stores)
        inbox.bring(name, stores)


def strays(specs: Iterable[DatasetSpec], landing: Path) -> list[str]:
    """Files in the landing folder that no dataset's pattern matches: nobody will ever take them in."""
    known = list(specs)
    names = sorted(os.listdir(landing)) if landing.is_dir() else []
    names = [name for name in names if not name.startswith(".") and not name.endswith(UNFINISHED)]
    return [name for name in names if not any(fnmatchcase(name.lstrip("-"), spec.pattern) for spec in known)]


def passed_over(dataset: str, stores: Stores) -> list[IngestResult]:
    """Directory entries of a dataset that were never opened, and files that no dataset claims, each told once."""
    for name in strays(datasets().values(), stores.settings.landing_path):
        shown = name.encode("utf-8", "backslashreplace").decode()
        stores.ledger.unopened(UNCLAIMED, shown, "no dataset's pattern matches its name")
    found = [*stores.ledger.tell(dataset), *stores.ledger.tell(UNCLAIMED)]
    return [
        IngestResult("", dataset, name, BatchState.REFUSED, reason=f"never opened: {reason}")
        for name, reason in found
    ]


def kept(batch: Batch | IngestResult, stores: Stores) -> Path:
    """Where the bytes of an ended batch lie, brought here if another machine put them away."""
    return stores.files.fetch(_place(batch, stores), fixed=True)


def _place(batch: Batch | IngestResult, stores: Stores) -> Path:
    folder = stores.settings.home / ("archive" if batch.state.taken else "refused") / batch.dataset
    return folder / _short(f"{batch.digest}_{batch.name}")


def put_away(batch: Batch | IngestResult, stores: Stores) -> None:
    """Moves an ended file out of the landing folder, durably; a newer file of the same name stays there."""
    landing = stores.settings.landing_path
    own = landing / ASIDE / f"{identity()}~{uuid4().hex}"
    own.mkdir(parents=True)
    try:
        (landing / batch.name).rename(own / batch.name)
        # An exporter may have replaced the file since it was read: what was moved decides.
        if digest_of(own / batch.name) == batch.digest:
            if Erasures(stores.settings).file(batch.digest) is not None:
                # Kept is what an erasure left of it; those who were erased do not come back with the same bytes.
                (own / batch.name).unlink()
            else:
                _move(own / batch.name, _place(batch, stores))
                stores.files.hand_over(_place(batch, stores))
            _put_manifest_away(batch, stores)
            if batch.state.taken:  # it may have been refused before, and be there on a storage still
                stores.files.remove(_place(replace(batch, state=BatchState.REFUSED), stores))
    except (FileNotFoundError, Refused):  # a folder or link of its name is not the file
        LOG.info("%s: %r is out of the landing folder already", batch.dataset, batch.name)
    finally:
        _give_back(own, landing)
    stores.ledger.archived(batch)
    inbox.archived(batch.name, stores)
    inbox.archived(batch.name + MANIFEST, stores)


def recover(stores: Stores) -> None:
    """Puts back what runs that died had set aside, and removes what they had spilled."""
    from pipelines.reading.staging import leftovers

    landing = stores.settings.landing_path
    for own in (landing / ASIDE).glob("*"):
        if died(own.name.rpartition("~")[0]) or _forgotten(own):
            _give_back(own, landing)
    for spilled in leftovers(stores.settings):
        if died(spilled.name.rpartition("~")[0]):
            shutil.rmtree(spilled, ignore_errors=True)


def _forgotten(own: Path) -> bool:
    """Whether files were set aside so long ago that whoever did it, on whichever machine, is not putting them away."""
    with suppress(FileNotFoundError):
        return time.time() - own.stat().st_mtime > FORGOTTEN
    return False


def _give_back(own: Path, landing: Path) -> None:
    """Files that were set aside and are not archived return to the landing folder; then the aside is gone."""
    for path in own.glob("*"):
        home = landing / path.name
        while home.exists():
            home = landing / _short(f"{path.stem}.{uuid4().hex[:8]}{path.suffix}", len(path.stem))
        path.rename(home)
    with suppress(OSError):
        own.rmdir()
        own.parent.rmdir()


def _move(source: Path, target: Path) -> None:
    """Renames durably, or copies whole where the folders lie on different disks."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sync(source)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = target.with_name(f".{uuid4().hex}")
        shutil.copyfile(source, beside)
        sync(beside)
        beside.rename(target)
        source.unlink()
    sync(target.parent)


def _put_manifest_away(batch: Batch | IngestResult, stores: Stores) -> None:
    manifest = stores.settings.landing_path / f"{batch.name}{MANIFEST}"
    if len(os.fsencode(manifest.name)) > LONGEST_NAME:
        return
    if manifest.is_file() and not manifest.is_symlink():
        place = _place(batch, stores).with_name(_short(f"{batch.digest}_{manifest.name}"))
        _move(manifest, place)
        stores.files.hand_over(place)


def bring_back(batch: Batch | IngestResult, stores: Stores) -> None:
    """Puts a released file into the landing folder again, under its own name."""
    source, target = kept(batch, stores), stores.settings.landing_path / batch.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.exists() and not target.exists():
        _move(source, target)


def sync(path: Path) -> None:
    """Brings a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _see(spec: DatasetSpec, path: Path, stores: Stores) -> Batch | None:
    """The batch in a file, or None if it needs nothing more or cannot be looked at."""
    try:
        return _looked_at(spec, path, stores)
    except Exception as error:
        if not unforeseen(error):
            raise
        LOG.error("%s: a fault of ours with %r", spec.name, path.name, exc_info=error)
        _unopened(spec, path.name, f"{FAULT}: {type(error).__name__}; each run looks at it again", stores)
        return None


def _looked_at(spec: DatasetSpec, path: Path, stores: Stores) -> Batch | None:
    try:
        batch = Batch(digest_of(path), spec.name, path.name, path.stat().st_size)
    except (TransientError, FileNotFoundError) as error:
        LOG.info("%s: %r not looked at now: %s", spec.name, path.name, error)
        return None
    except Refused as error:
        _unopened(spec, path.name, str(error), stores)
        return None
    known = stores.ledger.see(batch)
    if not known.state.ended:
        return batch
    LOG.info("%s: %r came before, as %r", spec.name, path.name, known.name)
    put_away(replace(known, name=path.name), stores)
    return None


def _unopened(spec: DatasetSpec, name: str, reason: str, stores: Stores) -> None:
    shown = name.encode("utf-8", "backslashreplace").decode()
    if stores.ledger.unopened(spec.name, shown, reason):
        LOG.warning("%s: %r refused unopened: %s", spec.name, shown, reason)


def _settled(spec: DatasetSpec, stores: Stores) -> list[Path]:
    """Regular files with a name of this dataset that nobody is writing any more, by name."""
    landing = stores.settings.landing_path
    paths = [
        landing / name
        for name in sorted(_names(spec, stores))
        if not spec.manifest or _manifested(landing / name)
    ]
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


def _manifested(path: Path) -> bool:
    """Whether the file is what its manifest says; until then it is still being delivered."""
    try:
        with open_regular(path.with_name(path.name + MANIFEST)) as file:
            said = json.loads(file.read(LONGEST_MANIFEST))
        return bool(said["size"] == path.lstat().st_size and said.get("sha256") in (None, digest_of(path)))
    except (EvergreenError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _names(spec: DatasetSpec, stores: Stores) -> Iterator[str]:
    landing = stores.settings.landing_path
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
                    _unopened(spec, entry.name, fault, stores)


def name_fault(name: str) -> str | None:
    """Why a name cannot be that of a file of ours; None if it can. Such a file is never opened."""
    if any(0xD800 <= ord(character) <= 0xDFFF for character in name):
        return "its name is not UTF-8"
    plain = unquote(unquote(unquote(name)))
    if not (name.isprintable() and plain.isprintable()) or set("/\\") & set(plain) or plain in (".", ".."):
        return "its name holds control characters or a path"
    if plain != name and ".." in plain:
        return "its name holds an encoded path"
    if name.startswith("-"):
        return "its name begins with a dash"
    if len(os.fsencode(name)) > LONGEST_NAME:
        return f"its name is longer than {LONGEST_NAME} bytes"
    return None


def _fault(entry: os.DirEntry[str]) -> str | None:
    """Why a directory entry must not be opened; None if it may."""
    fault = name_fault(entry.name)
    if fault is not None:
        return fault
    try:
        regular = stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return "it vanished"
    return None if regular else "not a regular file"


def _short(name: str, keep: int = 65) -> str:
    """A name that fits, its end kept because it says what the file is."""
    over = len(os.fsencode(name)) - LONGEST_NAME
    if over <= 0:
        return name
    digest, rest = name[: min(keep, 65)], name[min(keep, 65) :]
    while len(os.fsencode(digest + rest)) > LONGEST_NAME:
        rest = rest[1:]
    return digest + rest
