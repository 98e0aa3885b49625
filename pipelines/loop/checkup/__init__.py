"""Whether one model is sound, before anything of it runs: what is wrong, in which line, and the remedy.

In comes a model's name; out go faults. It reads specs, SQL and definitions, and runs the SQL on tables without rows.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from pipelines import catalog
from pipelines.contracts import EvergreenError
from pipelines.loop.checkup.faults import Fault, here, told
from pipelines.stores import Stores

__all__ = ["Fault", "examine"]


Check = Callable[[catalog.ModelSpec, Stores], Iterable[Fault]]


def examine(name: str, stores: Stores) -> list[Fault]:
    """Everything that is wrong with a model, what breaks it first; EvergreenError if there is no such model."""
    broken = catalog.faults()
    if name in broken and name not in catalog.models():
        return [told(line) for line in broken[name].splitlines()]
    found = list(_found(catalog.model(name), stores))
    return sorted(
        (replace(fault, where=here(fault.where)) for fault in found), key=lambda fault: not fault.breaks
    )


def _found(spec: catalog.ModelSpec, stores: Stores) -> Iterator[Fault]:
    from pipelines.loop.checkup import files, questions, views

    checks: tuple[Check, ...] = (files.check, questions.check, views.check)
    for check in checks:
        try:
            yield from check(spec, stores)
        except EvergreenError as error:
            yield told(str(error))
