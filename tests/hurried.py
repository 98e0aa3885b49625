"""Deployments whose rows are hardly judged, for tests that ask something else of them."""

from dataclasses import replace
from typing import Any

import pytest

from pipelines.features.health import suites
from pipelines.validation import validate
from pipelines.validation.validate import PARAMETER


def few_rules(patched: pytest.MonkeyPatch) -> None:
    """Of each suite one rule is asked: Great Expectations takes longer over a small file than all the rest."""
    whole, of_view = validate.load_suite, suites.load

    def one(*asked: Any) -> Any:
        suite = whole(*asked)
        suite.expectations = _first(suite.expectations)
        return suite

    def one_of_view(*asked: Any) -> Any:
        suite = of_view(*asked)
        return suite and replace(suite, expectations=tuple(_first(suite.expectations)))

    patched.setattr(validate, "load_suite", one)
    patched.setattr(suites, "load", one_of_view)


def _first(rules: Any) -> list[Any]:
    """The first whose bounds do not come from history."""
    return [rule for rule in rules if not PARAMETER.search(str(rule))][:1]
