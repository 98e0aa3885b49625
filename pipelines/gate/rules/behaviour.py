"""Tests of the candidate as a function: what must not matter, what must matter which way, what it must know."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.catalog.gate_spec import Direction, Invariance, Minimum
from pipelines.contracts import Decision, Kind, Rule
from pipelines.gate.case import Case, with_columns

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

STILL = 1e-12
"""A move smaller than this is none."""


def check(case: Case) -> list[Rule]:
    """One rule for each test that the spec declares, tried on a fixed sample of the held-out rows."""
    tests, rows = case.spec.gate.behaviour, _sample(case)
    before = case.answers["candidate"][rows.index]
    invariances = [_invariance(case, test, rows, before) for test in tests.invariances]
    directions = [_direction(case, test, rows, before) for test in tests.directions]
    return [*invariances, *directions, *(_minimum(case, test) for test in tests.minimums)]


def title(name: str) -> str:
    """The name of a test's rule in every record."""
    return f"behaviour: {name}"


def _sample(case: Case) -> "pd.DataFrame":
    return case.held.sample(min(case.spec.gate.behaviour.rows, len(case.held)), random_state=0)


def _invariance(case: Case, test: Invariance, rows: "pd.DataFrame", before: "NDArray[Any]") -> Rule:
    lacking = sorted(set(test.change) - set(map(str, rows.columns)))
    if lacking:
        return _cannot(test.name, f"the rows have no {', '.join(lacking)}; mend spec.yaml")
    changed = with_columns(rows, {name: _as(value, rows[name]) for name, value in test.change.items()})
    differs = (changed[list(test.change)].astype(str) != rows[list(test.change)].astype(str)).any(axis=1)
    if not differs.any():
        return _cannot(test.name, f"all {len(rows):,} rows hold these values already; change something else")
    moved = float(abs(case.said(changed) - before)[differs.to_numpy()].max())
    return Rule(
        title(test.name),
        Decision.PASS if moved <= test.within else Decision.FAIL,
        f"with {_values(test.change)} no answer may move by more than {test.within}; "
        f"one moved by {moved:.6f}, of {int(differs.sum()):,}",
        value=moved,
        bound=test.within,
        kind=Kind.AT_MOST,
        metric="largest move",
        rows=int(differs.sum()),
    )


def _direction(case: Case, test: Direction, rows: "pd.DataFrame", before: "NDArray[Any]") -> Rule:
    lacking = [name for name in test.add if name not in rows or not _is_number(rows[name])]
    if lacking:
        return _cannot(test.name, f"{', '.join(lacking)}: no such column of numbers; mend spec.yaml")
    known = rows[list(test.add)].notna().all(axis=1)
    there = rows[known]
    if there.empty:
        return _cannot(test.name, f"none of {len(rows):,} rows has {', '.join(test.add)}; hold out more")
    more = with_columns(there, {name: there[name].astype("float64") + by for name, by in test.add.items()})
    moves = case.said(more) - before[known.to_numpy()]
    share = _as_expected(_of(case, test, moves), test.expect)
    asked = ", ".join(f"{name} {by:+g}" for name, by in test.add.items())
    return Rule(
        title(test.name),
        Decision.PASS if share >= test.share else Decision.FAIL,
        f"with {asked} answers{_named(test)} go {test.expect.replace('_', ' ')} in {share:.1%} of {len(there):,} rows, "
        f"{test.share:.0%} needed",
        value=share,
        bound=test.share,
        kind=Kind.AT_LEAST,
        metric=f"share that goes {test.expect.replace('_', ' ')}",
        rows=len(there),
    )


def _of(case: Case, test: Direction | Minimum, said: "NDArray[Any]") -> "NDArray[Any]":
    """The numbers a test is about: of several classes those of the one it names."""
    return said if test.of is None else said[:, case.spec.label.classes.index(test.of)]


def _named(test: Direction | Minimum) -> str:
    return "" if test.of is None else f" for {test.of}"


def _as_expected(moves: "NDArray[Any]", expect: str) -> float:
    holds = {
        "up": moves > STILL,
        "down": moves < -STILL,
        "not_down": moves >= -STILL,
        "not_up": moves <= STILL,
    }
    return float(holds[expect].mean())


def _minimum(case: Case, test: Minimum) -> Rule:
    foreign = sorted(set(test.question) - set(map(str, case.held.columns)))
    if foreign:
        return _cannot(test.name, f"the model is not asked for {', '.join(foreign)}; mend spec.yaml")
    said = float(_of(case, test, case.said(_question(case, test.question)))[0])
    low, high = test.at_least, test.at_most
    holds = (low is None or said >= low) and (high is None or said <= high)
    return _bounded(test, said, Decision.PASS if holds else Decision.FAIL)


def _bounded(test: Minimum, said: float, decision: Decision) -> Rule:
    """With one bound the rule's numbers tell the decision; a range is told in words."""
    low, high = test.at_least, test.at_most
    words = [f"{word} {end}" for word, end in (("at least", low), ("at most", high)) if end is not None]
    kind = (
        Kind.FACT if low is not None and high is not None else Kind.AT_MOST if low is None else Kind.AT_LEAST
    )
    return Rule(
        title(test.name),
        decision,
        f"the answer{_named(test)} to {_values(test.question) or 'the examples'} is {said:.4f}, {' and '.join(words)}",
        value=said,
        bound=None if kind is Kind.FACT else low if high is None else high,
        kind=kind,
        metric="answer",
        rows=1,
    )


def _question(case: Case, asked: Mapping[str, Any]) -> "pd.DataFrame":
    """One row as serving would ask it: the spec's examples where nothing is named, features missing."""
    import pandas as pd

    examples = {name: field.example for name, field in {**case.spec.entities, **case.spec.request}.items()}
    given = {**examples, **asked}
    columns = {str(name): _as(given.get(str(name)), case.held[name]) for name in case.held}
    return pd.DataFrame(columns, index=[0])


def _as(value: Any, like: "pd.Series[Any]") -> Any:
    """A value as a column holds it: times with a zone, numbers, and what is missing."""
    import pandas as pd

    if isinstance(like.dtype, pd.DatetimeTZDtype):
        return pd.Timestamp(value).tz_convert("UTC") if value is not None else pd.NaT
    if _is_number(like):
        return float("nan") if value is None else value
    return value


def _is_number(column: "pd.Series[Any]") -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return is_numeric_dtype(column) and not is_bool_dtype(column)


def _values(asked: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in asked.items())


def _cannot(name: str, why: str) -> Rule:
    return Rule(title(name), Decision.INCONCLUSIVE, why)
