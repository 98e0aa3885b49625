"""Single edits of a record, of every kind that whoever has disk and databases could make; each can be undone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.gate import record
from pipelines.prove.audit.scene import Scene, Undo
from pipelines.record.registered_files import LOCAL, mlflow_uris
from pipelines.stores.audit.chain import Anchor, Chain, Head
from pipelines.stores.audit.keys import AUDIT as KEY
from pipelines.stores.audit.log import AUDIT
from pipelines.stores.tracking.records import Kept
from pipelines.stores.tracking.registry import ANCHOR, CHAMPION, PREVIOUS
from pipelines.training.training_set import path_of

COUNTED = ("parsed", "silver", "quarantined", "superseded")


@dataclass(frozen=True)
class Edit:
    """One edit: what it does in words, and how; `make` gives the way back, or None if nothing would change."""

    kind: str
    what: str
    make: Callable[[], Undo | None]


Made = tuple[str, Callable[[], Undo | None]]


def chosen(scene: Scene, counted: int) -> Iterator[Edit]:
    """So many different edits, each kind in turn."""
    seen: set[tuple[str, str]] = set()
    while len(seen) < counted:
        for kind, make in KINDS.items():
            what, do = make(scene)
            if len(seen) < counted and (kind, what) not in seen:
                seen.add((kind, what))
                yield Edit(kind, what, do)


def _column(scene: Scene) -> Made:
    place = scene.draw.randrange(len(scene.rows))
    name = scene.draw.choice([column.name for column in AUDIT.columns])
    before = scene.rows[place][name]
    value = _other(scene, before)
    rows = [*scene.rows[:place], scene.rows[place] | {name: value}, *scene.rows[place + 1 :]]
    return f"{name} of entry {place + 1} to {value!r:.60}", lambda: scene.table(rows)


def _other(scene: Scene, value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, int):
        return value + 10_000 + scene.draw.randrange(10_000)
    if not value:
        return f"x{scene.draw.randrange(10**6)}"
    place, letter = scene.draw.randrange(len(value)), scene.draw.choice("abcdefg0123456789 ")
    return value[:place] + letter + value[place + 1 :]


def _deleted(scene: Scene) -> Made:
    place = scene.draw.randrange(len(scene.rows))
    return f"entry {place + 1}", lambda: scene.table(scene.rows[:place] + scene.rows[place + 1 :])


def _closed_up(scene: Scene) -> Made:
    """An entry deleted, and the numbers of those after it made to follow."""
    place = scene.draw.randrange(len(scene.rows))
    after = [row | {"number": row["number"] - 1} for row in scene.rows[place + 1 :]]
    return f"entry {place + 1}", lambda: scene.table(scene.rows[:place] + after)


def _inserted(scene: Scene) -> Made:
    """An entry said twice, the numbers after it made to follow."""
    source, place = (scene.draw.randrange(len(scene.rows)) for _ in range(2))
    copy = scene.rows[source] | {"number": place + 1, "once": None}
    after = [row | {"number": row["number"] + 1} for row in scene.rows[place:]]
    return (
        f"a copy of entry {source + 1} before {place + 1}",
        lambda: scene.table([*scene.rows[:place], copy, *after]),
    )


def _appended(scene: Scene) -> Made:
    source = scene.draw.randrange(len(scene.rows))
    copy = scene.rows[source] | {"number": len(scene.rows) + 1, "once": None}
    return f"a copy of entry {source + 1}", lambda: scene.table([*scene.rows, copy])


def _swapped(scene: Scene) -> Made:
    one, two = sorted(scene.draw.sample(range(len(scene.rows)), 2))
    rows = list(scene.rows)
    rows[one] = scene.rows[two] | {"number": one + 1}
    rows[two] = scene.rows[one] | {"number": two + 1}
    return f"entries {one + 1} and {two + 1}", lambda: scene.table(rows)


def _cut(scene: Scene) -> Made:
    left = scene.draw.randrange(len(scene.rows))
    return f"after entry {left}", lambda: scene.table(scene.rows[:left])


def _cut_with_anchor(scene: Scene) -> Made:
    """The table cut, and the anchor put back to what it was when the table ended there."""
    left = scene.draw.randrange(len(scene.rows))
    return f"after entry {left}", lambda: _both(scene, left, _older(scene, left))


def _cut_without_anchor(scene: Scene) -> Made:
    left = scene.draw.randrange(len(scene.rows))
    return f"after entry {left}", lambda: _both(scene, left, None)


def _both(scene: Scene, left: int, anchor: bytes | None) -> Undo | None:
    table = scene.table(scene.rows[:left])
    file = scene.file(scene.stores.audit.anchor, anchor)

    def undo() -> None:
        for step in (table, file):
            if step is not None:
                step()

    return undo


def _older(scene: Scene, number: int) -> bytes:
    """The very anchor that the log wrote when it ended there."""
    chained = scene.rows[number - 1]["chained"] if number else Head().chained
    beside = Anchor(scene.stores.audit.anchor.with_name("older.json"), scene.stores.files)
    beside.write(Chain(scene.stores.keys.audit), Head(number, chained))
    content = beside.path.read_bytes()
    beside.path.unlink()
    return content


def _bytes(scene: Scene, path: Path) -> Made:
    what, content = scene.mangled(path.read_bytes())
    return f"{path.name} of {path.parent.name}: {what}", lambda: scene.file(path, content)


def _gone(scene: Scene, path: Path) -> Made:
    return f"{path.name} of {path.parent.name} removed", lambda: scene.file(path, None)


def _anchor(scene: Scene) -> Made:
    return _bytes(scene, scene.stores.audit.anchor)


def _key(scene: Scene) -> Made:
    return _bytes(scene, scene.stores.keys.folder / KEY)


def _record(scene: Scene) -> Made:
    return _bytes_or_gone(scene, [record.path_of(v.model, v.version, scene.stores) for v in _judged(scene)])


def _evidence(scene: Scene) -> Made:
    paths = [record.path_of(v.model, v.version, scene.stores) for v in _judged(scene)]
    return _bytes_or_gone(scene, [path.with_suffix("") / record.EVIDENCE for path in paths])


def _rows(scene: Scene) -> Made:
    sets = {path_of(v.model, v.tags["training_set"], scene.stores) for v in scene.kept}
    return _bytes_or_gone(scene, sorted(sets))


def _bytes_or_gone(scene: Scene, paths: list[Path]) -> Made:
    path = scene.draw.choice(paths)
    return _gone(scene, path) if scene.draw.random() < 0.1 else _bytes(scene, path)


def _judged(scene: Scene) -> list[Kept]:
    return [version for version in scene.kept if record.DIGEST in version.tags]


def _stored(scene: Scene, tag: str) -> Made:
    """A file where MLflow keeps it, or another version's file in its place."""
    version, other = scene.draw.sample(scene.kept, 2)
    path, foreign = (_path(mlflow_uris(each)[tag], scene) for each in (version, other))
    if scene.draw.random() < 0.2:
        content = foreign.read_bytes()
        return (
            f"{path.name} of version {version.version} is that of {other.version}",
            lambda: scene.file(path, content),
        )
    what, make = _bytes_or_gone(scene, [path])
    return f"version {version.version}, {what}", make


def _path(uri: str, scene: Scene) -> Path:
    """Where a file of MLflow's lies on this disk."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    folder, _, name = uri.rpartition("/")
    kept: Any = get_artifact_repository(folder)
    while hasattr(kept, "repo"):
        kept = kept.repo
    return Path(kept.artifact_dir) / name


def _copied(scene: Scene) -> Made:
    """Our own copy of a file."""
    home = scene.stores.settings.home / "models"
    copies = [home / v.model / str(v.version) / name for v in scene.kept for name in LOCAL.values()]
    path = scene.draw.choice([copy for copy in copies if copy.exists()])
    what, make = _bytes(scene, path)
    return f"{path.relative_to(home)}, {what}", make


def _tagged(scene: Scene) -> Made:
    """A tag changed, taken off, or replaced by that of another version."""
    version, other = scene.draw.sample(scene.kept, 2)
    name = scene.draw.choice(sorted(version.tags))
    values = {
        "another": _other(scene, version.tags[name]),
        "no": None,
        f"{other.version}'s": other.tags.get(name),
    }
    whose = scene.draw.choice(list(values))
    value = values[whose]
    return f"{name} of version {version.version}: {whose} value {value!r:.40}", lambda: scene.tag(
        version, name, value
    )


def _planted(scene: Scene) -> Made:
    """A tag of another version, put on one that has none."""
    bare = [v for v in scene.kept if record.DIGEST not in v.tags]
    version, other = scene.draw.choice(bare), scene.draw.choice(_judged(scene))
    name = scene.draw.choice(sorted(set(other.tags) - set(version.tags) - {record.SIGNATURE, record.HEAD}))
    return f"{name} of version {other.version} on {version.version}", lambda: scene.tag(
        version, name, other.tags[name]
    )


def _aliased(scene: Scene) -> Made:
    alias = scene.draw.choice((CHAMPION, PREVIOUS, ANCHOR))
    version = scene.draw.choice([*scene.kept, None])
    number = version.version if version else None
    return f"{alias} to {number}", lambda: scene.alias(scene.kept[0].model, alias, number)


def _counted(scene: Scene) -> Made:
    batches = [row["subject"].rpartition("/")[2] for row in scene.rows if row["action"] == "commit"]
    digest, name = scene.draw.choice(batches), scene.draw.choice(COUNTED)
    more = scene.draw.randrange(1, 100)
    return f"{name} of {digest[:12]} by {more}", lambda: scene.ledger(digest, name, more)


KINDS: dict[str, Callable[[Scene], Made]] = {
    "log: a column of an entry": _column,
    "log: an entry deleted": _deleted,
    "log: an entry deleted, the rest renumbered": _closed_up,
    "log: an entry put in, the rest renumbered": _inserted,
    "log: an entry added at the end": _appended,
    "log: two entries swapped": _swapped,
    "log: cut off": _cut,
    "log: cut off, the anchor put back": _cut_with_anchor,
    "log: cut off, the anchor removed": _cut_without_anchor,
    "anchor: its bytes": _anchor,
    "key: its bytes": _key,
    "record: its bytes": _record,
    "evidence: its bytes": _evidence,
    "training set: its bytes": _rows,
    "model file": lambda scene: _stored(scene, "digest"),
    "baseline file": lambda scene: _stored(scene, "baseline_digest"),
    "background rows": lambda scene: _stored(scene, "background_digest"),
    "MLmodel": lambda scene: _stored(scene, "mlmodel_digest"),
    "our copy of a file": _copied,
    "version: a tag": _tagged,
    "version: a tag planted": _planted,
    "registry: an alias": _aliased,
    "ledger: a count": _counted,
}
