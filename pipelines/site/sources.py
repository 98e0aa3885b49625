"""Datasets and feature views, and how fresh each is."""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from pipelines import catalog
from pipelines.contracts import BatchState
from pipelines.site.facts import DatasetFacts, Held, ViewFacts
from pipelines.stores import Stores
from pipelines.stores.feature_store.health import Health, ViewHealth
from pipelines.stores.feature_store.views import Views, ViewVersion
from pipelines.stores.watching.totals import Landed, Totals

NOTHING = Landed({}, {}, None, None)
HELD = 20
"""So many of the newest batches that hold rows back are shown."""


def datasets(stores: Stores, names: Iterable[str]) -> tuple[DatasetFacts, ...]:
    """These datasets, each with what became of its files and rows."""
    landed = Totals(stores.settings.database).landed()
    return tuple(_dataset(name, landed.get(name, NOTHING)) for name in names)


def _dataset(name: str, found: Landed) -> DatasetFacts:
    spec = catalog.dataset(name)
    return DatasetFacts(
        name=name,
        owner=spec.owner,
        reference=spec.reference,
        files=sum(found.files.values()),
        refused=found.files.get(BatchState.REFUSED.value, 0),
        silver=found.rows.get("silver", 0),
        quarantined=found.rows.get("quarantined", 0),
        newest=found.newest,
        arrived=found.arrived,
        models=catalog.models_on(name),
    )


def views(stores: Stores, names: Iterable[str] | None = None) -> tuple[ViewFacts, ...]:
    """These views, or all that are registered, as they were computed last; Feast itself is not loaded."""
    registered = {
        each.view: each for each in Views(stores.settings.database).versions()
    }  # the newest is last
    health = {(each.view, each.version): each for each in Health(stores.settings.database).latest()}
    found = []
    for name in sorted(registered) if names is None else names:
        version = registered.get(name)
        found.append(_view(name, version, health.get((name, version.number)) if version else None))
    return tuple(found)


def _view(name: str, version: ViewVersion | None, health: ViewHealth | None) -> ViewFacts:
    said: dict[str, Any] = json.loads(version.definition).get("spec", {}) if version else {}
    seconds = float(str(said.get("ttl", "0s")).removesuffix("s"))
    return ViewFacts(
        name=name,
        version=version.number if version else None,
        owner=said.get("owner", ""),
        description=said.get("description", ""),
        sources=tuple(sorted(version.sources)) if version else (),
        features=tuple(each["name"] for each in said.get("features", ())),
        models=catalog.models_with(name),
        lives=timedelta(seconds=seconds) if seconds else None,
        **(_computed(health) if health else {}),
    )


def _computed(health: ViewHealth) -> dict[str, Any]:
    return {
        "as_of": health.as_of,
        "computed": health.recorded_at,
        "freshness": health.freshness,
        "rows": health.total,
        "state": state(health),
    }


def held(stores: Stores, names: Iterable[str]) -> tuple[Held, ...]:
    """The newest batches of these datasets that wait for a person, newest first."""
    from pipelines.ingestion.quarantine import held as waiting
    from pipelines.ingestion.quarantine import reasons

    found = [each for name in names for each in waiting(stores, name)][::-1][:HELD]
    why = {name: reasons(name, stores) for name in {each.dataset for each in found if each.quarantined}}
    return tuple(
        Held(each.digest, each.dataset, each.name, each.state.value, each.quarantined, said)
        for each in found
        for said in [each.reason or why.get(each.dataset, {}).get(each.digest, "")]
    )


def state(health: ViewHealth) -> str:
    """In a word, how a run ended; the same words as on the page Features."""
    if health.refused:
        return "refused"
    if health.failed:
        return "warning"
    return "healthy" if health.checks else "unchecked" if health.rows else "nothing new"
