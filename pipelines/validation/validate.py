"""Great Expectations judges a batch: rows that break a row rule, and faults that stop the whole batch."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.catalog import DatasetSpec
from pipelines.contracts import EvergreenError
from pipelines.reading.records import Unsettled
from pipelines.reading.staging import BAD, LANDED, Staging
from pipelines.stores import Stores
from pipelines.validation import reports
from pipelines.validation.expectations import batch_of, gx
from pipelines.validation.history import Bounds, parameters
from pipelines.validation.reports import Validation

PARAMETER = re.compile(r"'\$PARAMETER': '([^']+)'")
_FORMAT = {"unexpected_index_column_names": ["_line"], "return_unexpected_index_query": True}
SUMMARY = {**_FORMAT, "result_format": "SUMMARY", "partial_unexpected_count": 20}
COMPLETE = {**_FORMAT, "result_format": "COMPLETE"}


def validate(spec: DatasetSpec, staged: Staging, stores: Stores, digest: str = "by-hand") -> Validation:
    """Runs the dataset's suite over the staged rows and writes the report named by `digest`.

    An expectation about rows moves those that fail it to the bad ones; one about the whole blocks the batch;
    one with meta {"level": "warn"} only warns. An expectation that cannot be computed is an error. Memory and
    time do not depend on how many rows fail.
    """
    suite = load_suite(spec, stores.settings.expectations)
    if staged.count(LANDED) == 0:
        nothing = Validation(warnings=("volume: the file holds no rows",))
        return replace(nothing, report=reports.write(spec, stores, digest, [], nothing))
    bounds = parameters(spec, staged, stores)
    results = _run(_answerable(suite, bounds), staged, bounds)
    failing = _set_rows_aside(results, staged)
    if failing and staged.count(LANDED):
        results = _asked_again(results, staged, bounds)
    validation = _judge(results, failing)
    return replace(validation, report=reports.write(spec, stores, digest, results, validation))


def load_suite(spec: DatasetSpec, folder: Path) -> Any:
    """The dataset's Great Expectations suite; an EvergreenError if it is missing or any part is invalid."""
    library = gx()
    path = folder / f"{spec.name}.json"
    if not path.is_file():
        raise EvergreenError(f"dataset {spec.name!r} has no expectations; write them to {path}")
    try:
        text = json.loads(path.read_text())
        suite = library.ExpectationSuite(
            name=text["name"], expectations=text["expectations"], meta=text.get("meta")
        )
    except (ValueError, KeyError, TypeError, library.exceptions.GreatExpectationsError) as error:
        raise EvergreenError(f"{path}: not a Great Expectations suite: {error}; mend it") from error
    # GX leaves out, with no more than a log line, what it does not understand.
    if len(suite.expectations) != len(text["expectations"]) or not suite.expectations:
        raise EvergreenError(f"{path}: Great Expectations could not read every expectation; mend it")
    return suite


def _run(suite: Any, staged: Staging, bounds: Bounds) -> list[dict[str, Any]]:
    """Each expectation's result as plain JSON, computed by GX's SQL engine inside the staging database."""
    with batch_of(staged.url, staged.config, LANDED) as batch:
        outcome = batch.validate(suite, result_format=SUMMARY, expectation_parameters=bounds)
        results = [result.to_json_dict() for result in outcome.results]
        for result in results:
            if _fails_rows(result) and not _has_plain_query(result):
                found = batch.validate(_suite_of([result]), result_format=COMPLETE)
                result["result"] |= found.results[0].to_json_dict()["result"]
    return results


def _suite_of(results: list[dict[str, Any]]) -> Any:
    """The expectations behind some results, their bounds filled in."""
    configs = [result["expectation_config"] for result in results]
    return gx().ExpectationSuite(
        name="again",
        expectations=[
            {
                "type": config["type"],
                "kwargs": {k: v for k, v in config["kwargs"].items() if k != "batch_id"},
                "meta": config.get("meta"),
            }
            for config in configs
        ],
    )


def _asked_again(results: list[dict[str, Any]], staged: Staging, bounds: Bounds) -> list[dict[str, Any]]:
    """Expectations about the whole that failed, judged on the rows that are left: one wild row is no reason."""
    failed = [r for r in results if not r["success"] and not _fails_rows(r)]
    if not failed:
        return results
    again = iter(_run(_suite_of(failed), staged, bounds))
    found = {_name(r): r for r in again}
    return [found.get(_name(r), r) if r in failed else r for r in results]


def _name(result: dict[str, Any]) -> str:
    config = result["expectation_config"]
    return json.dumps([config["type"], config["kwargs"], config.get("meta")], sort_keys=True, default=str)


def _answerable(suite: Any, bounds: Bounds) -> Any:
    """The suite without the expectations whose bounds come from a history that is still too short."""
    wanted = [
        e for e in suite.expectations if set(PARAMETER.findall(str(e.configuration.kwargs))) <= set(bounds)
    ]
    return gx().ExpectationSuite(name=suite.name, expectations=wanted)


def _set_rows_aside(results: list[dict[str, Any]], staged: Staging) -> int:
    """Moves the rows that fail an expectation about rows to the bad ones; how many they are."""
    before = staged.count(BAD)
    for result in results:
        _refuse_unknown(result)
        if _fails_rows(result):
            _set_aside(result, staged)
    staged.drop_from_play()
    return staged.count(BAD) - before


def _judge(results: list[dict[str, Any]], failing: int) -> Validation:
    """Gathers what blocks and what warns."""
    failed = [result for result in results if not result["success"]]
    warned = [reports.say(result) for result in failed if reports.level(result) == "warn"]
    blocked = [reports.say(r) for r in failed if reports.level(r) != "warn" and not _fails_rows(r)]
    return Validation(failing, "; ".join(blocked) or None, tuple(warned))


def _fails_rows(result: dict[str, Any]) -> bool:
    """Whether the expectation is about single rows and some fail it; `mostly` makes it one about the whole."""
    about_rows = (
        "unexpected_count" in result["result"] and "mostly" not in result["expectation_config"]["kwargs"]
    )
    return about_rows and not result["success"] and reports.level(result) != "warn"


def _has_plain_query(result: dict[str, Any]) -> bool:
    """Whether GX's own query for the failing rows is one that DuckDB can answer as it stands."""
    query = result["result"].get("unexpected_index_query") or ""
    return query.count("FROM ") == 1 and "$" not in query


def _set_aside(result: dict[str, Any], staged: Staging) -> None:
    """Adds the failing rows to the bad ones, each with the first rule it broke."""
    if _has_plain_query(result):
        query = result["result"]["unexpected_index_query"].strip().rstrip(";")
        columns = [name for name in reports.columns(result) if name in staged.spec.columns]
        shown = " || ', ' || ".join(
            [f"""'{n} = ' || coalesce("{n}"::VARCHAR, 'None')[:80]""" for n in columns] or ["''"]
        )
        failing = f"SELECT _line AS line, {shown} AS shown FROM ({query})"
    else:
        rows = [(int(row["_line"]), _shown(row)) for row in result["result"]["unexpected_index_list"]]
        staged.insert("failing", pa.table({"line": [r[0] for r in rows], "shown": [r[1] for r in rows]}))
        failing = "SELECT line, shown FROM failing"
    staged.connection.execute(
        f"INSERT INTO {BAD} SELECT line, $rule, shown || $note, NULL FROM ({failing})"
        f" WHERE line NOT IN (SELECT line FROM {BAD})",
        {"rule": reports.rule(result), "note": f": {reports.note(result)}" if reports.note(result) else ""},
    )
    staged.execute("DROP TABLE IF EXISTS failing")


def _shown(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {str(value)[:80]}" for name, value in row.items() if name != "_line")


def _refuse_unknown(result: dict[str, Any]) -> None:
    """A broken computation is no verdict on the data."""
    info = result["exception_info"]
    if info.get("raised_exception") is False:
        return
    found = info if "exception_message" in info else next(iter(info.values()), {})
    message = str(found.get("exception_message", "")).splitlines()
    raise Unsettled(
        f"{reports.rule(result)} could not be computed: {message[0] if message else 'no reason given'};"
        " mend the suite, or run again if the machine was short of something"
    )
