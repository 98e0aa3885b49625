"""The systems that files come from, played: a module per source, each row with when it could be known.

A dataset names its module in its yaml, `upstream: nycflights13`. The module has a `STORY`, and `tables(connection)`,
which makes a table of each of its datasets under the dataset's name, with the columns of the yaml; times carry a zone.
The same call makes the same rows.
"""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Protocol, cast

from pipelines.catalog import DatasetSpec, ModelSpec, dataset
from pipelines.contracts import EvergreenError

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Story:
    """From when to when there are rows, and up to which day they land at once before days follow one by one."""

    begin: date
    opening: date
    end: date


class Source(Protocol):
    """What a module of this folder has."""

    STORY: Story

    def tables(self, connection: "duckdb.DuckDBPyConnection") -> None: ...


def source(spec: DatasetSpec) -> Source:
    """The module that plays where a dataset's files come from; EvergreenError says how to have one."""
    if spec.upstream is None:
        raise EvergreenError(
            f"nobody plays where the files of {spec.name} come from: land them yourself, or write"
            f" pipelines/upstream/NAME.py and name it, `upstream: NAME` in pipelines/datasets/{spec.name}.yaml"
        )
    name = f"{__name__}.{spec.upstream}"
    try:
        return cast(Source, importlib.import_module(name))
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise EvergreenError(
            f"pipelines/datasets/{spec.name}.yaml: upstream: {spec.upstream} is not there; write"
            f" pipelines/upstream/{spec.upstream}.py, or remove the key"
        ) from None


def story(spec: ModelSpec) -> Story:
    """That of the source which its labels come from."""
    return source(dataset(spec.label.dataset)).STORY


def connect(names: Iterable[str]) -> "duckdb.DuckDBPyConnection":
    """A DuckDB session, its clock in UTC, in which each of these datasets is a table of all its rows."""
    import duckdb

    sources = dict.fromkeys(source(dataset(name)) for name in names)
    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET TimeZone = 'UTC'")
    for each in sources:
        each.tables(connection)
    return connection
