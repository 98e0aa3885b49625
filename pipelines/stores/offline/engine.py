"""DuckDB as the store uses it: bounded memory, spilling to a folder of its own."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import duckdb

from pipelines.contracts import EvergreenError

LEAST_MB = 16
"""With less DuckDB answers nothing."""


@contextmanager
def connection(settings: Any, shares: int = 1) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in UTC with its share of the threads and memory, and a spill folder that is removed afterwards.

    EvergreenError if neither memory nor the disk below the folder is enough.
    """
    base = Path(settings.temp_directory or gettempdir())
    base.mkdir(parents=True, exist_ok=True)
    # Connections that shared a spill folder would overwrite each other's blocks.
    with TemporaryDirectory(prefix="evergreen-offline-", dir=base) as spill:
        connection = duckdb.connect(
            config={
                "threads": max(1, settings.threads // shares),
                "memory_limit": f"{max(LEAST_MB, settings.memory_mb // shares)}MB",
                "temp_directory": spill,
                "python_enable_replacements": False,
            }
        )
        try:
            # In an interactive session DuckDB draws progress on stdout, which may be somebody's JSON.
            connection.execute("set TimeZone = 'UTC'; set enable_progress_bar = false")
            yield connection
        except duckdb.OutOfMemoryException as error:
            raise EvergreenError(
                f"the question needs more than the {settings.memory_mb} MB it may use and what is free in {base};"
                " raise the offline store's memory_mb, or give a temp_directory with more room"
            ) from error
        finally:
            connection.close()


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in names)
