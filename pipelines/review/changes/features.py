"""What changes in a feature view, which models take it, and what must be computed anew."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.review.changes.change import Change, leaves, words
from pipelines.review.changes.data import suite
from pipelines.review.changes.files import text
from pipelines.review.changes.sides import SUITES, VIEWS, Side
from pipelines.review.changes.views import View


def view(name: str, before: Side, after: Side) -> Iterator[Change]:
    """What changes in one view: SQL, definition, time to live, suite, and what follows from it."""
    old, new = before.views.get(name), after.views.get(name)
    if old is None or new is None:
        if old is not new:
            yield _whole(name, old, new, before, after)
    else:
        yield from _definition(name, old, new)
        yield from text(
            "features",
            f"{name}.sql",
            old.sql,
            new.sql,
            "" if old.computed != new.computed else "comments only",
        )
        if old.values != new.values:
            yield Change("features", f"{name} becomes a new version", note=_recomputed(name, before, after))
    start = f"{SUITES}/features/{name}"
    for path in sorted(
        p for p in {*before.files, *after.files} if p.startswith((f"{start}.json", f"{start}@"))
    ):
        yield from suite(Path(path).stem, path, before, after)


def _whole(name: str, old: View | None, new: View | None, before: Side, after: Side) -> Change:
    said = [
        None if each is None else f"{len(each.features)} features by {', '.join(each.keys)}"
        for each in (old, new)
    ]
    note = _recomputed(name, before, after) if new else "versions that were trained on it keep it"
    return Change("features", f"feature view {name}", said[0], said[1], note=note)


def _definition(name: str, old: View, new: View) -> Iterator[Change]:
    for leaf in leaves(_facts(old), _facts(new)):
        part = {"owner": "ownership", "description": "about"}.get(leaf.path[0], "features")
        yield Change(part, f"{name}: {' '.join(leaf.path)}", words(leaf.before), words(leaf.after))


def _facts(view: View) -> dict[str, Any]:
    return {
        "owner": view.owner, "description": view.description, "time to live": view.ttl, "keys": view.keys,
        "feature": view.features, "source": view.source, "look-back": view.look_back,
    }  # fmt: skip


def _recomputed(name: str, before: Side, after: Side) -> str:
    models = ", ".join(takers(name, before, after)) or "no model"
    return f"computed anew from all of silver by `evergreen features compute`; taken by {models}"


def takers(name: str, *sides: Side) -> list[str]:
    """The models that ask for a view on any side."""
    asked = {
        model
        for side in sides
        for model, spec in side.models.items()
        if name in asks(spec.raw.get("features"))
    }
    return sorted(asked)


def asks(features: object) -> dict[str, list[str]]:
    """The features that a spec names, by view."""
    found: dict[str, list[str]] = {}
    for each in features if isinstance(features, list | tuple) else ():
        name, _, feature = str(each).partition(":")
        found.setdefault(name, []).append(feature)
    return found


def shared(before: Side, after: Side) -> list[str]:
    """The files of the feature repository that belong to no view, so that every view may lean on them, and differ."""
    views = {*before.views, *after.views}
    paths = sorted(path for path in {*before.files, *after.files} if path.startswith(f"{VIEWS}/"))
    return [p for p in paths if Path(p).stem not in views and before.text(p) != after.text(p)]
