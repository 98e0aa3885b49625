"""The notary asks the questions of the behaviour's tests again, and puts them together in its own way."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.catalog.gate_spec import Direction, Invariance, Minimum
from pipelines.contracts import Decision, Rule
from pipelines.gate.notary.arithmetic import stated

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

Test = Invariance | Direction | Minimum
STILL = 1e-12
"""A move smaller than this is none."""


@dataclass(frozen=True)
class Hearing:
    """What is heard again: the spec, the rules by name, the held-out rows, and what the candidate says of rows."""

    spec: ModelSpec
    rules: Mapping[str, Rule]
    held: "pd.DataFrame"
    said: "Callable[[pd.DataFrame], NDArray[Any]]"
    close: float = 1e-9


def mistakes(hearing: Hearing) -> Iterator[str]:
    """What the record says of the behaviour that the candidate does not do."""
    tests = hearing.spec.gate.behaviour
    rows = hearing.held.sample(min(tests.rows, len(hearing.held)), random_state=0)
    before = hearing.said(rows)
    for invariance in tests.invariances:
        yield from _told(hearing, invariance, invariance.within, _moved(hearing, invariance, rows, before))
    for direction in tests.directions:
        yield from _told(hearing, direction, direction.share, _share(hearing, direction, rows))
    for minimum in tests.minimums:
        yield from _ranged(hearing, minimum)


def _told(hearing: Hearing, test: Test, bound: float | None, found: float) -> Iterator[str]:
    yield from stated(hearing.rules, _rule(test), bound, found, hearing.close)


def _rule(test: Test) -> str:
    return f"behaviour: {test.name}"


def _moved(hearing: Hearing, test: Invariance, rows: "pd.DataFrame", before: "NDArray[Any]") -> float:
    """The largest move of an answer once every row holds the same; NaN where the rows lack a column."""
    if not set(test.change) <= set(rows):
        return math.nan
    same = rows.copy()
    for name, value in test.change.items():
        same[name] = _column(value, rows[name])
    return float(abs(hearing.said(same) - before).max())


def _share(hearing: Hearing, test: Direction, rows: "pd.DataFrame") -> float:
    """In how many rows that have all the columns the answer went the way it should; NaN where none has any."""
    if not set(test.add) <= set(rows.select_dtypes("number")):
        return math.nan
    there = rows.dropna(subset=list(test.add))
    if there.empty:
        return math.nan
    more = there.copy()
    for name, by in test.add.items():
        more[name] = there[name].astype("float64") + by
    moves = _of(hearing, test, hearing.said(more)) - _of(hearing, test, hearing.said(there))
    ups, downs = int((moves > STILL).sum()), int((moves < -STILL).sum())
    asked = {"up": ups, "down": downs, "not_down": len(moves) - downs, "not_up": len(moves) - ups}
    return asked[test.expect] / len(moves)


def _ranged(hearing: Hearing, test: Minimum) -> Iterator[str]:
    """The answer to one question; a range is in no rule's bound, so it is held against the spec here."""
    low, high = test.at_least, test.at_most
    bound = (low if high is None else high) if None in (low, high) else None
    answer = float(_of(hearing, test, hearing.said(_question(hearing, test.question)))[0])
    yield from _told(hearing, test, bound, answer)
    rule = hearing.rules.get(_rule(test))
    outside = (low is not None and answer < low) or (high is not None and answer > high)
    if outside and rule is not None and rule.decision is Decision.PASS:
        yield f"`{rule.name}` passed, the answer is {answer:.6f}"


def _of(hearing: Hearing, test: Direction | Minimum, said: "NDArray[Any]") -> "NDArray[Any]":
    """Of several classes the probabilities of the one that the test names."""
    if test.of is None:
        return said
    (place,) = (at for at, each in enumerate(hearing.spec.label.classes) if each == test.of)
    of_class: NDArray[Any] = said.T[place]
    return of_class


def _question(hearing: Hearing, asked: Mapping[str, Any]) -> "pd.DataFrame":
    """A held-out row in which everything is replaced: by what is asked, the spec's example, or nothing."""
    row = hearing.held.head(1).copy()
    examples = {n: field.example for n, field in (hearing.spec.entities | hearing.spec.request).items()}
    for name in map(str, hearing.held):
        row[name] = _column(asked.get(name, examples.get(name)), row[name])
    return row


def _column(value: Any, like: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column that holds one value in every row, as the given one would."""
    import pandas as pd
    from pandas.api import types

    if isinstance(like.dtype, pd.DatetimeTZDtype):
        return pd.Series(pd.to_datetime(value, utc=True), like.index, dtype=like.dtype)
    if value is None and types.is_numeric_dtype(like) and not types.is_bool_dtype(like):
        return pd.Series(float("nan"), like.index)
    return pd.Series([value] * len(like), like.index, dtype="object" if value is None else None)
