"""Imports Feast without its run-time type checks: they rewrite its source each time, for two thirds of the import.

Feast decorates its classes with typeguard's `typechecked`, which does nothing where Python runs optimized. Every task
is a process of its own and would pay for it again. A wrong definition is told of where it is read, in `definitions`.
"""

import importlib
import sys
from typing import Any


def unchecked() -> None:
    """Import Feast, if nobody has."""
    if "feast" in sys.modules:
        return
    import typeguard

    checked = typeguard.typechecked
    typeguard.typechecked = _as_it_is
    try:
        importlib.import_module("feast")
    finally:
        typeguard.typechecked = checked


def _as_it_is(target: Any = None, **_: Any) -> Any:
    return target if target is not None else _as_it_is
