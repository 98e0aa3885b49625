"""What changes in a model's spec.yaml, each place in words and under the part that it belongs to."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.catalog.gate_spec import BETTER, NOT_WORSE
from pipelines.review.changes import directions
from pipelines.review.changes.change import ABSENT, Change, Leaf, Weight, leaves, words

PARTS = {
    "gate": "gate", "promotion": "gate", "monitor": "monitors", "schedule": "schedule", "owner": "ownership",
    "datasets": "data", "features": "features", "entities": "features", "request": "features", "label": "label",
    "parameters": "estimator", "search": "estimator", "onnx": "estimator", "threshold": "estimator",
    "task": "label", "name": "about", "description": "about",
}  # fmt: skip
TRIGGERS = {"minimum_new_rows", "cool_down", "quiet_hours", "patience"}
"""Fields of `training` that say when one begins; the rest say what it learns from."""
ANOTHER = "it asks something else; whether that is looser cannot be told from the spec"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """Every place in which two specs differ."""
    for leaf in leaves(_keyed(before), _keyed(after)):
        if not _by_default(leaf):
            yield from _blocks(leaf) or [_change(leaf)]


def _by_default(leaf: Leaf) -> bool:
    """The confidence that another rule has by itself: the rule's own line says it."""
    return leaf.path[-1] == "confidence" and {leaf.before, leaf.after} == {BETTER, NOT_WORSE}


def _blocks(leaf: Leaf) -> list[Change]:
    """A whole group of rules that only one side has (raw specs may lack one): each rule of it by itself."""
    if leaf.path not in {
        ("gate",),
        ("gate", "floors"),
        ("gate", "ceilings"),
        ("gate", "behaviour"),
        ("monitor",),
    }:
        return []
    before, after = (each if isinstance(each, Mapping) else {} for each in (leaf.before, leaf.after))
    return [_change(each) for each in leaves(before, after, leaf.path)]


def _change(leaf: Leaf) -> Change:
    heavy = directions.weight(leaf, directions.MODEL)
    note = ANOTHER if heavy is Weight.CHANGED else ""
    return Change(part(leaf.path), _title(leaf), words(leaf.before), words(leaf.after), heavy, note)


def part(path: tuple[str, ...]) -> str:
    """The part of a review that a place of spec.yaml belongs to."""
    if path[0] == "training":
        return "schedule" if TRIGGERS & set(path[1:2]) else "training rows"
    return PARTS.get(path[0], "about")


def _title(leaf: Leaf) -> str:
    """`gate.floors.roc_auc` is the floor roc_auc; what needs its place to be understood keeps it."""
    path = (
        leaf.path[1:] if leaf.path[0] in ("gate", "monitor", "training") and len(leaf.path) > 1 else leaf.path
    )
    singular = {
        "floors": "floor",
        "ceilings": "ceiling",
        "guards": "guard",
        "suspicious": "too good to believe:",
    }
    said = [singular.get(each, each) for each in path]
    return " ".join(each.replace("_", " ") if n == 0 else each for n, each in enumerate(said))


def _keyed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec whose lists of rules are by name, so that one which is gone is not taken for the next one."""
    found = dict(spec)
    gate = found.get("gate")
    if isinstance(gate, Mapping):
        found["gate"] = _gate(gate)
    return found


def _gate(gate: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(gate)
    found["guards"] = _numbered(
        [(str(each.get("metric", "log_loss")), _effective(each)) for each in _list(gate, "guards")]
    )
    found["fairness"] = _numbered(
        [(f"{each.get('group')} {each.get('measure', '')}".strip(), each) for each in _list(gate, "fairness")]
    )
    for who in ("baseline", "champion", "anchor"):
        if isinstance(gate.get(who), Mapping):
            found[who] = _effective(gate[who])
    if isinstance(gate.get("behaviour"), Mapping):
        found["behaviour"] = _tests(gate["behaviour"])
    return found


def _tests(behaviour: Mapping[str, Any]) -> dict[str, Any]:
    kinds = ("invariances", "directions", "minimums")
    named = {
        kind: _numbered([(str(each.get("name")), each) for each in _list(behaviour, kind)]) for kind in kinds
    }
    return {**behaviour, **named}


def _effective(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """A comparison with the confidence that it has where none is named, and without a margin that nothing uses."""
    rule = comparison.get("rule", "better")
    own = BETTER if rule == "better" else NOT_WORSE
    found = {**comparison, "rule": rule, "confidence": comparison.get("confidence") or own}
    unused = rule == "better" and found.get("stale_after") is ABSENT
    return {**found, "margin": ABSENT} if unused else found


def _list(block: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = block.get(name) or ()
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list | tuple) else []


def _numbered(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """By name; the second of a name is its #2."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        count = sum(known == name or known.startswith(f"{name} #") for known in found)
        found[f"{name} #{count + 1}" if count else name] = value
    return found
