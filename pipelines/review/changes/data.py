"""What changes in a dataset: its columns, key, times and limits, and what Great Expectations expects of it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.review.changes import directions
from pipelines.review.changes.change import ABSENT, Change, Leaf, Weight, leaves, words
from pipelines.review.changes.sides import SUITES, Side, alike

PARTS = {"owner": "ownership", "description": "about"}
DEFAULTS = {"mostly": 1.0, "strict_min": False, "strict_max": False, "or_equal": False}
"""What an expectation means by leaving a field out that loosens or tightens it."""
REWRITTEN = "every file must be written so from now on"


def dataset(name: str, before: Side, after: Side) -> Iterator[Change]:
    """What changes in a dataset's yaml and in its suite."""
    old, new = before.datasets.get(name), after.datasets.get(name)
    if old is None or new is None:
        if old is not new:
            yield Change("data", f"dataset {name}", None if old is None else "", None if new is None else "")
    else:
        was, is_now = alike(old, new)
        for leaf in leaves(was, is_now):
            yield _field(name, leaf)
    yield from suite(name, f"{SUITES}/{name}.json", before, after)


def _field(name: str, leaf: Leaf) -> Change:
    heavy = directions.weight(leaf, directions.DATASET)
    if leaf.path[0] == "columns" and len(leaf.path) == 2 and isinstance(leaf.after or leaf.before, Mapping):
        return _column(name, leaf)
    what = f"{name}: {_title(leaf.path)}"
    return Change(PARTS.get(leaf.path[0], "data"), what, words(leaf.before), words(leaf.after), heavy)


def _column(name: str, leaf: Leaf) -> Change:
    """A column that is new or gone: files must bring it, or bring it no more."""
    what, new = f"{name}: column {leaf.path[1]}", leaf.before is ABSENT
    facts = leaf.after if new else leaf.before
    must = new and not facts.get("nullable") and facts.get("since", 1) == 1
    note = REWRITTEN if must else ""
    said = ", ".join(filter(None, [str(facts.get("type")), "nullable" if facts.get("nullable") else ""]))
    return Change("data", what, None if new else said, said if new else None, Weight.PLAIN, note)


def _title(path: tuple[str, ...]) -> str:
    if path[0] != "columns" or len(path) == 1:
        return " ".join(path)
    return f"column {' '.join(path[1:])}"


def suite(name: str, path: str, before: Side, after: Side) -> Iterator[Change]:
    """What is expected no more, anew, or less strictly. A suite that is gone expects nothing."""
    old, new = (_expectations(side.text(path)) for side in (before, after))
    for key in dict.fromkeys((*old, *new)):
        if key not in old or key not in new:
            yield _whole(name, key, old.get(key), new.get(key))
            continue
        for leaf in leaves(old[key], new[key]):
            heavy = directions.weight(leaf, directions.EXPECTATION)
            heavy = _of_set(key, leaf, heavy)
            what = f"{name}: {key} {' '.join(leaf.path[1:] or leaf.path)}"
            yield Change("data", what, words(leaf.before), words(leaf.after), heavy)


def _whole(name: str, key: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Change:
    said = [None if each is None else words(_bounds(each)) or "" for each in (old, new)]
    heavy = Weight.LOOSENED if new is None else Weight.TIGHTENED
    return Change("data", f"{name}: {key}", said[0], said[1], heavy)


def _bounds(expectation: Mapping[str, Any]) -> dict[str, Any]:
    kwargs = expectation["kwargs"]
    return {k: v for k, v in kwargs.items() if not k.startswith("column") and DEFAULTS.get(k) != v}


def _of_set(key: str, leaf: Leaf, otherwise: Weight) -> Weight:
    """One more value allowed is looser; one more forbidden is not."""
    if leaf.path[:2] != ("kwargs", "value_set") or len(leaf.path) != 3:
        return otherwise
    more = leaf.before is ABSENT
    return Weight.LOOSENED if more != ("not_be_in_set" in key) else Weight.TIGHTENED


def _expectations(text: str | None) -> dict[str, dict[str, Any]]:
    """By type and columns, the second of one kind as its #2; its notes are left out, they expect nothing."""
    found: dict[str, dict[str, Any]] = {}
    for each in _listed(text):
        given = each.get("kwargs")
        kwargs = given if isinstance(given, dict) else {}
        columns = [str(value) for key, value in kwargs.items() if key.startswith("column")]
        key = " ".join([str(each.get("type")), *columns])
        count = sum(known == key or known.startswith(f"{key} #") for known in found)
        kept = {"severity": each.get("severity") or "critical", "kwargs": {**DEFAULTS, **kwargs}}
        found[f"{key} #{count + 1}" if count else key] = kept
    return found


def _listed(text: str | None) -> list[dict[str, Any]]:
    """The expectations of a suite's JSON; none of a file that is no suite, which `evergreen check` names."""
    try:
        said = json.loads(text or "{}")
    except ValueError:
        return []
    found = said.get("expectations") if isinstance(said, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
