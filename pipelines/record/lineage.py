"""Where features come from and who would miss them: files, datasets, views, models, versions, endpoints."""

from dataclasses import dataclass
from datetime import datetime

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.stores import Stores
from pipelines.stores.feature_store.described import Described
from pipelines.stores.tracking.registry import CHAMPION, PREVIOUS, Version


@dataclass(frozen=True)
class Source:
    """A dataset that a view reads: its files that are in silver, and the newest of them."""

    dataset: str
    owner: str
    files: int
    newest: str | None


@dataclass(frozen=True)
class ViewFacts:
    """What there is to know of one feature view. Times are UTC, None before the first computation."""

    name: str
    version: int
    description: str
    owner: str
    entities: tuple[str, ...]
    features: tuple[str, ...]
    ttl: str
    look_back: str
    sources: tuple[Source, ...]
    models: tuple[str, ...]
    model_versions: tuple[str, ...]
    computed_to: datetime | None
    online_to: datetime | None


@dataclass(frozen=True)
class Broken:
    """Something that depends on what would change. `kind`: view, model, version or endpoint."""

    kind: str
    name: str
    why: str


def facts(stores: Stores) -> list[ViewFacts]:
    """Every current view, by name."""
    return [_facts(view, stores) for view in stores.features.described.values()]


def _facts(view: Described, stores: Stores) -> ViewFacts:
    version = view.version
    online = stores.features.materialized(version)
    return ViewFacts(
        name=version.view,
        version=version.number,
        description=view.description,
        owner=view.owner,
        entities=view.entities,
        features=view.features,
        ttl=str(view.ttl) if view.ttl else "none",
        look_back=str(version.look_back),
        sources=tuple(_source(name, stores) for name in sorted(version.sources)),
        models=catalog.models_with(version.view),
        model_versions=tuple(f"{v.model}@{v.version}" for v in _versions(stores) if version.view in v.views),
        computed_to=stores.progress.reached(version.consumer),
        online_to=online.as_of if online else None,
    )


def _source(dataset: str, stores: Stores) -> Source:
    taken = [batch for batch in stores.ledger.batches(dataset) if batch.state.taken]
    newest = max(taken, key=lambda b: b.last_known.timestamp() if b.last_known else 0.0, default=None)
    return Source(dataset, catalog.dataset(dataset).owner, len(taken), newest.name if newest else None)


def _uses(spec: ModelSpec, view: str, feature: str | None) -> bool:
    """Whether a model asks for the view; for that feature of it, if one is named."""
    wanted = {f"{view}:*", f"{view}:{feature}"}
    return any(f.split(":")[0] == view if feature is None else f in wanted for f in spec.features)


def _versions(stores: Stores) -> list[Version]:
    return [version for name in catalog.models() for version in stores.tracking.versions(name)]


def impact(target: str, stores: Stores) -> list[Broken]:
    """What breaks without `feature:VIEW`, `feature:VIEW:FEATURE` or `dataset:NAME`; nearest first."""
    kind, _, name = target.partition(":")
    if kind == "dataset":
        catalog.dataset(name)
        views = [v for v in stores.features.current.values() if name in v.sources]
        found = [Broken("view", v.view, f"{v.view}.sql reads {name}") for v in views]
        found += [_labelled(spec, name) for spec in catalog.models().values() if spec.label.dataset == name]
        return [*found, *dict.fromkeys(b for v in views for b in _without(v.view, None, stores))]
    if kind != "feature" or not name:
        raise EvergreenError(
            f"{target!r} names nothing; ask for feature:VIEW, feature:VIEW:FEATURE or dataset:NAME"
        )
    view, _, feature = name.partition(":")
    _exists(view, feature or None, stores)
    return _without(view, feature or None, stores)


def _labelled(spec: ModelSpec, dataset: str) -> Broken:
    return Broken("model", spec.name, f"its labels are from {dataset}")


def _exists(view: str, feature: str | None, stores: Stores) -> None:
    """EvergreenError unless some version of the view has the feature."""
    known = stores.features.registered.versions(view)
    if not known:
        stores.features.version(view)  # says which views there are
    names = {f.name for version in known for f in stores.features.definition(version).features}
    if feature is not None and feature not in names:
        raise EvergreenError(
            f"feature view {view} has no feature {feature!r}; it has: {', '.join(sorted(names))}"
        )


def _without(view: str, feature: str | None, stores: Stores) -> list[Broken]:
    """Models, versions and endpoints that need the view, or that feature of it."""
    asked = view if feature is None else f"{view}:{feature}"
    models = [name for name, spec in catalog.models().items() if _uses(spec, view, feature)]
    found = [Broken("model", name, f"its spec.yaml asks for {asked}") for name in models]
    versions = [v for v in _versions(stores) if view in v.views and _trained_on(v, view, feature, stores)]
    for version in versions:
        why = f"was trained on {view}@v{version.views[view]}"
        found.append(
            Broken("version", f"{version.model}@{version.version}", f"{why}{_alias(version, stores)}")
        )
    for model in dict.fromkeys(v.model for v in versions if _alias(v, stores) == f", {CHAMPION}"):
        found.append(Broken("endpoint", f"/v1/models/{model}/predictions", f"answers with {asked} missing"))
    return found


def _trained_on(version: Version, view: str, feature: str | None, stores: Stores) -> bool:
    if feature is None:
        return True
    return f"{view}__{feature}" in stores.tracking.inputs(version)


def _alias(version: Version, stores: Stores) -> str:
    for alias in (CHAMPION, PREVIOUS):
        named = stores.tracking.aliased(version.model, alias)
        if named is not None and named.version == version.version:
            return f", {alias}"
    return ""
