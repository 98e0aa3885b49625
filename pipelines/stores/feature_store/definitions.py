"""What the feature repository defines, brought to Feast's registry with a version for each change."""

import hashlib
import importlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.contracts import EvergreenError
from pipelines.stores.feature_store import feast_import
from pipelines.stores.feature_store.views import Views, ViewVersion

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView

COMMENT = re.compile(r"^\s*--(?! look_back:).*$", re.MULTILINE)


def defined(repo: Path) -> list[Any]:
    """Every Feast object that the modules of the feature repository define; EvergreenError names a wrong one."""
    feast_import.unchecked()
    paths = sorted(repo.glob("*.py"))
    for path in paths:  # an edit counts at once, and another repository may have modules of these names
        sys.modules.pop(path.stem, None)
    sys.path.insert(0, str(repo))
    try:
        found = [each for path in paths for each in _objects(path)]
    finally:
        sys.path.remove(str(repo))
    return list({(type(each), each.name): each for each in found}.values())


def _objects(path: Path) -> list[Any]:
    from feast import Entity, FeatureService, FeatureView

    try:
        named = vars(importlib.import_module(path.stem)).values()
        found = [each for each in named if isinstance(each, Entity | FeatureView | FeatureService)]
        for each in found:
            if not isinstance(each, FeatureService):
                each.to_proto()
    except Exception as error:
        raise EvergreenError(
            f"{path} defines nothing that Feast can keep: {type(error).__name__}: {error}; look at the types of the "
            "arguments: names and tags are text, ttl is a timedelta, schema holds Field, entities hold Entity"
        ) from error
    return found


def sql_of(repo: Path, view: str) -> str:
    """How a view is computed: the .sql beside its definition."""
    path = repo / f"{view}.sql"
    if not path.exists():
        raise EvergreenError(f"feature view {view} has no {path.name}; add it beside {view}.py")
    return path.read_text()


def digest(view: "FeatureView", sql: str) -> str:
    """Changes when a view's values may: with its SQL, keys, features, types, TTL or times. Comments change nothing."""
    spec = view.to_proto().spec
    source = view.batch_source
    facts = {
        "sql": " ".join(COMMENT.sub("", sql).split()),
        "keys": [(c.name, c.value_type) for c in spec.entity_columns],
        "features": [(f.name, f.value_type) for f in spec.features],
        "ttl": view.ttl.total_seconds() if view.ttl else 0,
        "times": [source.timestamp_field, source.created_timestamp_column],
        "mapping": dict(source.field_mapping),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def apply(store: "FeatureStore", repo: Path, registered: Views, mark: Path) -> dict[str, ViewVersion]:
    """Bring the registry to what the repository defines; the current version of each view.

    A view whose values may change becomes a new version with a table of its own; models that were trained on
    an earlier one keep it. A registry that was lost, or applied by Feast's own command line, is put right.
    """
    from feast import Entity, FeatureView

    objects = defined(repo)
    views = [o for o in objects if isinstance(o, FeatureView)]
    current = {view.name: _registered(view, sql_of(repo, view.name), registered) for view in views}
    state = _state(objects, current)
    if mark.exists() and mark.read_text() == state and _holds(store, current):
        return current
    _restore(store, registered, [o for o in objects if isinstance(o, Entity)])
    others = [o for o in objects if not isinstance(o, FeatureView)]
    store.apply([*others, *(_pointed(view.to_proto(), current[view.name]) for view in views)])
    mark.write_text(state)
    return current


def _registered(view: "FeatureView", sql: str, registered: Views) -> ViewVersion:
    from google.protobuf.json_format import MessageToJson

    return registered.register(view.name, digest(view, sql), sql, MessageToJson(view.to_proto()))


def _pointed(proto: Any, version: ViewVersion) -> "FeatureView":
    """A definition that reads its version's table, and is served from its version's place online."""
    from feast import FeatureView

    view = FeatureView.from_proto(proto)
    view.batch_source.file_options.uri = f"{view.batch_source.path.removesuffix(view.name)}{version.table}"
    view.current_version_number = version.number
    return view


def _state(objects: list[Any], current: dict[str, ViewVersion]) -> str:
    """Changes when anything that the registry should hold does."""
    sha = hashlib.sha256(json.dumps({name: v.number for name, v in current.items()}).encode())
    for found in objects:
        sha.update(found.to_proto().spec.SerializeToString(deterministic=True))
    return sha.hexdigest()


def _holds(store: "FeatureStore", current: dict[str, ViewVersion]) -> bool:
    """Whether the registry has the current versions as they should be."""
    found = {view.name: view for view in store.list_feature_views()}
    return all(
        name in found
        and found[name].current_version_number == version.number
        and found[name].batch_source.path.endswith(version.table)
        for name, version in current.items()
    )


def _restore(store: "FeatureStore", registered: Views, entities: list[Any]) -> None:
    """Gives the registry each version it lacks, the oldest first."""
    from feast.protos.feast.core.FeatureView_pb2 import FeatureView as FeatureViewProto
    from google.protobuf.json_format import Parse

    for version in registered.versions():
        have = {row["version_number"] for row in store.list_feature_view_versions(version.view)}
        if version.number not in have:
            view = _pointed(Parse(version.definition, FeatureViewProto()), version)
            view.version = f"v{version.number}"
            store.apply([*entities, view])
