"""The files that a model is made of: whether they are there, and say what they must."""

from collections.abc import Iterator
from pathlib import Path

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.loop.checkup.faults import Fault, told
from pipelines.stores import Stores
from pipelines.training import contract

NEEDED = {
    "label.sql": "write the query that gives entities, request fields, event_timestamp, label_known_at and label",
    "CARD.md": "say what the model is for, who owns it and what it must not be used for",
    "estimator.py": "write build(parameters) and baseline() in it",
    "__init__.py": "add an empty file, so that Python finds the estimator",
}


def check(spec: ModelSpec, stores: Stores) -> Iterator[Fault]:
    """Every file of the model and of its datasets that is missing or not as it must be."""
    for name, remedy in NEEDED.items():
        if not (spec.folder / name).is_file():
            yield Fault(str(spec.folder / name), "it is missing", remedy)
    if (spec.folder / "estimator.py").is_file():
        try:
            contract.check(spec)
        except EvergreenError as error:
            yield told(str(error))
    for name in dict.fromkeys((*spec.datasets, spec.label.dataset)):
        yield from _suite(name, stores)


def _suite(name: str, stores: Stores) -> Iterator[Fault]:
    """A dataset's expectations must be there, be what Great Expectations reads, and speak of columns it has."""
    from pipelines.validation.validate import load_suite

    folder, found = stores.settings.expectations, catalog.dataset(name)
    try:
        suite = load_suite(found, folder)
    except EvergreenError as error:
        yield told(f"{folder / f'{name}.json'}: {error}")
        return
    for expectation in suite.expectations:
        column = getattr(expectation, "column", None)
        if column is not None and column not in {*found.columns, "_rescued"}:
            path = folder / f"{name}.json"
            what = f"{expectation.expectation_type} speaks of {column}, which {name} does not have"
            yield Fault(f"{path}:{line_of(path, column)}", what, "mend its column's name")


def line_of(path: Path, word: str) -> int:
    """The first line of a file that has a word; 1 if none does."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((number for number, line in enumerate(lines, 1) if word in line), 1)
