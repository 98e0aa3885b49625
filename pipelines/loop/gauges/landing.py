"""Numbers of what landed and of the features made of it."""

from collections.abc import Iterator
from datetime import datetime

from pipelines import catalog
from pipelines.contracts import BatchState
from pipelines.loop.gauges.names import Sample
from pipelines.stores.feature_store.views import Views, ViewVersion
from pipelines.stores.watching.totals import Landed, Totals

NOTHING = Landed({}, dict.fromkeys(("silver", "quarantined", "superseded"), 0), None, None)


def datasets(totals: Totals) -> Iterator[Sample]:
    """How far each dataset has come, and where its files and rows are."""
    landed, unopened = totals.landed(), totals.unopened()
    for name in catalog.datasets():
        found = landed.get(name, NOTHING)
        yield from _moment("dataset_newest_timestamp_seconds", (name,), found.newest)
        yield from _moment("dataset_arrived_timestamp_seconds", (name,), found.arrived)
        for state in BatchState:
            yield Sample("dataset_files", (name, state.value), found.files.get(state.value, 0))
        for place, rows in found.rows.items():
            yield Sample("dataset_rows", (name, place), rows)
    for name in {*catalog.datasets(), *unopened}:
        yield Sample("dataset_unopened_files", (name,), unopened.get(name, 0))


def patience() -> Iterator[Sample]:
    """How late each dataset that grows may be, by the least patient of the models that read it."""
    for name, spec in catalog.datasets().items():
        known = catalog.models()
        waits = [known[model].training.patience for model in catalog.models_on(name) if model in known]
        if waits and not spec.reference:
            yield Sample("dataset_patience_seconds", (name,), min(waits).total_seconds())


def views(totals: Totals, registered: Views) -> Iterator[Sample]:
    """How far the newest version of each feature view is computed."""
    newest = {version.view: version for version in registered.versions()}
    reached, landed = totals.reached(), totals.landed()
    for version in newest.values():
        known = reached.get(version.consumer)
        labels = (version.view, str(version.number))
        yield from _moment("view_known_timestamp_seconds", labels, known)
        there = _there(version, landed)
        if known is not None and there is not None:
            behind = max(0.0, (there - known).total_seconds())
            yield Sample("view_behind_seconds", labels, behind)


def _there(version: ViewVersion, landed: dict[str, Landed]) -> datetime | None:
    """The moment up to which all growing datasets of a view have landed; None if of one nothing has."""
    growing = [name for name in version.sources if not catalog.datasets()[name].reference]
    newest = [landed.get(name, NOTHING).newest for name in growing]
    known = [moment for moment in newest if moment is not None]
    return min(known) if known and len(known) == len(newest) else None


def _moment(name: str, labels: tuple[str, ...], moment: datetime | None) -> Iterator[Sample]:
    if moment is not None:
        yield Sample(name, labels, moment.timestamp())
