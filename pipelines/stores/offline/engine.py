"""DuckDB as the store uses it: bounded memory, spilling to a folder of its own."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import duckdb


@contextmanager
def connection(settings: Any) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in UTC with the configured threads, memory and a spill folder that is removed afterwards."""
    base = Path(settings.temp_directory or gettempdir())
    base.mkdir(parents=True, exist_ok=True)
    # Connections that shared a spill folder would overwrite each other's blocks.
    with TemporaryDirectory(prefix="evergreen-offline-", dir=base) as spill:
        connection = duckdb.connect(
            config={
                "threads": settings.threads,
                "memory_limit": f"{settings.memory_mb}MB",
                "temp_directory": spill,
                "python_enable_replacements": False,
            }
        )
        try:
            connection.execute("set TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in names)
