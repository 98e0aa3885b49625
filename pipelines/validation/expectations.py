"""Great Expectations as this project asks it: its SQL engine inside a DuckDB database of ours."""

import hashlib
import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def gx() -> Any:
    """The library, without a word to anybody, and without Spark: importing that takes a fifth of the time."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # it is read once, when GX is imported
    with warnings.catch_warnings(), without_spark():
        warnings.simplefilter("ignore")
        import great_expectations
        from great_expectations.core.id_dict import IDDict
        from great_expectations.expectations.expectation import Expectation

    # GX builds an expectation's configuration anew for each key that it looks up: most of its time on a small file.
    Expectation._get_domain_kwargs = _domain_kwargs  # type: ignore[method-assign]
    Expectation._get_success_kwargs = _success_kwargs  # type: ignore[method-assign]
    # It asks of each value what type it has, of None last, to name a metric: fourteen hundred times for one suite.
    if IDDict.to_id is not _to_id:
        _OWN["to_id"] = IDDict.to_id
        IDDict.to_id = _to_id  # type: ignore[method-assign]
    return great_expectations


_OWN: dict[str, Any] = {}
PLAIN = frozenset({str, int, bool, type(None)})
"""Types that JSON has, so that nothing is to be converted."""


def _to_id(kwargs: Any, id_keys: Any = None, id_ignore_keys: Any = None) -> Any:
    """What names a dictionary, to the letter as GX's own method says it."""
    plain = id_keys is None and id_ignore_keys is None and not kwargs._id_ignore_keys
    if plain and len(kwargs) > 1 and PLAIN.issuperset(map(type, kwargs.values())):
        said = json.dumps({str(key): value for key, value in kwargs.items()}, sort_keys=True)
        return hashlib.md5(said.encode(), usedforsecurity=False).hexdigest()
    return _OWN["to_id"](kwargs, id_keys, id_ignore_keys)


def _domain_kwargs(expectation: Any) -> dict[str, Any]:
    """Which rows and columns an expectation is about, as GX's own method says it."""
    return _kwargs(expectation, expectation.domain_keys)


def _success_kwargs(expectation: Any) -> dict[str, Any]:
    """What makes an expectation succeed, and what it is about, as GX's own method says it."""
    return _kwargs(expectation, [*expectation.success_keys, *expectation.domain_keys])


def _kwargs(expectation: Any, keys: Iterable[str]) -> dict[str, Any]:
    given = expectation.configuration.kwargs
    return {key: given[key] if key in given else expectation._get_default_value(key) for key in keys}


@contextmanager
def without_spark() -> Iterator[None]:
    """GX, imported meanwhile, finds no Spark, as if there were none; nothing changes where either was imported."""
    if {"pyspark", "great_expectations"} & sys.modules.keys():
        yield
        return
    sys.modules["pyspark"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["pyspark"]


@contextmanager
def batch_of(url: str, config: Mapping[str, Any], table: str) -> Iterator[Any]:
    """A whole table of a DuckDB database as a batch that can be validated.

    `config` is the one with which this process has the database open.
    """
    from sqlalchemy.pool import StaticPool

    context = gx().get_context(mode="ephemeral")
    context.variables.save = lambda: None  # it is nowhere kept, yet written out as YAML at each change
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    opened = {"poolclass": StaticPool, "connect_args": {"config": dict(config)}}
    source = context.data_sources.add_sql("duckdb", connection_string=url, kwargs=opened)
    with _kept(source):
        asset = source.add_table_asset(table, table_name=table)
        yield asset.add_batch_definition_whole_table("all").get_batch()


@contextmanager
def _kept(source: Any) -> Iterator[None]:
    """One connection for all of GX's queries: it closes them before it fetches, which DuckDB does not survive.

    What it asks of single rows is answered by one scan.
    """
    from pipelines.validation.one_scan import OneScan

    execution = source.get_execution_engine()
    with execution.engine.connect() as connection:
        connection.exec_driver_sql("SET TimeZone = 'UTC'")

        @contextmanager
        def kept() -> Iterator[Any]:
            yield connection

        execution.get_connection = kept
        execution.resolve_metrics = OneScan(execution).resolve_metrics
        yield
