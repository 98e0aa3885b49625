"""Columns that tell the answer by themselves: copies and functions of it, and what is known only afterwards."""

from collections.abc import Sequence
from typing import Any

from pipelines.scaffold.data.answers import Answer
from pipelines.scaffold.data.profile import Facts
from pipelines.scaffold.data.sources import Source

SAMPLE = 200_000
ALONE, STRAIGHT = 0.999, 0.9995
"""An AUC, and a correlation, that no honest column reaches by itself."""
PARTS = 0.99999
"""The share of a number's spread that a sum of other columns explains only if the number was made of them."""
FEW = 0.05
"""A column with more different values than this share of the rows tells them apart, whatever the answer is."""


def leaks(found: Sequence[Facts], answer: Answer, source: Source) -> dict[str, str]:
    """Place -> why the column tells the answer, for those that do."""
    label = answer.number(answer.facts.place)
    source.connection.execute(
        f"create or replace table judged as select *, cast({label} as double) as answer from typed"
        f" where {answer.facts.place} is not null order by hash(rowid) limit {SAMPLE}"
    )
    alone = {each.place: _why(each, answer, source) for each in found if each.distinct > 1}
    told = {place: why for place, why in alone.items() if why}
    if answer.task == "regression":
        numbers = [
            e for e in found if e.kind in ("integer", "float") and e.place not in told and e.distinct > 1
        ]
        told |= _summands(numbers, source)
    return told


def strongest(found: Sequence[Facts], source: Source) -> float:
    """The best AUC that a number among these has by itself; 0.5 if there is none, or no answer is 1."""
    aucs = [
        _auc(each.place, source) for each in found if each.kind in ("integer", "float") and each.distinct > 1
    ]
    return max([0.5, *(max(auc, 1 - auc) for auc in aucs)])


def _why(facts: Facts, answer: Answer, source: Source) -> str:
    place = facts.place
    if _decides(facts, source):
        return "the answer is a function of it: each of its values has one answer"
    if facts.missing and _decides_missing(place, source):
        return "it is filled for one answer and empty for the other, so it is known only afterwards"
    if facts.kind not in ("integer", "float"):
        return ""
    if answer.task == "classification":
        auc = _auc(place, source)
        best = max(auc, 1 - auc)
        return f"alone it tells the answer apart (AUC {best:.4f})" if best >= ALONE else ""
    if answer.task == "multiclass":
        turns = _turns(place, source)
        few = len(answer.classes) - 1 + facts.filled // 1000
        return f"in its order each class follows the one before ({turns} turns)" if turns <= few else ""
    straight = _correlation(place, source)
    return (
        f"it follows the answer without error (correlation {straight:.5f})"
        if abs(straight) >= STRAIGHT
        else ""
    )


def _decides(facts: Facts, source: Source) -> bool:
    """Whether every value has one answer, but for one row in a thousand of the rarer one."""
    if facts.distinct > max(2, facts.rows * FEW):
        return False
    return _left(facts.place, source) <= 0.001


def _decides_missing(place: str, source: Source) -> bool:
    return _left(f"({place} is null)", source) <= 0.001


def _left(value: str, source: Source) -> float:
    """The share of the answer's variance that is left within the groups of a value; 1 where it says nothing."""
    found = source.one(
        f"select sum(n * v) / nullif(max(whole), 0) from (select count(*) as n, coalesce(var_pop(answer), 0) as v,"
        f" (select var_pop(answer) * count(*) from judged where {value} is not null) as whole"
        f" from judged where {value} is not null group by {value})"
    )
    return 1.0 if found is None else float(found)


def _auc(place: str, source: Source) -> float:
    """The chance that a row of answer 1 has the higher value, ties half; 0.5 where one answer is missing."""
    found = source.one(
        "select (sum(r) filter (where answer = 1) - p * (p + 1) / 2) / nullif(p * (count(*) - p), 0) from ("
        f"select answer, rank() over (order by {place}) + (count(*) over (partition by {place}) - 1) / 2 as r,"
        f" sum(answer) over () as p from judged where {place} is not null) group by p"
    )
    return 0.5 if found is None else float(found)


def _turns(place: str, source: Source) -> int:
    """How often the answer changes as the value grows; of one value it counts as many times as it has answers."""
    found = source.one(
        "select coalesce(sum(cast(least <> before as integer) + most - least), 0) from (select min(answer) as least,"
        f" max(answer) as most, lag(max(answer)) over (order by {place}) as before from judged"
        f" where {place} is not null group by {place})"
    )
    return int(found or 0)


def _correlation(place: str, source: Source) -> float:
    """Pearson's or Spearman's, whichever is further from 0."""
    row = source.connection.execute(
        f"select corr({place}, answer), corr(r, s) from (select {place}, answer, rank() over (order by {place}) as r,"
        f" rank() over (order by answer) as s from judged where {place} is not null)"
    ).fetchone() or (None, None)
    return max((float(each) for each in row if each is not None), key=abs, default=0.0)


def _summands(numbers: Sequence[Facts], source: Source) -> dict[str, str]:
    """The columns whose weighted sum is the answer, such as the parts of a total."""
    if len(numbers) < 2:
        return {}
    import numpy as np

    places = ", ".join(f"coalesce(cast({each.place} as double), 0)" for each in numbers)
    rows: Any = source.connection.execute(f"select {places}, answer from judged limit 50000").fetchnumpy()
    table = np.column_stack([np.asarray(values, dtype="float64") for values in rows.values()])
    values, label = table[:, :-1], table[:, -1]
    spread = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)
    if len(label) < 20 * len(numbers) or _explained(scaled, label) < PARTS:
        return {}
    weights = np.abs(np.linalg.lstsq(scaled, label - label.mean(), rcond=None)[0])
    order = np.argsort(-weights)
    needed = next(k for k in range(1, len(numbers) + 1) if _explained(scaled[:, order[:k]], label) >= PARTS)
    chosen = [numbers[int(index)] for index in order[:needed]]
    named = " and ".join(repr(each.header) for each in chosen)
    return {each.place: f"the answer is a sum of {named}" for each in chosen}


def _explained(values: Any, label: Any) -> float:
    import numpy as np

    centred = label - label.mean()
    left = centred - values @ np.linalg.lstsq(values, centred, rcond=None)[0]
    return float(1 - (left**2).sum() / max((centred**2).sum(), 1e-300))
