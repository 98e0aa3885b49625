"""Every place in which rows of a person may lie: the one list of them."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pipelines.catalog import datasets
from pipelines.erasure.databases import Database
from pipelines.erasure.delta import Found, Table
from pipelines.erasure.files import Files
from pipelines.erasure.kept import Kept
from pipelines.erasure.subjects import Sought
from pipelines.places import OBJECT_STORES, local, sqlite_url
from pipelines.stores import Stores
from pipelines.stores.databases import is_sqlite
from pipelines.stores.erasures import Erasures
from pipelines.stores.purging import tables
from pipelines.stores.shared.objects import Objects

LAST = "predictions"
"""Of the lake's layers the last: the answers say which truths belong to whom."""
BOOKS = ("keys", "locks", "audit", "erasures.jsonl")
"""Of home: what holds no row of anybody, and what keeps the deployment's word."""
JOURNALS = ("-wal", "-shm", "-journal")


class Place(Protocol):
    """Where rows may lie: a table, a database, a server, a folder of files."""

    @property
    def name(self) -> str: ...

    def find(self, sought: Sought) -> Found: ...

    def remove(self, sought: Sought, now: datetime, /) -> None: ...


def places(stores: Stores) -> list[Place]:
    """All of them, in the order in which they can be left at any point and gone on with."""
    return [*lake(stores), *databases(stores), *online(stores), *files(stores), *kept(stores)]


def lake(stores: Stores) -> list[Table]:
    """Every Delta table of the lake, whoever made it."""
    root, book = stores.settings.lake_uri, Erasures(stores.settings)
    landed = {name: tuple(spec.columns) for name, spec in datasets().items()}
    names = sorted(tables(root), key=lambda name: (name.startswith(f"{LAST}/"), name))
    return [
        Table(name, stores.tables.uri(*name.split("/", 1)), book, landed.get(name.partition("/")[2], ()))
        for name in names
    ]


def databases(stores: Stores) -> list[Database]:
    """The deployment's own, MLflow's where it is SQL, and each SQLite file under home."""
    found = {stores.settings.database: "database"}
    if "://" in stores.settings.mlflow_uri and not stores.settings.mlflow_uri.startswith(("http", "file")):
        found.setdefault(stores.settings.mlflow_uri, "MLflow")
    for path in sorted(stores.settings.home.rglob("*.db")):
        if path.is_file() and is_sqlite(path):
            found.setdefault(sqlite_url(path), str(path.relative_to(stores.settings.home)))
    there = {url: name for url, name in found.items() if not url.startswith("sqlite") or _exists(url)}
    return [Database(name, url) for url, name in there.items()]


def online(stores: Stores) -> Iterator[Place]:
    """Redis, where it is the online store; SQLite's file is one of the databases."""
    if stores.settings.online_store == "redis":
        from pipelines.erasure.online import Redis

        store = stores.features.store
        client = store._get_provider().online_store._get_client(store.config.online_store)
        yield Redis("online store", client, store.project)


def files(stores: Stores) -> list[Files]:
    """Home, and what is set to lie elsewhere on a disk: landed, archived and refused files, training sets, reports,
    model files, logs."""
    settings, book = stores.settings, Erasures(stores.settings)
    roots = dict.fromkeys([settings.home, settings.landing_path, *_artifacts(stores)])
    apart = {settings.home / name for name in BOOKS} | {settings.keys_path}
    apart |= {folder for folder in [local(settings.lake_uri)] if folder is not None}
    outer = [
        root for root in roots if not any(root != other and root.is_relative_to(other) for other in roots)
    ]
    return [Files(_named(root, settings.home), root, lambda path: path in apart or _is_database(path), book)
            for root in outer]  # fmt: skip


def kept(stores: Stores) -> list[Kept]:
    """The storage that machines share, and MLflow's files where they lie at an address; the lake's tables are apart."""
    settings, book = stores.settings, Erasures(stores.settings)
    found = []
    if settings.storage is not None:
        inside = (
            _below(address, settings.storage) for address in (settings.lake_uri, settings.mlflow_artifacts)
        )
        apart = frozenset(name for name in inside if name)
        found.append(Kept("files in the storage", Objects(settings.storage), book, apart))
    if settings.mlflow_artifacts.partition("://")[0] in OBJECT_STORES:
        found.append(Kept("MLflow's files", Objects(settings.mlflow_artifacts), book))
    return found


def _below(address: str, root: str) -> str:
    """The name of what lies below a root, from there; empty if it lies elsewhere."""
    address = str(local(address) or address)
    return address.removeprefix(f"{root}/") if address.startswith(f"{root}/") else ""


def unseen(stores: Stores) -> list[str]:
    """Places that this command cannot look into, each with what to do there."""
    settings, found = stores.settings, list[str]()
    if settings.mlflow_uri.startswith(("http:", "https:")):
        found.append(
            "MLflow's own database behind its server: run this where its tracking URI is the database"
        )
    scheme = settings.mlflow_artifacts.partition("://")[0]
    if local(settings.mlflow_artifacts) is None and scheme not in OBJECT_STORES:
        found.append(
            f"artifacts at {settings.mlflow_artifacts}: search them for background.parquet and reports"
        )
    if settings.storage is not None:
        found.append(
            "homes of other machines, which may hold copies of what was in the storage: empty decisions, training_sets,"
            " rebuilds and reports there; what is needed is brought again"
        )
    return found


def _artifacts(stores: Stores) -> list[Path]:
    folder = local(stores.settings.mlflow_artifacts)
    return [] if folder is None else [folder]


def _named(root: Path, home: Path) -> str:
    return "files under home" if root == home else f"files under {root.name}"


def _is_database(path: Path) -> bool:
    """A SQLite file, or what lies beside one while it is written."""
    name = path.name
    for end in JOURNALS:
        name = name.removesuffix(end)
    return name.endswith(".db")


def _exists(url: str) -> bool:
    import sqlalchemy as sa

    file = sa.make_url(url).database
    return file is not None and Path(file).exists()
