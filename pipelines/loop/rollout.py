"""The steps of a rollout as a scheduler calls them."""

from typing import Any

from pipelines import catalog
from pipelines.contracts import EvergreenError, Promotion, as_json
from pipelines.loop.costs.measured import accounted
from pipelines.loop.steps import clock, moment, stores
from pipelines.stores.audit import events
from pipelines.stores.watching.costs import MODEL


@accounted(MODEL, "rollout")
def look(model: str, now: str | None = None, since: str | None = None) -> dict[str, Any]:
    """Look at the version that is being rolled out, and take the step that follows; NothingToDo if there is none.

    `ended` says whether it has ended; one that did no earlier than `since` is told again.
    """
    from pipelines.record import card
    from pipelines.rollout.look import PROMOTED
    from pipelines.rollout.look import look as looked

    spec, shared = catalog.model(model), stores()
    found = looked(spec, shared, clock(now), moment(since))
    if found.outcome == PROMOTED:
        events.witnessed(model, shared)
        card.moved(spec, Promotion(model, True, found.version, found.champion, found.reason), shared)
    return dict(as_json(found)) | {"ended": found.ended}


def end(found: dict[str, Any]) -> str:
    """How a rollout ended, for whoever waits for it; EvergreenError if the version was taken back."""
    step = f"step {found['step']} of {found['steps']}"
    said = f"{found['model']} version {found['version']}: {found['outcome']} in {step}"
    if found["outcome"] != "promoted":
        raise EvergreenError(f"{said}; version {found['champion']} answers everybody. {found['reason']}")
    return said
