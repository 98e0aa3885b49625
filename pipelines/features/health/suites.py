"""The suites of expectations/features/, and what Great Expectations says of computed rows by them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.contracts import EvergreenError, TransientError
from pipelines.features.health.measures import COMPUTED, Loaded
from pipelines.stores.feature_store.health import CRITICAL, Check
from pipelines.validation import reports
from pipelines.validation.expectations import batch_of, gx
from pipelines.validation.history import Bounds
from pipelines.validation.validate import PARAMETER

SUMMARY = {"result_format": "SUMMARY", "partial_unexpected_count": 5}
LONGEST = 300
"""What was observed is kept up to so many characters."""
Expectation = dict[str, Any]


@dataclass(frozen=True)
class Suite:
    """One view's expectations as its file has them; Great Expectations has read each of them."""

    path: Path
    expectations: tuple[Expectation, ...]

    @property
    def named(self) -> set[str]:
        """The parameters that its expectations name."""
        return {name for each in self.expectations for name in PARAMETER.findall(str(each["kwargs"]))}


def load(view: str, version: int, folder: Path) -> Suite | None:
    """The suite of a view: <view>@v<version>.json if there is one, else <view>.json; None if there is neither.

    EvergreenError if the file is no suite or Great Expectations leaves any part of it out.
    """
    path = folder / f"{view}@v{version}.json"
    path = path if path.is_file() else folder / f"{view}.json"
    if not path.is_file():
        return None
    try:
        found = tuple(json.loads(path.read_text())["expectations"])
        read = _suite(list(found)).expectations
    except (ValueError, KeyError, TypeError, gx().exceptions.GreatExpectationsError) as error:
        raise EvergreenError(f"{path}: not a Great Expectations suite: {error}; mend it") from error
    # GX leaves out, with no more than a log line, what it does not understand.
    if len(read) != len(found) or not found:
        raise EvergreenError(f"{path}: Great Expectations could not read every expectation; mend it")
    return Suite(path, found)


def checked(suite: Suite, rows: Loaded, bounds: Bounds) -> tuple[Check, ...]:
    """What each expectation says of the rows, the failed ones first; those whose bounds have no history say nothing.

    One about a column that the rows lack has failed. TransientError if one cannot be computed.
    """
    wanted = [e for e in suite.expectations if set(PARAMETER.findall(str(e["kwargs"]))) <= set(bounds)]
    lacking = [e for e in wanted if set(_columns(e)) - set(rows.schema.names)]
    answerable = [e for e in wanted if e not in lacking]
    found = [_missing(e, rows, suite) for e in lacking]
    found += [_check(result) for result in (_run(answerable, rows, bounds) if answerable else [])]
    return tuple(sorted(found, key=lambda check: (check.passed, check.severity != CRITICAL)))


def _suite(expectations: list[Expectation]) -> Any:
    return gx().ExpectationSuite(name="features", expectations=expectations)


def _run(expectations: list[Expectation], rows: Loaded, bounds: Bounds) -> list[dict[str, Any]]:
    """Each expectation's result as plain JSON, computed by GX's SQL engine inside the rows' database."""
    with batch_of(rows.url, rows.config, COMPUTED) as batch:
        outcome = batch.validate(_suite(expectations), result_format=SUMMARY, expectation_parameters=bounds)
        return [result.to_json_dict() for result in outcome.results]


def _check(result: dict[str, Any]) -> Check:
    _refuse_unknown(result)
    severity = str(result["expectation_config"].get("severity") or CRITICAL)
    feature = ", ".join(reports.columns(result))
    return Check(_rule(result), feature, severity, bool(result["success"]), _observed(result["result"]))


def _missing(expectation: Expectation, rows: Loaded, suite: Suite) -> Check:
    lacking = sorted(set(_columns(expectation)) - set(rows.schema.names))
    seen = f"the rows have no column {', '.join(lacking)}; mend {suite.path.name} or the view's SQL"
    feature = ", ".join(_columns(expectation))
    return Check(_rule({"expectation_config": expectation}), feature, CRITICAL, False, seen[:LONGEST])


def _columns(expectation: Expectation) -> list[str]:
    return reports.columns({"expectation_config": expectation})


def _rule(result: dict[str, Any]) -> str:
    """The suite's own words, then Great Expectations' name."""
    note, kind = reports.note(result), str(result["expectation_config"]["type"])
    return f"{note} ({kind})" if note else kind


def _observed(found: dict[str, Any]) -> str:
    if "observed_value" in found:
        return str(found["observed_value"])[:LONGEST]
    count, of = found.get("unexpected_count", 0), found.get("element_count", "?")
    examples = [str(value)[:40] for value in found.get("partial_unexpected_list", [])]
    told = f"{count} of {of} rows" + (f", such as {', '.join(dict.fromkeys(examples))}" if examples else "")
    return told[:LONGEST]


def _refuse_unknown(result: dict[str, Any]) -> None:
    """A broken computation is no verdict on the rows."""
    info = result["exception_info"]
    if info.get("raised_exception") is False:
        return
    found = info if "exception_message" in info else next(iter(info.values()), {})
    message = str(found.get("exception_message") or "no reason given").splitlines()[0]
    raise TransientError(
        f"{reports.rule(result)} could not be computed: {message}; mend the suite, or run again if the machine"
        " was short of something"
    )
