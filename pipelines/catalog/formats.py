"""The forms that specs were written in, and the way from each to the next.

A file says `format: N` at its top; one that does not is of format 1. Format N becomes N + 1 by the N-th migration of
its kind. A migration changes a mapping in place, a plain one or one that keeps its comments, and its docstring says
why: people read it beside the difference. To change a form, append a function here.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from pipelines.catalog.dataset_spec import DatasetSpec
from pipelines.catalog.model_spec import ModelSpec
from pipelines.catalog.types import File

Migration = Callable[[dict[str, Any]], None]


def _margins_are_named(spec: dict[str, Any]) -> None:
    """`not_worse` by no margin asks the same as `better`, and is written so; a margin is for `not_worse` alone."""
    for comparison in _comparisons(spec.get("gate")):
        if comparison.get("rule") == "not_worse" and not comparison.get("margin"):
            comparison.pop("margin", None)
            comparison["rule"] = "better"


def _comparisons(gate: Any) -> Iterator[dict[str, Any]]:
    """Those that format 1 had."""
    found = [gate.get(name) for name in ("baseline", "champion")] if isinstance(gate, dict) else []
    yield from (each for each in found if isinstance(each, dict))


MIGRATIONS: dict[type[File], tuple[Migration, ...]] = {DatasetSpec: (), ModelSpec: (_margins_are_named,)}


def newest(kind: type[File]) -> int:
    """The format that this code reads and `evergreen new` writes."""
    return 1 + len(MIGRATIONS[kind])


def format_of(given: Any) -> int:
    """What a file says of itself; 1 where it says nothing, or nothing that can be a format."""
    said = given.get("format", 1) if isinstance(given, dict) else 1
    return said if type(said) is int and said >= 1 else 1


def reasons(given: Any, kind: type[File]) -> list[str]:
    """Why a file must be upgraded before it can be read: what each migration that changes it says."""
    if not isinstance(given, dict):
        return []
    found, spec = list[str](), deepcopy(given)
    for migration in MIGRATIONS[kind][format_of(given) - 1 :]:
        before = deepcopy(spec)
        migration(spec)
        if spec != before:
            found.append(" ".join((migration.__doc__ or "").split()))
    return found


def refusal(given: Any, kind: type[File], name: str) -> str | None:
    """Why a file of this form cannot be read, and what to do; None if it can."""
    said, known = format_of(given), newest(kind)
    if said > known:
        return (
            f"it is of format {said}, and this Evergreen reads {known} at most; update the checkout and run"
            " `make install`"
        )
    why = reasons(given, kind)
    if why:
        return (
            f"it is of format {said}, and today's is {known}: {' '.join(why)}; run `evergreen upgrade {name}`"
        )
    return None
