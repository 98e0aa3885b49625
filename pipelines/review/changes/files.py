"""What changes in the files of a model's folder that are no spec: the label's SQL, the estimator's code, the card."""

import ast
from collections.abc import Iterator
from difflib import unified_diff

from pipelines.review.changes.change import Change
from pipelines.review.changes.sides import Side

LONGEST = 200
"""Lines of a difference that a reviewer is shown; git has the rest."""
PARTS = {"label.sql": "label", "CARD.md": "about"}


def changes(model: str, before: Side, after: Side) -> Iterator[Change]:
    """Every file of the folder but spec.yaml."""
    old, new = before.folder(model), after.folder(model)
    for name in sorted({*old, *new} - {"spec.yaml"}):
        part = PARTS.get(name, "estimator")
        note = _classes(old.get(name), new.get(name)) if name.endswith(".py") else ""
        yield from text(part, name, old.get(name), new.get(name), note)


def text(part: str, name: str, old: str | None, new: str | None, note: str = "") -> Iterator[Change]:
    """How many lines a file gained and lost, and the difference itself."""
    if old == new:
        return
    lines = list(
        unified_diff((old or "").splitlines(), (new or "").splitlines(), "before", "after", lineterm="", n=2)
    )
    added, gone = (sum(line.startswith(sign) for line in lines[2:]) for sign in ("+", "-"))
    size = f"+{added} -{gone} lines"
    more = [f"... {len(lines) - LONGEST} more lines"] if len(lines) > LONGEST else []
    before, after = (None if old is None else ""), (None if new is None else size)
    if old is not None and new is not None:
        before, after, name = None, None, f"{name}: {size}"
    yield Change(part, name, before, after, note=note, diff="\n".join([*lines[:LONGEST], *more]))


def _classes(old: str | None, new: str | None) -> str:
    """Which classes the code makes that it did not, and the other way round."""
    before, after = _made(old), _made(new)
    parts = [
        f"{sign}{name}"
        for sign, names in (("+", after - before), ("-", before - after))
        for name in sorted(names)
    ]
    return f"classes {', '.join(parts)}" if parts else "the same classes" if old and new else ""


def _made(code: str | None) -> set[str]:
    """The names of classes that a module calls or defines, read and not run."""
    try:
        tree = ast.parse(code or "")
    except (SyntaxError, ValueError):
        return set()
    called = {_name(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    return {name for name in called | defined if name[:1].isupper()}


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
