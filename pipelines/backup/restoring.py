"""Makes a deployment again from a backup, anywhere: all is checked first, and nothing believed before the end.

While it goes on, a file in home says so, and no store of that home opens; a restore that was cut off is run again.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pipelines.backup import manifest
from pipelines.backup.addresses import moved
from pipelines.backup.databases import is_empty, make
from pipelines.backup.manifest import FILES, Entry, Manifest
from pipelines.backup.parts import roots, sqlite_file, urls
from pipelines.backup.vault import BOOK, PARTS, Vault, digest_of
from pipelines.contracts import EvergreenError, Say
from pipelines.places import RESTORING, is_address, whole
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.audit.keys import AUDIT, VERIFYING, Keys
from pipelines.stores.durable import fsync

EVERY = 2.0
PASSED = frozenset({RESTORING, "lost+found", "keys", "locks"})
"""Entries of a home that make it no deployment."""


@dataclass(frozen=True)
class Restored:
    """What was made again; `findings` say what of the record is not whole, `unverified` what could not be checked."""

    name: str
    home: str
    at: datetime
    files: int
    bytes: int
    moved: int
    signed: str
    findings: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)


class Unbelieved(Stores):
    """Stores of a home that is being restored; only the restore itself opens them."""

    def __post_init__(self) -> None:
        """No look for what says that it is."""


def check(source: Path, name: str | None, settings: Settings, say: Say) -> tuple[Vault, Manifest, str]:
    """Reads a whole backup. EvergreenError names what is missing, changed, or not signed by the key that is here."""
    if is_address(source):
        raise EvergreenError("a backup is read from a folder; copy it from the object store into one first")
    if not source.is_dir():
        raise EvergreenError(f"{source} is no folder; name the one that `evergreen backup` wrote")
    vault = Vault(source.absolute())
    found = manifest.read(vault, name)
    signed = manifest.authentic(found, Keys(settings.keys_path), vault)
    said, read = time.monotonic(), 0
    for entry in found.manifest.files:
        vault.sound(entry.name, entry.sha256, entry.size)
        read += entry.size
        if time.monotonic() - said > EVERY:
            said = time.monotonic()
            say(f"{read / 1e6:,.1f} of {found.manifest.size / 1e6:,.1f} MB are sound")
    return vault, found.manifest, signed


def restore(
    source: Path, name: str | None, settings: Settings, who: str, say: Say, erased: Path | None = None
) -> Restored:
    """Makes the deployment again under today's settings, whose places must be empty; what was cut off goes on.

    Whom the deployment has erased since is erased again, by the book beside the backups and the one at `erased`.
    """
    vault, found, signed = check(source, name, settings, say)
    own = roots(settings)
    _is_free(found, settings, own)
    _begun(found, source, settings)
    _files(found.of(FILES), vault, own, say)
    for entry in found.files:
        if entry.kind != FILES:
            _database(entry, vault, settings)
            say(f"{entry.name}: {entry.size / 1e6:,.1f} MB")
    changed = moved(found.places, settings)
    stores = Unbelieved(settings, who)
    _shared(found.of(FILES), stores)
    erased_again(stores, [source / BOOK, *([erased] if erased else [])], found.at, say)
    unverified, findings = _entered(found, stores)
    (settings.home / RESTORING).unlink()
    fsync(settings.home)
    return Restored(
        found.name,
        str(settings.home),
        found.at,
        len(found.files),
        found.size,
        changed,
        signed,
        findings,
        unverified,
    )


def _shared(entries: Iterable[Entry], stores: Stores) -> None:
    """What machines share is in their storage again."""
    from pipelines.stores.shared.files import SHARED

    for entry in entries:
        root, _, rest = entry.name.partition("/")
        if root == "home" and rest.partition("/")[0] in SHARED:
            stores.files.keep(stores.settings.home / rest)


def erased_again(stores: Stores, books: Iterable[Path], since: datetime, say: Say) -> None:
    """Erases once more whom the deployment has erased since the backup, before anybody can ask the restored home."""
    from pipelines.erasure import again

    for book in books:
        if book.is_file() and again(stores, book, since, say) is not None:
            say(f"who was erased by {book} is erased again")


def _is_free(found: Manifest, settings: Settings, own: dict[str, Path]) -> None:
    """EvergreenError unless every place is empty, or an earlier restore of this backup has begun to fill it."""
    begun = _marker(settings)
    if begun is not None:
        if begun["backup"] == found.name:
            return
        raise EvergreenError(
            f"{settings.home} is half restored from backup {begun['backup']} of {begun['from']}: run"
            f" `evergreen restore {begun['from']} --backup {begun['backup']}`, or empty that folder"
        )
    for name, folder in own.items():
        taken = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        if name == "keys":
            _same_keys(found, folder, taken)
        elif wrong := [each for each in taken if each not in PASSED]:
            raise EvergreenError(
                f"{folder} is not empty (it holds {wrong[0]}); set EVERGREEN_HOME to a new folder, or empty this one"
            )
    for entry in found.files:
        _fits(entry, settings)


def _same_keys(found: Manifest, folder: Path, names: list[str]) -> None:
    """EvergreenError if a key of another deployment lies where those of the backup go."""
    for name in names:
        entry = found.named(f"keys/{name}")
        if entry is not None and digest_of(folder / name) != entry.sha256:
            raise EvergreenError(
                f"{folder / name} is another deployment's; move it away, or name another EVERGREEN_KEYS"
            )


def _fits(entry: Entry, settings: Settings) -> None:
    """EvergreenError if a database cannot be made again where settings want it."""
    name = entry.name.removeprefix("databases/")
    url = urls(settings).get(name)
    if entry.kind == FILES or not entry.name.startswith("databases/"):
        return
    if url is None or (sqlite_file(url) is None) != (entry.kind == "postgresql"):
        raise EvergreenError(
            f"the backup holds the database {name} of {entry.kind}; set EVERGREEN_DATABASE_URL and"
            " EVERGREEN_TRACKING_URI to such a one, that is empty (unset, they are SQLite below home)"
        )
    if not is_empty(url):
        raise EvergreenError(f"the database {name} is not empty; name another, or drop its tables")


def _marker(settings: Settings) -> dict[str, str] | None:
    try:
        found: dict[str, str] = json.loads((settings.home / RESTORING).read_text())
    except FileNotFoundError:
        return None
    return found


def _begun(found: Manifest, source: Path, settings: Settings) -> None:
    with whole(settings.home / RESTORING) as part:
        part.write_text(json.dumps({"backup": found.name, "from": str(source.absolute())}))
        fsync(part)
    fsync(settings.home)


def _files(entries: Iterable[Entry], vault: Vault, own: dict[str, Path], say: Say) -> None:
    done, size, said = 0, 0, time.monotonic()
    for entry in entries:
        to = _place(entry, own)
        if not (to.is_file() and to.stat().st_size == entry.size and digest_of(to) == entry.sha256):
            vault.fetch(entry.name, entry.sha256, to, entry.mode)
        done, size = done + 1, size + entry.size
        if time.monotonic() - said > EVERY:
            said = time.monotonic()
            say(f"{done:,} files, {size / 1e6:,.1f} MB")


def _place(entry: Entry, own: dict[str, Path]) -> Path:
    root, _, rest = entry.name.partition("/")
    if root == "keys":
        own[root].mkdir(mode=0o700, parents=True, exist_ok=True)
    return own[root] / rest


def _database(entry: Entry, vault: Vault, settings: Settings) -> None:
    """Makes one database again; one of PostgreSQL that an earlier run made is there whole, and stays."""
    name = entry.name.removeprefix("databases/")
    url = urls(settings).get(name)
    if url is None:
        url = f"sqlite:///{settings.home / entry.name.removeprefix('home/')}"
    if sqlite_file(url) is None and not is_empty(url):
        return
    if sqlite_file(url) is None:
        make(name, entry.kind, url, vault.place(entry.sha256))
        return
    part = settings.home / f".{PARTS}.{entry.sha256}"
    vault.fetch(entry.name, entry.sha256, part, entry.mode)
    make(name, entry.kind, url, part)


def _entered(found: Manifest, stores: Stores) -> tuple[list[str], list[str]]:
    """Enters the restore into the audit log and holds the record against itself; what cannot be, and what is wrong."""
    from pipelines.record.verification import verify

    folder = stores.settings.keys_path
    missing = [name for name in (AUDIT, VERIFYING) if not (folder / name).exists()]
    if missing:
        told = {
            AUDIT: "the audit log: whether its entries are those that were written",
            VERIFYING: "models, verdicts and licences: serving answers with none of them",
        }
        return [
            f"{told[name]}; put {name} into {folder}, then `evergreen audit verify`" for name in missing
        ], []
    now = stores.audit.now()
    evidence = {"at": found.at.isoformat(), "head": found.audit, "files": len(found.files)}
    stores.audit.append(
        now, stores.who, "restore", f"backup:{found.name}", evidence=evidence, once=_once(found)
    )
    return [], [str(finding) for finding in verify(stores, now)]


def _once(found: Manifest) -> str:
    """A restore that was cut off behind its entry says it once."""
    return f"restore:{found.name}"
