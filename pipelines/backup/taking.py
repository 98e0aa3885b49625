"""Backs a deployment up while it works: what was backed up before is not copied again, and the manifest comes last."""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from pipelines.backup import lake, manifest
from pipelines.backup.databases import Database, Held
from pipelines.backup.manifest import FORMAT, Entry, Manifest
from pipelines.backup.moment import Moment, Moved, moment
from pipelines.backup.parts import File, landed, roots
from pipelines.backup.vault import BOOK, Vault
from pipelines.contracts import EvergreenError, Say, TransientError
from pipelines.places import is_address, whole
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.audit.keys import SIGNING, VERIFYING
from pipelines.stores.erasures import Erasures

TURNS = 5
EVERY = 2.0
"""Seconds between two words of how far it has come."""
PUT_AWAY = ("home/archive/", "home/refused/")


@dataclass(frozen=True)
class Taken:
    """A backup: `added` is what this one brought to its folder, the rest was there."""

    name: str
    folder: str
    at: datetime
    files: int
    bytes: int
    added: int
    keys: bool
    manifest: str


def backup(stores: Stores, to: Path, say: Say, keys: bool = True) -> Taken:
    """Copies the whole deployment as of one instant into a folder; it counts once its signed manifest is there.

    A run that was cut off is begun again and copies only what is not there yet.
    """
    _fits(stores, to)
    vault = Vault(to.absolute())
    with vault.writing():
        for turn in range(1, TURNS + 1):
            try:
                return _taken(stores, vault, say, keys)
            except (Moved, FileNotFoundError) as moved:
                say(f"{moved} changed before it was copied; another instant is taken ({turn} of {TURNS})")
    raise TransientError("what had to be of one instant kept changing while it was copied; run again")


def _fits(stores: Stores, to: Path) -> None:
    """EvergreenError if a backup cannot lie there, or this deployment cannot sign one."""
    settings = stores.settings
    if is_address(to):
        raise EvergreenError(
            "a backup goes into a folder; copy that to an object store with its own tool, or mount the store"
        )
    inside = [own for own in roots(settings).values() if to.resolve().is_relative_to(own.resolve())]
    if inside:
        raise EvergreenError(f"{to} lies inside {inside[0]}, which is to be backed up; name a folder outside")
    if (settings.keys_path / VERIFYING).exists() and not (settings.keys_path / SIGNING).exists():
        raise EvergreenError(
            f"{settings.keys_path} holds no key that signs; back up where models are trained and promoted"
        )


def _taken(stores: Stores, vault: Vault, say: Say, keys: bool) -> Taken:
    stores.keys.sign(b"")  # the key is there before the files are listed
    with moment(stores, vault, keys) as now:
        say(f"as of {now.at:%Y-%m-%d %H:%M:%S} UTC: {len(now.held)} databases, {len(now.tables)} tables")
        entries = [*now.copied, *(_dumped(*each, vault, say) for each in now.held.items())]
    done = _Done(vault, say, _size(vault))
    entries += done.all(_listed(stores.settings, now))
    now.unchanged()
    unique = tuple(sorted({entry.name: entry for entry in entries}.values(), key=lambda entry: entry.name))
    made = Manifest(
        format=FORMAT, name=f"{now.at:%Y%m%dT%H%M%S.%fZ}", at=now.at, places=_places(stores.settings), keys=keys,
        audit=now.head, tables=now.tables, files=unique,
    )  # fmt: skip
    digest = manifest.write(made, vault, stores.keys)
    added = _size(vault) - done.before
    told = Taken(made.name, str(vault.folder), now.at, len(unique), made.size, added, keys, digest)
    _erasures_beside(stores.settings, vault)
    evidence = {"manifest": digest, "files": told.files, "bytes": told.bytes, "keys": keys}
    stores.audit.append(stores.audit.now(), stores.who, "backup", f"backup:{made.name}", evidence=evidence)
    return told


def _erasures_beside(settings: Settings, vault: Vault) -> None:
    """The newest book of erasures lies beside all backups: a restore of an older one erases them again."""
    book = Erasures(settings).path
    if book.is_file():
        with whole(vault.folder / BOOK) as part:
            shutil.copyfile(book, part)


def _places(settings: Settings) -> dict[str, str]:
    """The addresses that rows of the databases may begin with."""
    return {"home": str(settings.home), "artifacts": settings.mlflow_artifacts}


def _dumped(each: Database, held: Held, vault: Vault, say: Say) -> Entry:
    part = vault.part()
    held.copy(part)
    digest, size = vault.keep(part)
    say(f"{each.name}: {size / 1e6:,.1f} MB")
    name = each.name if "/" in each.name else f"databases/{each.name}"
    return Entry(name=name, sha256=digest, size=size, mode=0o644, kind=each.kind)


def _listed(settings: Settings, now: Moment) -> Iterator[File]:
    """What is to be copied, in an order in which no file that moves meanwhile is missed.

    Landed files go from the landing folder to the archive, and released ones back.
    """
    yield from landed(settings)
    for file in now.files:
        if not file.at_once:
            yield _as_of(file, now)
    yield from lake.files(roots(settings)["lake"], now.tables)
    known = {file.name for file in now.files}
    for folder in PUT_AWAY:
        from_here = _below(settings, folder)
        yield from (_as_of(file, now) for file in from_here if file.name not in known)
    yield from landed(settings)


def _below(settings: Settings, folder: str) -> Iterator[File]:
    from pipelines.backup.parts import walked

    for root in (settings.home, *([Path(settings.storage)] if settings.storage else [])):
        for path in walked(root / folder.removeprefix("home/")):
            yield File(path, f"home/{path.relative_to(root).as_posix()}", still=False)


def _as_of(file: File, now: Moment) -> File:
    """A file that was put away after the instant had landed then, and is to be taken in again."""
    if not file.name.startswith(PUT_AWAY):
        return file
    dataset, _, named = file.name.split("/", 2)[2].partition("/")
    digest, sign, name = named.partition("_")
    if not sign or len(digest) != 64 or (digest, dataset) in now.ended:
        return file
    return File(file.path, f"landing/{name}", still=False)


def _size(vault: Vault) -> int:
    return sum(path.stat().st_size for path in vault.folder.glob("objects/*/*"))


def _free(entry: Entry, entries: Mapping[str, Entry]) -> str:
    """Its name; that of a file that landed under the name of another gets its digest, as two may come one by one."""
    there = entries.get(entry.name)
    if there is None or there.sha256 == entry.sha256 or not entry.name.startswith("landing/"):
        return entry.name
    path = PurePosixPath(entry.name)
    return str(path.with_name(f"{path.stem}.{entry.sha256[:8]}{path.suffix}"))


class _Done:
    """Copies files and says how far it has come."""

    def __init__(self, vault: Vault, say: Say, before: int) -> None:
        self.before = before
        self._vault, self._say = vault, say
        self._began = self._said = time.monotonic()

    def all(self, listed: Iterable[File]) -> list[Entry]:
        entries: dict[str, Entry] = {}
        for file in listed:
            found = None if file.name in entries and file.still else self._one(file)
            if found is not None:
                name = _free(found, entries)
                entries[name] = found.model_copy(update={"name": name})
            self._tell(entries)
        return list(entries.values())

    def _one(self, file: File) -> Entry | None:
        """None if a file is gone that may go: it landed and was put away, or was written anew."""
        try:
            mode = file.path.stat().st_mode & 0o777
            digest, size = self._vault.put(file.path)
        except FileNotFoundError:
            if file.still:
                raise Moved(str(file.path)) from None
            return None
        return Entry(name=file.name, sha256=digest, size=size, mode=mode)

    def _tell(self, entries: dict[str, Entry]) -> None:
        if time.monotonic() - self._said > EVERY:
            self._said = time.monotonic()
            self._say(f"{manifest.total(list(entries.values()))} in {self._said - self._began:,.0f} s")
