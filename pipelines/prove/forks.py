"""Writers forked from a process that has imported everything: 25 ms each, where a fresh one takes 8 s."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from pipelines.contracts import TransientError
from pipelines.places import sqlite_url
from pipelines.settings import Settings
from pipelines.stores import Stores

TRANSIENT = 3
"""The exit code of a writer that asks to be run again."""
HEAVY = (
    "pipelines.prove.imported",
    "duckdb_sqlalchemy",
    "deltalake",
    "pipelines.ingestion.ingest",
    "pipelines.stores.ledger",
)
LEAKS = "ignore:resource_tracker:UserWarning"
"""A killed process leaks its semaphores: the point of it all, and no news."""
CONTEXT = get_context("forkserver")


@dataclass(frozen=True)
class Home:
    """One deployment's folder and where its files land, deaf to settings from outside."""

    folder: Path
    landing: Path
    storage: str | None = None
    machine: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def stores(self) -> Stores:
        """With a storage, those of one machine: its home is its own, database and storage are shared."""
        at = self.folder / self.machine
        given: dict[str, Any] = (
            {"lake": str(at / "lake")} if self.storage is None else {"storage": self.storage}
        )
        given |= {"home": at, "landing": self.landing, "keys": self.folder / "keys"}
        database = SecretStr(sqlite_url(self.folder / "evergreen.db"))
        return Stores(Settings(_env_file=None, database_url=database, **given))

    def machines(self, names: Iterable[str]) -> "list[Home]":
        """The same deployment on several machines."""
        return [replace(self, machine=name) for name in names]


Work = Callable[[Home], object]
"""One run of what is held against the promise; it must be importable by name."""


def ingest_all(home: Home) -> list[tuple[str, str]]:
    """Takes in every file that has landed, as a task would; (digest, state) of each."""
    from pipelines.catalog import datasets
    from pipelines.ingestion.ingest import ingest_dataset

    stores = home.stores
    results = [result for spec in datasets().values() for result in ingest_dataset(spec, stores)]
    return [(result.digest, result.state.value) for result in results]


def start(target: Callable[..., object], *arguments: Any) -> ForkServerProcess:
    """A new process that runs the function; it dies with this one."""
    # Great Expectations reads it once, when it is imported.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    if LEAKS not in sys.warnoptions:
        sys.warnoptions.append(LEAKS)
    ours = [name for name in sys.modules if name.startswith("pipelines.")]
    CONTEXT.set_forkserver_preload([*HEAVY, *ours])
    process = CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def write(work: Work, home: Home) -> None:
    """The life of one writer; its exit code says whether running again may help."""
    os.environ.update(home.environment)  # the server from which it was forked may be older than they are
    quiet(home)
    try:
        work(home)
    except TransientError:
        sys.exit(TRANSIENT)
    except Exception as error:
        with errors(home).open("a") as file:
            file.write(f"{type(error).__name__}: {error}".replace("\n", " ") + "\n")
        sys.exit(1)


def errors(home: Home) -> Path:
    """Where writers note, one a line, the errors that they did not survive."""
    return home.folder.parent / "errors.txt"


def fresh(
    folder: Path,
    landing: Path | None = None,
    storage: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Home:
    """An empty home in a folder of its own; files land beside it unless told otherwise."""
    home = Home(folder / "home", landing or folder / "landing", storage, environment=environment or {})
    home.folder.mkdir(parents=True)
    home.landing.mkdir(parents=True, exist_ok=True)
    return home


def quiet(home: Home) -> None:
    """Keeps what a killed writer says and leaves behind away from the terminal and the temporary folder."""
    import logging
    import tempfile

    logging.disable(logging.CRITICAL)
    folder = home.folder.parent / "temporary"
    folder.mkdir(exist_ok=True)
    tempfile.tempdir = str(folder)
    with (folder / "stderr.txt").open("a") as file:
        os.dup2(file.fileno(), 2)
