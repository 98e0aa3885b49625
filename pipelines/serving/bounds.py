"""What the dataset's Great Expectations suite says of single values, said of a question too, as a warning."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.catalog import ModelSpec

Rule = Callable[[Mapping[str, Any]], bool]


class Bounds:
    """The rules of a suite that one row can break, for the fields that a model is asked with.

    A question that breaks one is answered, for nothing says that the model may not be asked; but not silently.
    """

    def __init__(self, spec: ModelSpec, suites: Path) -> None:
        path = suites / f"{spec.label.dataset}.json"
        rules = json.loads(path.read_text())["expectations"] if path.exists() else []
        fields = {**spec.entities, **spec.request}
        self._rules = [_told(rule) for rule in rules if _columns(rule) and set(_columns(rule)) <= set(fields)]

    def broken(self, values: Mapping[str, Any]) -> Iterator[str]:
        """Each rule that the question's values break: the fields, and the suite's own words."""
        for columns, said, holds in self._rules:
            if all(values.get(name) is not None for name in columns) and not holds(values):
                yield f"{' and '.join(columns)}: {said}"


def _columns(rule: Mapping[str, Any]) -> list[str]:
    """The columns of a rule on the values of one row; none for any other."""
    kwargs = rule["kwargs"]
    names = PAIR if rule["type"] == GREATER else ("column",) if rule["type"] in KINDS else ()
    if rule["type"] == DIFFERENT:
        return [*kwargs["column_list"]]
    plain = "$PARAMETER" not in json.dumps(kwargs)
    return [kwargs[name] for name in names] if plain else []


def _told(rule: Mapping[str, Any]) -> tuple[list[str], str, Rule]:
    columns, kwargs = _columns(rule), rule["kwargs"]
    said = rule.get("meta", {}).get("rule") or rule["type"].removeprefix("expect_column_").replace("_", " ")
    if rule["type"] == GREATER:
        return columns, said, lambda values: _greater(values[columns[0]], values[columns[1]], kwargs)
    if rule["type"] == DIFFERENT:
        return columns, said, lambda values: len({values[name] for name in columns}) == len(columns)
    holds = KINDS[rule["type"]]
    return columns, said, lambda values: holds(values[columns[0]], kwargs)


def _between(value: Any, kwargs: Mapping[str, Any]) -> bool:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if not isinstance(value, int | float):
        return True
    above = low is None or (value > low if kwargs.get("strict_min") else value >= low)
    below = high is None or (value < high if kwargs.get("strict_max") else value <= high)
    return above and below


def _greater(first: Any, second: Any, kwargs: Mapping[str, Any]) -> bool:
    return bool(first >= second if kwargs.get("or_equal") else first > second)


DIFFERENT = "expect_select_column_values_to_be_unique_within_record"
GREATER, PAIR = "expect_column_pair_values_a_to_be_greater_than_b", ("column_A", "column_B")
KINDS: dict[str, Callable[[Any, Mapping[str, Any]], bool]] = {
    "expect_column_values_to_be_between": _between,
    "expect_column_values_to_be_in_set": lambda value, kwargs: value in kwargs["value_set"],
    "expect_column_value_lengths_to_equal": lambda value, kwargs: len(str(value)) == kwargs["value"],
}
