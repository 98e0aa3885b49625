"""How far the features that a model takes have come: a training does not ask beyond."""

import re
from datetime import datetime

from pipelines.catalog import ModelSpec, datasets
from pipelines.contracts import IngestResult, Waiting
from pipelines.stores import Stores
from pipelines.stores.views import ViewVersion


def sources_of(query: str) -> set[str]:
    """The datasets that a feature's SQL reads."""
    return set(re.findall(r"\b(?:from|join)\s+(\w+)", query)) & set(datasets())


def frontier(spec: ModelSpec, as_of: datetime, stores: Stores) -> datetime:
    """The moment up to which every view of the model holds what has landed; `as_of` at most.

    Waiting while a view was never computed, or lacks a landed batch that says something of before that moment: rows
    would be joined with features that are about to change, or are not there. The features run that takes the batch
    wakes the training again.
    """
    newest = {version.view: version for version in stores.features.registered.versions()}
    wanted = {name.split(":")[0] for name in spec.features}
    reached = {view: _reached(spec, newest.get(view), stores) for view in wanted}
    end = min([as_of, *reached.values()])
    landed = stores.ledger.batches()
    for view in sorted(wanted):
        missing = _missing(newest[view], landed, end, stores)
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


def _missing(
    version: ViewVersion, landed: list[IngestResult], end: datetime, stores: Stores
) -> list[IngestResult]:
    """The batches known before `end` that a view has not counted."""
    sources, seen = sources_of(version.sql), stores.progress.consumed(version.consumer)
    return [
        batch
        for batch in landed
        if batch.dataset in sources and batch.state.taken and batch.arrival not in seen
        and batch.first_known is not None and batch.first_known <= end
    ]  # fmt: skip
