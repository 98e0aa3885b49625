"""The Great Expectations suites of a model's data, learned with slack: next month's ordinary rows pass them."""

import math
from typing import Any

from pipelines.scaffold.design import Column, Design

SPREADS = 5
"""How many times the spread that was seen a number may lie beyond it: a wrong unit does not, an odd month does."""
FEW = 50
"""A column with more different values than this is not held to those that were seen."""
Expectation = dict[str, Any]


def of_dataset(design: Design) -> dict[str, Any]:
    """The suite of the rows that land."""
    rules = [rule for column in design.columns for rule in _column(column, design)]
    return _suite(design.name, [*rules, *_volume(design)])


def of_view(view: str, keys: list[str]) -> dict[str, Any]:
    """The suite of a view's computed rows."""
    times = {"event_timestamp": "without it nobody knows when a value held"}
    times["created_timestamp"] = "without it a training row could know the future"
    rules = [_filled(key, "without its key a row can never be found") for key in keys]
    rules += [_filled(name, why) for name, why in times.items()]
    late: dict[str, Any] = {"column": "event_timestamp", "max_value": {"$PARAMETER": "as_of"}}
    rules.append(
        _rule(
            "column_max_to_be_between", "no row speaks of a moment after the one it is computed for", **late
        )
    )
    once: dict[str, Any] = {"column_list": [*keys, "event_timestamp"]}
    rules.append(
        _rule("compound_columns_to_be_unique", "of two rows of a key and moment neither counts", **once)
    )
    return _suite(view, rules)


def _column(column: Column, design: Design) -> list[Expectation]:
    facts, rules = column.facts, []
    classes: list[Any] = [*design.answer.classes] or [design.answer.positive, *design.answer.others]
    told = bool(design.answer.classes) or (facts.kind == "string" and bool(design.answer.others))
    if column.role == "answer" and told:
        count = len(classes) if design.answer.classes else "two"
        why = f"is one of the {count} answers that the model knows"
        rules.append(_rule("column_values_to_be_in_set", why, column=column.name, value_set=classes))
    elif column.kind in ("float", "integer"):
        rules.append(_between(column))
    elif (
        column.kind == "string" and column.role == "asked" and facts.distinct <= min(FEW, len(facts.examples))
    ):
        why = "nine of ten values are ones that were seen before"
        rules.append(_rule("column_values_to_be_in_set", why, warn=True, column=column.name, mostly=0.9,
                           value_set=list(facts.examples)))  # fmt: skip
    share = facts.filled / facts.rows
    if column.role in ("asked", "history", "answer") and share > 0.5:
        least = math.floor((share - 0.3) * 20) / 20
        why = f"is filled in at least {least:.0%} of the rows; it was in {share:.0%}"
        rules.append(_rule("column_proportion_of_non_null_values_to_be_between", why, warn=True, column=column.name,
                           min_value=least, max_value=1.0))  # fmt: skip
    return rules


def _between(column: Column) -> Expectation:
    least, most = float(column.facts.least), float(column.facts.most)
    spread = max(most - least, abs(most), 1.0) * SPREADS
    low, high = _rounded(least - spread, math.floor), _rounded(most + spread, math.ceil)
    why = f"must lie between {low:,} and {high:,}: {SPREADS} times the spread from {least:g} to {most:g} that was seen"
    return _rule("column_values_to_be_between", why, column=column.name, min_value=low, max_value=high)


def _rounded(value: float, whole: Any) -> int | float:
    """To two figures, away from what was seen."""
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 1.0
    rounded = whole(value / unit) * unit
    return int(rounded) if abs(rounded) >= 1 and float(rounded).is_integer() else float(f"{rounded:.3g}")


def _volume(design: Design) -> list[Expectation]:
    many = "volume: ten times the rows an hour that usually land deserve a look"
    late = "freshness: a batch without a row of the week before what is known came late"
    time = {"column": design.time, "min_value": {"$PARAMETER": "newest_low"}}
    found = [
        _rule("table_row_count_to_be_between", many, warn=True, max_value={"$PARAMETER": "rows_high"}),
        _rule("column_max_to_be_between", late, warn=True, **time),
    ]
    if design.label.kind == "float" and not design.answer.classes:
        name = design.label.name
        low, high = ({"$PARAMETER": f"{name}_mean_{end}"} for end in ("low", "high"))
        why = "distribution: answers far from those of earlier batches deserve a look"
        found.append(
            _rule("column_mean_to_be_between", why, warn=True, column=name, min_value=low, max_value=high)
        )
    return found


def _filled(column: str, why: str) -> Expectation:
    return _rule("column_values_to_not_be_null", why, column=column)


def _rule(kind: str, why: str, warn: bool = False, **kwargs: Any) -> Expectation:
    meta = {"rule": why} | ({"level": "warn"} if warn else {})
    return {
        "type": f"expect_{kind}",
        "kwargs": kwargs,
        "meta": meta,
        "severity": "warning" if warn else "critical",
    }


def _suite(name: str, rules: list[Expectation]) -> dict[str, Any]:
    return {
        "name": name,
        "expectations": rules,
        "meta": {"great_expectations_version": "1.24.1"},
        "notes": None,
    }
