"""How far the features that a model takes have come: a training does not ask beyond."""

from collections.abc import Iterable
from datetime import datetime

from pipelines.catalog import ModelSpec
from pipelines.contracts import IngestResult, Waiting
from pipelines.stores import Stores
from pipelines.stores.feature_store.views import ViewVersion


def frontier(spec: ModelSpec, as_of: datetime, stores: Stores) -> datetime:
    """The moment up to which every view of the model holds what has landed; `as_of` at most.

    Waiting while a view was never computed, or lacks a landed batch that says something of before that moment: rows
    would be joined with features that are about to change, or are not there. The features run that takes the batch
    wakes the training again.
    """
    newest = {version.view: version for version in stores.features.registered.versions()}
    wanted = spec.features_by_view
    reached = {view: _reached(spec, newest.get(view), stores) for view in wanted}
    end = min([as_of, *reached.values()])
    landed = stores.ledger.batches()
    for view in sorted(wanted):
        missing = [
            b for b in uncounted(newest[view], landed, stores) if b.first_known and b.first_known <= end
        ]
        if missing:
            raise Waiting(
                f"{spec.name}: {len(missing)} landed batches are not in the features of {view} yet, such as "
                f"{missing[0].name}; the features run that takes them wakes the training (`evergreen features compute`)"
            )
    return end


def _reached(spec: ModelSpec, version: ViewVersion | None, stores: Stores) -> datetime:
    reached = stores.progress.reached(version.consumer) if version else None
    if reached is None:
        raise Waiting(f"{spec.name}: its features were never computed; run `evergreen features compute`")
    return reached


def uncounted(version: ViewVersion, landed: Iterable[IngestResult], stores: Stores) -> list[IngestResult]:
    """Of the landed batches those of a view's datasets that it has not counted yet."""
    sources, seen = version.sources, stores.progress.consumed(version.consumer)
    return [
        batch
        for batch in landed
        if batch.dataset in sources and batch.state.taken and batch.arrival not in seen
    ]
