"""What a deployment consists of: the one list of its places, and what each is to a backup."""

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from pipelines import places
from pipelines.contracts import EvergreenError
from pipelines.places import RESTORING
from pipelines.settings import Settings
from pipelines.stores.databases import is_sqlite

MADE_AGAIN = frozenset({"locks", "staging", "tmp", "logs", "models", "services.json", ".doctor", RESTORING})
"""Entries of home worth nothing elsewhere: who holds what, what is spilled, logs, copies of registered files."""
SECRET = frozenset({"keys", "secrets"})
"""Left out when a backup is to hold no keys."""
MOVING = frozenset(
    {"archive", "refused", "reports", "scoring", "serving", "site", "evidently", "proofs", "alerts.jsonl"}
)
"""Entries of home that may be of a moment later than the rest: they only grow, or are written anew each time."""
AT_ONCE = frozenset({"audit", "feast"})
"""Small ones that change with every decision: they are copied within the moment."""
ASIDE = ".evergreen"
"""Where ingestion sets a landed file aside while it puts it away; for a backup that file has landed."""


@dataclass(frozen=True)
class File:
    """A file to copy: where it lies, and the name by which the backup knows it; `still` if it is of the moment."""

    path: Path
    name: str
    still: bool

    @property
    def part(self) -> str:
        """The entry of home, or the place elsewhere, to which it belongs."""
        root, _, rest = self.name.partition("/")
        return rest.split("/")[0] if root == "home" else root

    @property
    def at_once(self) -> bool:
        return self.part in AT_ONCE


def roots(settings: Settings) -> dict[str, Path]:
    """The folders in which state lies, by the name that begins the names of their files in a backup.

    EvergreenError, with the remedy, if one of them lies at an address.
    """
    return {
        "lake": _folder("EVERGREEN_LAKE", settings.lake_uri),
        "artifacts": _folder("EVERGREEN_ARTIFACT_ROOT", settings.mlflow_artifacts),
        "keys": settings.keys_path,
        "landing": settings.landing_path,
        "home": settings.home,
    }


def urls(settings: Settings) -> dict[str, str]:
    """The databases that settings name, by name; MLflow's must be one, not the server before it."""
    if not settings.mlflow_uri.startswith(("sqlite:", "postgresql")):
        raise EvergreenError(
            "MLflow's records lie behind a server, which gives no copy of them; run this where"
            " EVERGREEN_TRACKING_URI is the URL of that server's database and EVERGREEN_ARTIFACT_ROOT the folder of"
            " its artifacts"
        )
    found = {"ledger": settings.database, "tracking": settings.mlflow_uri}
    return {"ledger": found["ledger"]} if _same(*found.values()) else found


def sqlite_file(url: str) -> Path | None:
    """The file of a SQLite database; None for a database on a server."""
    made = sa.make_url(url)
    return Path(str(made.database)) if made.get_backend_name() == "sqlite" else None


def files(settings: Settings, keys: bool) -> Iterator[File]:
    """Every file of home, `keys` and MLflow that is no database; those of the lake and that landed are listed apart."""
    own = roots(settings)
    apart = {own[name] for name in ("lake", "landing", "artifacts", "keys")}
    named = {sqlite_file(url) for url in urls(settings).values()}
    shared = {file.name: file for file in _shared(settings, apart)}
    yield from shared.values()
    for path in walked(settings.home, apart, MADE_AGAIN):
        if path not in named and not is_sqlite(path):
            file = _file("home", path, settings.home)
            if file.name not in shared and (keys or file.part not in SECRET):
                yield file
    for name in ("artifacts", *(["keys"] if keys else [])):
        yield from (_file(name, path, own[name]) for path in walked(own[name]))


def _shared(settings: Settings, apart: Collection[Path]) -> Iterator[File]:
    """What machines share, under the names that it has at home: there another machine's copy may be older."""
    if settings.storage is not None:
        storage = _folder("EVERGREEN_STORAGE", settings.storage)
        yield from (_file("home", path, storage) for path in walked(storage, apart, MADE_AGAIN))


def other_databases(settings: Settings) -> Iterator[File]:
    """Every SQLite file below home that settings do not name: the online store, studies, Airflow's own."""
    own, named = roots(settings), {sqlite_file(url) for url in urls(settings).values()}
    for path in walked(settings.home, {each for name, each in own.items() if name != "home"}, MADE_AGAIN):
        if path not in named and path.suffix == ".db" and is_sqlite(path):
            yield _file("home", path, settings.home)


def landed(settings: Settings) -> Iterator[File]:
    """Every file that has landed and is not put away, also those that somebody has set aside to do so."""
    landing, seen = settings.landing_path, set()
    for path in walked(landing):
        within = path.relative_to(landing)
        name = str(Path(*within.parts[2:]) if within.parts[0] == ASIDE else within)
        while name in seen:
            name = f"{Path(name).stem}.again{Path(name).suffix}"
        seen.add(name)
        yield File(path, f"landing/{name}", still=False)


def walked(folder: Path, apart: Collection[Path] = (), passed: Collection[str] = ()) -> Iterator[Path]:
    """Every regular file below a folder, by name; no link is followed, what is `apart` or `passed` is left out."""
    for where, folders, names in os.walk(folder):
        here, top = Path(where), Path(where) == folder
        folders[:] = sorted(f for f in folders if here / f not in apart and not (top and f in passed))
        for name in sorted(names):
            if not (top and name in passed) and _regular(here / name):
                yield here / name


def _folder(setting: str, address: str) -> Path:
    found = places.local(address)
    if found is None:
        raise EvergreenError(
            f"{setting} lies at {address.split('://')[0]}://, which a backup does not copy: turn on that store's own"
            " versioning and replication, and keep the rest by a backup of the database and of the keys"
        )
    return found


def _file(root: str, path: Path, folder: Path) -> File:
    name = f"{root}/{path.relative_to(folder).as_posix()}"
    return File(path, name, still=File(path, name, still=True).part not in MOVING)


def _same(one: str, other: str) -> bool:
    a, b = sa.make_url(one), sa.make_url(other)
    return (a.host, a.port, a.database) == (b.host, b.port, b.database)


def _regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False
