"""What the feature repository describes, as it was when Feast last read it: for whoever asks without Feast."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.places import whole
from pipelines.stores.feature_store.views import Views, ViewVersion

if TYPE_CHECKING:
    from feast import FeatureView

FILE = "described.json"


@dataclass(frozen=True)
class Described:
    """A view as its definition has it; `ttl` is None if its values never grow old."""

    version: ViewVersion
    description: str
    owner: str
    entities: tuple[str, ...]
    features: tuple[str, ...]
    ttl: timedelta | None


def contents(repo: Path) -> str:
    """Changes with any file of the feature repository."""
    sha = hashlib.sha256()
    for path in sorted(repo.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            data = path.read_bytes()
            sha.update(json.dumps([path.relative_to(repo).as_posix(), len(data)]).encode() + data)
    return sha.hexdigest()


def described(view: "FeatureView", version: ViewVersion) -> Described:
    """A definition as Feast has it, in plain values."""
    names = tuple(feature.name for feature in view.features)
    ttl = view.ttl or None
    return Described(version, view.description, view.owner, tuple(view.join_keys), names, ttl)


def remember(folder: Path, repo: str, views: Mapping[str, Described]) -> None:
    """Keep what a repository of these contents describes. It only spares work; a full disk stops nobody."""
    text = json.dumps({"repo": repo, "views": {name: _plain(view) for name, view in views.items()}}, indent=1)
    path = folder / FILE
    with suppress(OSError):
        if not path.exists() or path.read_text() != text:
            with whole(path) as part:
                part.write_text(text)


def remembered(folder: Path, repo: Path, registered: Views) -> dict[str, Described] | None:
    """Every current view by name; None if the repository has changed since, or a view has a newer version."""
    try:
        said = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(said, dict) or said.get("repo") != contents(repo):
        return None
    newest = {version.view: version for version in registered.versions()}
    found = {name: _known(newest.get(name), plain) for name, plain in said["views"].items()}
    whole = {name: view for name, view in found.items() if view is not None}
    return dict(sorted(whole.items())) if len(whole) == len(found) else None


def _plain(view: Described) -> dict[str, Any]:
    said = {name: value for name, value in vars(view).items() if name not in ("version", "ttl")}
    return said | {"digest": view.version.digest, "ttl": view.ttl and view.ttl.total_seconds()}


def _known(version: ViewVersion | None, plain: dict[str, Any]) -> Described | None:
    if version is None or version.digest != plain.pop("digest"):
        return None
    ttl = None if plain["ttl"] is None else timedelta(seconds=plain["ttl"])
    lists = {name: tuple(plain[name]) for name in ("entities", "features")}
    return Described(version, **plain | lists | {"ttl": ttl})
