"""What a change does: every model that it touches, directly or through what models share, and whom else it reaches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipelines.catalog.model_spec import LEAVINGS
from pipelines.contracts import EvergreenError
from pipelines.loop.checkup import Fault, examine
from pipelines.review.changes import data, features, files, git, rules, sides
from pipelines.review.changes.change import Change, Weight, block, listed, words
from pipelines.review.changes.sides import DATASETS, FOLDERS, MODELS, SUITES, VIEWS, Side
from pipelines.stores import Stores

GATES = ("pipelines/gate/", "pipelines/promotion/", "pipelines/catalog/gate_spec.py")
"""Code that decides what every model's gate asks, whatever its spec says."""


@dataclass(frozen=True)
class Touched:
    """One model. `through` names what of it differs: its own files, datasets, views; `state`: changed, new, removed."""

    model: str
    state: str
    owner: str
    through: tuple[str, ...]
    changes: tuple[Change, ...] = ()
    faults: tuple[Fault, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Diff:
    """A whole change. `shared` are the changes of each dataset and view; `reached` who else depends on those."""

    revision: str
    commit: str
    ahead: int
    models: tuple[Touched, ...]
    shared: dict[str, tuple[Change, ...]]
    reached: dict[str, tuple[dict[str, str], ...]] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()

    def weighed(self, weight: Weight) -> list[tuple[str, Change]]:
        """Every change of one weight, with whose it is; a model that is gone takes its whole gate with it."""
        gone = [t for t in self.models if t.state == "removed"] if weight is Weight.LOOSENED else []
        removed = [(t.model, Change("gate", "the model and its gate", "", None, weight)) for t in gone]
        own = [(touched.model, change) for touched in self.models for change in touched.changes]
        common = [(name, change) for name, changes in self.shared.items() for change in changes]
        return [(name, change) for name, change in [*removed, *own, *common] if change.weight is weight]

    @property
    def gates(self) -> list[str]:
        """The changed files of the gate's own code."""
        return [path for path in self.elsewhere if path.startswith(GATES)]

    @property
    def breaks(self) -> bool:
        """Whether some model could not be trained or served as it would be merged."""
        return any(fault.breaks for touched in self.models for fault in touched.faults)


def pair(revision: str, root: Path, parted: bool = False) -> tuple[str, Side, Side]:
    """The commit, its side, and that of the work tree; `parted`: from where the two parted."""
    commit = git.commit_of(revision, root)
    commit = git.meeting_point(commit, root) if parted else commit
    before = sides.at(commit, root)
    if not any(path.startswith((f"{MODELS}/", f"{DATASETS}/")) for path in before.files):
        raise EvergreenError(f"{revision} has no {MODELS} and no {DATASETS}; name a revision of this project")
    return commit, before, sides.here(root)


def diff(
    revision: str, asked: Iterable[str], root: Path, stores: Stores, parted: bool = False
) -> tuple[Diff, Side, Side]:
    """What the work tree changes against a revision, for the models asked for, or all; and both sides."""
    commit, before, after = pair(revision, root, parted)
    found = compared(before, after, asked, stores)
    ahead = 0 if parted else git.missing_here(commit, root)
    elsewhere = (*_elsewhere(commit), *_nobodys(before, after))
    return replace(found, revision=revision, commit=commit, ahead=ahead, elsewhere=elsewhere), before, after


def compared(before: Side, after: Side, asked: Iterable[str], stores: Stores) -> Diff:
    """What one side changes against another, for the models asked for, or all."""
    names, every = _asked(list(asked), before, after), _all(before, after)
    shared = {name: each for name, each in _shared(before, after).items() if each}
    touched = [found for name in names if (found := _touched(name, set(shared), before, after, stores))]
    used = {name: each for name, each in shared.items() if names == every or _used(name, touched)}
    reached = {name: _reached(name, stores) for name in used}
    return Diff(before.name, "", 0, tuple(touched), used, reached)


def _all(before: Side, after: Side) -> list[str]:
    return sorted({*before.models, *after.models})


def _asked(names: list[str], before: Side, after: Side) -> list[str]:
    known = _all(before, after)
    for name in names:
        if name not in known:
            raise EvergreenError(
                f"no model named {name!r} on either side; there are: {', '.join(known) or 'none'}"
            )
    return sorted(set(names)) or known


def _shared(before: Side, after: Side) -> dict[str, tuple[Change, ...]]:
    """The changes of every dataset and every view, and of what all views lean on."""
    found = {
        f"dataset {name}": tuple(data.dataset(name, before, after))
        for name in sorted({*before.datasets, *after.datasets})
    }
    for name in sorted({*before.views, *after.views}):
        found[f"view {name}"] = tuple(features.view(name, before, after))
    for path in features.shared(before, after):
        found[path] = tuple(files.text("features", path, before.text(path), after.text(path)))
    return found


def _used(name: str, touched: list[Touched]) -> bool:
    return any(name in each.through for each in touched)


def _touched(name: str, shared: set[str], before: Side, after: Side, stores: Stores) -> Touched | None:
    """A model with what differs of it; None if nothing does."""
    own = sorted(
        path for path in {*before.folder(name), *after.folder(name)} if _differs(name, path, before, after)
    )
    through = (*own, *(each for each in sorted(shared) if each in _leans_on(name, before, after)))
    if not through:
        return None
    old, new = before.models.get(name), after.models.get(name)
    state = "new" if old is None else "removed" if new is None else "changed"
    faults = () if new is None else tuple(_examined(name, stores))
    note = "; ".join(
        f"compared as written, without defaults: {side.name}: {each.fault}"
        for side, each in ((before, old), (after, new))
        if each is not None and each.fault
    )
    owner = next((str(each.raw.get("owner")) for each in (new, old) if each is not None), "nobody")
    return Touched(name, state, owner, through, tuple(_changes(name, before, after)), faults, note)


def _differs(model: str, name: str, before: Side, after: Side) -> bool:
    path = f"{MODELS}/{model}/{name}"
    return before.text(path) != after.text(path)


def _changes(name: str, before: Side, after: Side) -> Iterator[Change]:
    old, new = before.models.get(name), after.models.get(name)
    if old is not None and new is not None:
        yield from rules.changes(*sides.alike(old, new))
        yield from files.changes(name, before, after)
    elif new is not None:
        yield from _introduced(new.plain)


def _introduced(spec: dict[str, Any]) -> Iterator[Change]:
    """What a reviewer of a new model looks for first."""
    gate = block(spec, "gate")
    for part, what, value in (
        ("ownership", "owner", spec.get("owner")),
        ("label", "label", spec.get("label")),
        ("data", "datasets", spec.get("datasets")),
        ("features", "features", spec.get("features")),
        ("gate", "floors", gate.get("floors")),
        ("gate", "fairness rules", len(listed(gate, "fairness"))),
        ("gate", "approval by a person", block(spec, "promotion").get("approval", False)),
        ("monitors", "decay", block(spec, "monitor").get("decay") or "not judged"),
        ("schedule", "schedule", spec.get("schedule")),
    ):
        yield Change(part, f"{what}: {words(value)}")


def _leans_on(name: str, *both: Side) -> set[str]:
    """The datasets and views that a model takes on either side, as they are named in `shared`."""
    found: set[str] = set()
    for side in both:
        spec = side.models[name].raw if name in side.models else {}
        views = [side.views[each] for each in features.asks(spec.get("features")) if each in side.views]
        named = {*listed(spec, "datasets"), str(block(spec, "label").get("dataset"))}
        read = {each for view in views for each in view.reads({*side.datasets})}
        found |= {f"dataset {each}" for each in named | read} | {f"view {view.name}" for view in views}
        found |= {*features.shared(*both)} if views else set()
        found |= {f"view {each}" for each in features.asks(spec.get("features"))}
    return found


def _examined(name: str, stores: Stores) -> list[Fault]:
    """What `evergreen check` finds; a model that today's catalog does not know yet is told of by its side."""
    try:
        return examine(name, stores)
    except EvergreenError as error:
        return [Fault(f"{MODELS}/{name}/spec.yaml", str(error), "mend it")]


def _reached(name: str, stores: Stores) -> tuple[dict[str, str], ...]:
    """What `evergreen impact` says of a dataset or a view; nothing of one that this home does not know."""
    from pipelines.record.lineage import impact

    kind, _, which = name.partition(" ")
    if kind not in ("dataset", "view"):
        return ()
    try:
        found = impact(f"{'feature' if kind == 'view' else 'dataset'}:{which}", stores)
    except EvergreenError:
        return ()
    return tuple(dict(vars(each)) for each in found)


def _elsewhere(commit: str) -> tuple[str, ...]:
    """The changed files that decide what is made, but belong to no model, dataset or view."""
    from pipelines.training.checkout import changed_since

    named = changed_since(commit) or []
    return tuple(
        p for p in named if not p.startswith(tuple(f"{each}/" for each in FOLDERS)) and not LEAVINGS.search(p)
    )


def _nobodys(before: Side, after: Side) -> list[str]:
    """What differs below the sides' folders and belongs to no model, dataset or view that either side knows."""
    views, names = {*before.views, *after.views}, {*before.datasets, *after.datasets}
    known = {f"{MODELS}/{name}" for name in _all(before, after)} | {
        f"{DATASETS}/{name}.yaml" for name in names
    }
    known |= {f"{SUITES}/{name}.json" for name in names} | {VIEWS}
    suites = tuple(f"{SUITES}/features/{name}{end}" for name in views for end in (".", "@"))
    paths = (p for p in sorted({*before.files, *after.files}) if before.files.get(p) != after.files.get(p))
    return [p for p in paths if not p.startswith((*suites, *(f"{k}/" for k in known))) and p not in known]
