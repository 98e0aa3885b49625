"""What of an expectation is looked up once here, Great Expectations' own methods say word for word."""

import ast
import inspect
from pathlib import Path
from typing import Any

from pipelines.catalog import datasets
from pipelines.settings import PROJECT
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


def own_methods() -> dict[str, Any]:
    """GX's methods as they stand in its file."""
    from great_expectations.expectations import expectation

    tree = ast.parse(Path(inspect.getfile(expectation)).read_text())
    found = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name in NAMES]
    assert len(found) == len(NAMES)
    scope = dict(vars(expectation))
    exec(compile(ast.Module([*found], []), "own", "exec"), scope)  # noqa: S102 - an installed library
    return {name: scope[name] for name in NAMES}
