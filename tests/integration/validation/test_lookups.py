"""What of an expectation is looked up once here, Great Expectations' own methods say word for word."""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.catalog import datasets
from pipelines.settings import PROJECT
from pipelines.validation import expectations
from pipelines.validation.validate import load_suite

NAMES = ("_get_domain_kwargs", "_get_success_kwargs")


def test_every_expectation_of_every_suite_has_what_its_own_methods_say() -> None:
    asked = 0
    for spec in datasets().values():
        for expectation in load_suite(spec, PROJECT / "expectations").expectations:
            for name, method in own_methods().items():
                assert list(method(expectation).items()) == list(getattr(expectation, name)().items())
                asked += 1
    assert asked > 80


@given(
    st.dictionaries(
        st.text(max_size=3),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=3)
        | st.lists(st.integers()),
        max_size=4,
    )
)
def test_a_dictionary_has_the_name_that_its_own_method_gives_it(values: dict[str, Any]) -> None:
    expectations.gx()
    from great_expectations.core.id_dict import IDDict

    own = expectations._OWN["to_id"]
    assert IDDict.to_id is expectations._to_id
    assert own.__module__ == "great_expectations.core.id_dict"
    assert IDDict(values).to_id() == own(IDDict(values))
    assert IDDict(values).to_id(id_ignore_keys=["a"]) == own(IDDict(values), None, ["a"])


def test_names_that_are_plain_are_given_without_asking_the_type_of_each_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expectations.gx()
    from great_expectations.core.id_dict import IDDict

    monkeypatch.setitem(expectations._OWN, "to_id", lambda *_: "asked")
    assert IDDict({"column": "a", "row_condition": None}).to_id() != "asked"
    assert IDDict({"column": "a", "value_set": [1, 2]}).to_id() == "asked"


def own_methods() -> dict[str, Any]:
    """GX's methods as they stand in its file."""
    from great_expectations.expectations import expectation

    tree = ast.parse(Path(inspect.getfile(expectation)).read_text())
    found = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name in NAMES]
    assert len(found) == len(NAMES)
    scope = dict(vars(expectation))
    exec(compile(ast.Module([*found], []), "own", "exec"), scope)  # noqa: S102 - an installed library
    return {name: scope[name] for name in NAMES}
