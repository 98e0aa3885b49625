"""Great Expectations as this project asks it: its SQL engine inside a DuckDB database of ours."""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

_made: ContextVar[dict[int, tuple[Any, Any]] | None] = ContextVar("_made", default=None)
"""While a batch is validated: by its id, an expectation (so that the id stays its own) and its configuration."""


@lru_cache(maxsize=1)
def gx() -> Any:
    """The library, without a word to anybody."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # it is read once, when GX is imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations
    _remember_configurations(great_expectations.expectations.Expectation)
    _pass_plain_values(great_expectations.core.id_dict)
    return great_expectations


def _remember_configurations(kind: Any) -> None:
    """GX 1.24 makes an expectation's configuration anew 1,500 times in one validation, a third of its work."""
    make = kind.configuration.fget

    def configuration(self: Any) -> Any:
        kept = _made.get()
        if kept is None:
            return make(self)
        if id(self) not in kept:
            kept[id(self)] = self, make(self)
        return kept[id(self)][1]

    kind.configuration = property(configuration)


def _pass_plain_values(ids: Any) -> None:
    """GX 1.24 asks of each value of a metric's id a dozen questions before it finds that None, mostly, is JSON."""
    convert = ids.convert_to_json_serializable

    def serializable(data: dict[Any, Any]) -> dict[str, Any]:
        plain = (type(None), str, int, bool)
        return {str(key): value if type(value) in plain else convert(value) for key, value in data.items()}

    ids.convert_to_json_serializable = serializable


@contextmanager
def batch_of(url: str, config: Mapping[str, Any], table: str) -> Iterator[Any]:
    """A whole table of a DuckDB database as a batch that can be validated.

    `config` is the one with which this process has the database open.
    """
    from sqlalchemy.pool import StaticPool

    context = gx().get_context(mode="ephemeral")
    # It would write all of its settings as YAML, into memory, with each source, asset and batch.
    context._save_project_config = lambda: None
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    opened = {"poolclass": StaticPool, "connect_args": {"config": dict(config)}}
    source = context.data_sources.add_sql("duckdb", connection_string=url, kwargs=opened)
    with _kept(source), _remembered():
        asset = source.add_table_asset(table, table_name=table)
        yield asset.add_batch_definition_whole_table("all").get_batch()


@contextmanager
def _remembered() -> Iterator[None]:
    """Within, an expectation's configuration is made once: nobody changes expectations meanwhile."""
    before = _made.set({})
    try:
        yield
    finally:
        _made.reset(before)


@contextmanager
def _kept(source: Any) -> Iterator[None]:
    """One connection for all of GX's queries: it closes them before it fetches, which DuckDB does not survive."""
    execution = source.get_execution_engine()
    with execution.engine.connect() as connection:
        connection.exec_driver_sql("SET TimeZone = 'UTC'")

        @contextmanager
        def kept() -> Iterator[Any]:
            yield connection

        execution.get_connection = kept
        yield
