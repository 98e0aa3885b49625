"""In what this checkout differs from the one a version was made in: data, parameters, code, environment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.catalog import ModelSpec
from pipelines.stores import Stores
from pipelines.stores.durable import files_of, local
from pipelines.stores.erasures import Erasures
from pipelines.training.checkout import changed_since, commit, environment, libraries, made_with
from pipelines.training.registration import CODE

LONGEST = 12
"""How many lines of a difference are shown."""


@dataclass(frozen=True)
class Difference:
    """Something that is not as it was. A decisive one makes another model: its code or its parameters."""

    kind: str
    name: str
    recorded: str
    here: str
    how: str
    decisive: bool = False


def differences(
    spec: ModelSpec, run_id: str, parameters: Mapping[str, Any], tags: Mapping[str, str], stores: Stores
) -> list[Difference]:
    """Everything in which this checkout is not the one of a run's record; nothing if it is."""
    return [
        *_of_the_model(spec, run_id, tags, stores),
        *_parameters(spec, parameters),
        *_commit(tags),
        *_environment(spec, tags, stores),
    ]


def _of_the_model(spec: ModelSpec, run_id: str, tags: Mapping[str, str], stores: Stores) -> list[Difference]:
    if tags["spec_digest"] == spec.digest:
        return []
    how = _changed_files(spec, run_id, stores)
    return [Difference("code", f"models/{spec.name}", tags["spec_digest"], spec.digest, how, decisive=True)]


def _changed_files(spec: ModelSpec, run_id: str, stores: Stores) -> str:
    """The lines by which the model's files differ from those kept with the run."""
    with TemporaryDirectory() as folder:
        before = _kept(run_id, folder, stores)
        here = {path.relative_to(spec.folder).as_posix(): path.read_text() for path in spec.files}
    names = [name for name in sorted({*before, *here}) if before.get(name) != here.get(name)]
    lines = [line for name in names for line in _lines(name, before.get(name, ""), here.get(name, ""))]
    more = [f"... {len(lines) - LONGEST} more lines"] if len(lines) > LONGEST else []
    return f"{', '.join(names)} changed:\n" + "\n".join([*lines[:LONGEST], *more])


def _kept(run_id: str, folder: str, stores: Stores) -> dict[str, str]:
    root = Path(stores.tracking.client.download_artifacts(run_id, CODE, folder))
    return {p.relative_to(root).as_posix(): p.read_text() for p in root.rglob("*") if p.is_file()}


def _lines(name: str, before: str, after: str) -> list[str]:
    found = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [
        f"{name}: {line}" for line in found if line[:3] not in ("---", "+++") and not line.startswith("@@")
    ]


def _parameters(spec: ModelSpec, recorded: Mapping[str, Any]) -> list[Difference]:
    """A search's winner has other parameters than spec.yaml: they are taken from the record, and told of."""
    names = sorted({*recorded, *spec.parameters})
    return [
        Difference(
            "parameters",
            name,
            str(recorded.get(name)),
            str(spec.parameters.get(name)),
            "the record's is used",
        )
        for name in names
        if recorded.get(name) != spec.parameters.get(name)
    ]


def _commit(tags: Mapping[str, str]) -> list[Difference]:
    was, here = tags.get("git_commit", "unknown"), commit()
    files = changed_since(was)
    before = tags.get("uncommitted", "")
    said = [f"it was made with uncommitted changes in {before}"] if before else []
    if files:
        said.append(f"{len(files)} files are others here: {', '.join(files[:LONGEST])}")
    if files is None and was != here:
        said.append("this checkout does not know that commit, so its files cannot be compared")
    return [Difference("code", "commit", was, here, "; ".join(said))] if said else []


def _environment(spec: ModelSpec, tags: Mapping[str, str], stores: Stores) -> list[Difference]:
    pairs = {"lock": (tags.get("lock_digest", "unknown"), environment())}
    pairs |= _each(json.loads(tags.get("libraries", "{}")), libraries())
    pairs |= _each(json.loads(tags.get("made_with", "{}")), made_with(spec, stores))
    return [
        Difference("environment", name, str(was), str(here), _meaning(name))
        for name, (was, here) in pairs.items()
        if was != here
    ]


def _meaning(name: str) -> str:
    if name == "lock":
        return "what everything was installed from is another lock; the libraries that are installed count"
    return "the record's is used" if name == "threads" else "numbers may differ in the last bits"


def _each(before: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (before.get(name, "unknown"), here.get(name)) for name in here}


def lost(tables: Mapping[str, int], stores: Stores) -> list[str]:
    """What of these Delta versions cannot be read any more, and why; nothing if all can."""
    return [why for name, version in sorted(tables.items()) if (why := _lost(name, version, stores))]


def erased(tables: Mapping[str, int], stores: Stores) -> bool:
    """Whether rows of a person were erased from one of these Delta versions: no backup may bring it back then."""
    book = Erasures(stores.settings)
    return any(book.unreadable(name, version) is not None for name, version in tables.items())


def _lost(name: str, version: int, stores: Stores) -> str | None:
    from deltalake.exceptions import DeltaError

    at = Erasures(stores.settings).unreadable(name, version)
    if at is not None:
        return f"rows were erased from {name} on {at:%Y-%m-%d}, and version {version} of it with them"
    layer, _, table = name.partition("/")
    newest = stores.tables.version(layer, table)
    if newest is None:
        return f"{name} is gone"
    try:
        found = stores.tables.table(layer, table, version)
    except (DeltaError, OSError):
        found = None
    if found is None:
        return f"{name} has no version {version} any more (newest is {newest}); its log was cut"
    files = files_of(found) if local(found.table_uri) is not None else []
    gone = sum(not file.exists() for file in files)
    return f"{gone} of {len(files)} files of {name} version {version} were vacuumed" if gone else None


def told(number: float) -> str:
    """A small number as people write it."""
    return f"{number:.2g}"
