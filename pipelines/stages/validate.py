"""Great Expectations judges a batch: rows that break a row rule, and faults that stop the whole batch."""

import html
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa

from pipelines.catalog import DatasetSpec
from pipelines.contracts import EvergreenError
from pipelines.stores import Stores

SHOWN = 20
"""How many failing values of one expectation a report lists."""


@dataclass(frozen=True)
class Validation:
    """What a suite said: failing rows as line -> (rule, reason), and why the batch is blocked, if it is."""

    rows: dict[int, tuple[str, str]] = field(default_factory=dict)
    blocked: str | None = None
    warnings: tuple[str, ...] = ()
    report: str | None = None


def validate(spec: DatasetSpec, table: pa.Table, stores: Stores, digest: str = "by-hand") -> Validation:
    """Runs the dataset's suite over typed rows (with `_line`) and writes the report named by `digest`.

    An expectation about rows sends those that fail it away; one about the whole blocks the batch; one
    with meta {"level": "warn"} only warns. An expectation that cannot be computed is an error.
    """
    suite = load_suite(spec, stores.settings.expectations)
    if table.num_rows == 0:
        return Validation(report=_write(spec, stores, digest, [], Validation()))
    results = _run(suite, table, stores.settings.threads)
    validation = _judge(results)
    report = _write(spec, stores, digest, results, validation)
    return Validation(validation.rows, validation.blocked, validation.warnings, report)


def load_suite(spec: DatasetSpec, folder: Path) -> Any:
    """The dataset's Great Expectations suite; an EvergreenError if it is missing or any part is invalid."""
    gx = _gx()
    path = folder / f"{spec.name}.json"
    if not path.is_file():
        raise EvergreenError(f"dataset {spec.name!r} has no expectations; write them to {path}")
    try:
        text = json.loads(path.read_text())
        suite = gx.ExpectationSuite(
            name=text["name"], expectations=text["expectations"], meta=text.get("meta")
        )
    except (ValueError, KeyError, TypeError, gx.exceptions.GreatExpectationsError) as error:
        raise EvergreenError(f"{path}: not a Great Expectations suite: {error}; mend it") from error
    # GX leaves out, with no more than a log line, what it does not understand.
    if len(suite.expectations) != len(text["expectations"]) or not suite.expectations:
        raise EvergreenError(f"{path}: Great Expectations could not read every expectation; mend it")
    return suite


def report_path(spec: DatasetSpec, stores: Stores, digest: str) -> str | None:
    """Where a batch's report lies; None if it never got so far as to be validated."""
    path = _folder(spec, stores) / f"{digest}.html"
    return str(path) if path.exists() else None


def _folder(spec: DatasetSpec, stores: Stores) -> Path:
    return stores.settings.home / "reports" / "validation" / spec.name


def _gx() -> Any:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # it is read once, when GX is imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations
    return great_expectations


def _run(suite: Any, table: pa.Table, threads: int) -> list[dict[str, Any]]:
    """Each expectation's result as plain JSON, computed by GX's SQL engine inside DuckDB."""
    from sqlalchemy.pool import StaticPool

    context = _gx().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_sql(
        "duckdb",
        connection_string=f"duckdb:///:memory:{uuid4().hex}",
        kwargs={"poolclass": StaticPool, "connect_args": {"config": {"threads": threads}}},
    )
    with _loaded(source, table):
        batch = source.add_table_asset("landed", table_name="landed").add_batch_definition_whole_table("all")
        outcome = batch.get_batch().validate(
            suite,
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": ["_line"],
                "return_unexpected_index_query": False,
            },
        )
    return [result.to_json_dict() for result in outcome.results]


@contextmanager
def _loaded(source: Any, table: pa.Table) -> Iterator[None]:
    """The rows as table `landed` in both of GX's connections to one in-memory database."""
    execution = source.get_execution_engine()
    with source.get_engine().connect() as first, execution.engine.connect() as second:
        for connection in (first, second):
            connection.exec_driver_sql("SET TimeZone = 'UTC'")
        duck = first.connection.driver_connection
        duck.register("arrow", table)
        duck.execute("CREATE TABLE landed AS FROM arrow")
        duck.unregister("arrow")
        first.commit()

        @contextmanager
        def kept() -> Iterator[Any]:
            # GX closes a connection before it fetches, which DuckDB does not survive.
            yield second

        execution.get_connection = kept
        yield


def _judge(results: list[dict[str, Any]]) -> Validation:
    rows: dict[int, tuple[str, str]] = {}
    blocked, warned = [], []
    for result in results:
        _refuse_unknown(result)
        if result["success"]:
            continue
        failing = result["result"].get("unexpected_index_list")
        if result["expectation_config"].get("meta", {}).get("level") == "warn":
            warned.append(_say(result))
        elif failing and "mostly" not in result["expectation_config"]["kwargs"]:
            for row in failing:
                rows.setdefault(int(row["_line"]), (_rule(result), _explain(result, row)))
        else:
            blocked.append(_say(result))
    return Validation(rows, "; ".join(blocked) or None, tuple(warned))


def _refuse_unknown(result: dict[str, Any]) -> None:
    """A broken computation is no verdict on the data."""
    info = result["exception_info"]
    if info.get("raised_exception") is False:
        return
    found = info if "exception_message" in info else next(iter(info.values()), {})
    message = str(found.get("exception_message", "")).splitlines()
    raise EvergreenError(
        f"{_rule(result)} could not be computed: {message[0] if message else 'no reason given'};"
        " mend the suite, or run again if the machine was short of something"
    )


def _rule(result: dict[str, Any]) -> str:
    config = result["expectation_config"]
    kwargs = config["kwargs"]
    columns = (
        kwargs.get("column")
        or kwargs.get("column_list")
        or [kwargs[key] for key in ("column_A", "column_B") if key in kwargs]
    )
    about = columns if isinstance(columns, str) else ", ".join(columns)
    return f"{config['type']}({about})"


def _explain(result: dict[str, Any], row: dict[str, Any]) -> str:
    note = result["expectation_config"].get("meta", {}).get("rule", "")
    values = ", ".join(f"{name} = {str(value)[:80]}" for name, value in row.items() if name != "_line")
    return f"{values}: {note}" if note else values


def _say(result: dict[str, Any]) -> str:
    found = result["result"]
    seen = found.get("observed_value", f"{found.get('unexpected_count')} failing rows")
    note = result["expectation_config"].get("meta", {}).get("rule", "")
    return f"{_rule(result)} saw {seen}" + (f": {note}" if note else "")


def _write(
    spec: DatasetSpec, stores: Stores, digest: str, results: list[dict[str, Any]], validation: Validation
) -> str:
    """The report as JSON and as a page without outside links; the page's path."""
    folder = _folder(spec, stores)
    folder.mkdir(parents=True, exist_ok=True)
    short = [{**result, "result": _shortened(result["result"])} for result in results]
    summary = {
        "dataset": spec.name,
        "batch": digest,
        "blocked": validation.blocked,
        "warnings": list(validation.warnings),
        "failing_rows": len(validation.rows),
        "expectations": short,
    }
    _put(folder / f"{digest}.json", json.dumps(summary, indent=2))
    _put(folder / f"{digest}.html", _page(spec, digest, short, validation))
    return str(folder / f"{digest}.html")


def _shortened(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value[:SHOWN] if isinstance(value, list) else value for key, value in result.items()}


def _put(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{uuid4().hex}")
    beside.write_text(text)
    beside.replace(path)


def _page(spec: DatasetSpec, digest: str, results: list[dict[str, Any]], validation: Validation) -> str:
    verdict = f"Blocked: {validation.blocked}" if validation.blocked else "Passed"
    lines = "".join(_row(result) for result in results)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{spec.name}: validation</title>"
        "<style>body{font:15px sans-serif;margin:2em}td,th{padding:.3em .8em;text-align:left;"
        "border-bottom:1px solid #ccc}.no{background:#fdd}.warn{background:#ffd}</style>"
        f"<h1>{spec.name}</h1><p>Batch <code>{html.escape(digest)}</code></p>"
        f"<p><b>{html.escape(verdict)}</b>; {len(validation.rows)} rows to quarantine</p>"
        f"<table><tr><th>Expectation<th>Why<th>Result<th>Seen</tr>{lines}</table></html>"
    )


def _row(result: dict[str, Any]) -> str:
    meta, found = result["expectation_config"].get("meta", {}), result["result"]
    warn = meta.get("level") == "warn"
    word = "passed" if result["success"] else "warning" if warn else "failed"
    kind = {"passed": "yes", "warning": "warn", "failed": "no"}[word]
    seen = found.get("observed_value")
    if seen is None:
        examples = ", ".join(str(value)[:40] for value in found.get("partial_unexpected_list", [])[:5])
        seen = f"{found.get('unexpected_count', 0)} of {found.get('element_count', '?')} {examples}"
    cells = (_rule(result), meta.get("rule", ""), word, str(seen))
    return f"<tr class={kind}>" + "".join(f"<td>{html.escape(cell)}" for cell in cells) + "</tr>"
