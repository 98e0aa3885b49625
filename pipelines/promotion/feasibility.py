"""Whether a version that is registered can serve now: checked before a rollback or an override moves anything.

Quick, for it is asked when something is on fire: nothing is fitted, and no model is loaded.
"""

import json
from collections.abc import Iterator
from fnmatch import fnmatch

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.stores import Stores
from pipelines.stores.audit.licences import verify_origin
from pipelines.stores.tracking.registry import RETIRED, Version, file_digest
from pipelines.training.checkout import libraries


def obstacles(spec: ModelSpec, version: Version, stores: Stores) -> list[str]:
    """Every reason why a version cannot serve; nothing if it can."""
    return [
        *_not_ours(version, stores),
        *_file(version, stores),
        *_libraries(version),
        *_views(version, stores),
        *_columns(spec, version, stores),
    ]


def not_retired(version: Version) -> None:
    """EvergreenError if the version's files were deleted."""
    if RETIRED in version.tags:
        raise EvergreenError(
            f"{version.model} version {version.version} was retired at {version.tags[RETIRED]}: its model file is "
            f"gone; train it again with `evergreen train {version.model} --as-of {version.as_of.isoformat()}`"
        )


def _not_ours(version: Version, stores: Stores) -> Iterator[str]:
    try:
        verify_origin(version, stores.keys)
    except EvergreenError as error:
        yield str(error)


def _file(version: Version, stores: Stores) -> Iterator[str]:
    try:
        path = stores.tracking.file(version)
    except Exception as error:  # whatever an artifact store may raise, the model is not there
        yield f"its model file cannot be had: {type(error).__name__}: {error}"
        return
    found = file_digest(path)
    if found != version.digest:
        yield f"its model file's digest is {found[:12]}, registered was {version.digest[:12]}: it was changed"


def _libraries(version: Version) -> Iterator[str]:
    now = libraries()
    then = json.loads(version.tags.get("libraries", "{}"))
    for name in sorted({*now, *then}):
        if now.get(name) != then.get(name):
            yield f"it was written with {name} {then.get(name)}, here is {now.get(name)}"


def _views(version: Version, stores: Stores) -> Iterator[str]:
    """The versions of feature views it was trained on must still be kept and be online."""
    if not version.views:
        return
    known = {(v.view, v.number): v for v in stores.features.registered.versions()}
    for view, number in sorted(version.views.items()):
        found = known.get((view, number))
        if found is None:
            yield f"feature view {view}@v{number} is not known any more"
        elif stores.progress.reached(found.consumer) is None:
            yield f"feature view {found} is not online; run `evergreen features compute`"


def _columns(spec: ModelSpec, version: Version, stores: Stores) -> Iterator[str]:
    """Every column it takes must still come with the question or from a view."""
    try:
        taken = stores.tracking.inputs(version)
    except Exception as error:  # as above
        yield f"its signature cannot be read: {type(error).__name__}: {error}"
        return
    if not taken:
        yield "it does not say which columns it takes"
    features = _features(version, stores)
    for name in spec.features_among(taken):
        view, sign, feature = name.partition("__")
        if not sign:
            yield f"it takes {name}, which is no entity, request field or feature of the spec any more"
        elif view in version.views and name not in features:
            yield f"it takes {name}, which {view}@v{version.views[view]} does not have"
        elif view not in version.views and not any(
            fnmatch(f"{view}:{feature}", each) for each in spec.features
        ):
            yield f"it takes {name}, which is no feature of the spec any more"


def _features(version: Version, stores: Stores) -> set[str]:
    """view__feature of the views' versions it was trained on."""
    if not version.views:
        return set()
    return {
        f"{kept.view}__{feature['name']}"
        for kept in stores.features.registered.versions()
        if version.views.get(kept.view) == kept.number
        for feature in json.loads(kept.definition).get("spec", {}).get("features", ())
    }
