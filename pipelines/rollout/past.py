"""Every rollout that a model had, as the audit log tells it."""

from pipelines.monitoring.arms import Span
from pipelines.rollout.moves import COMPLETE, RUNNING, running_of, subject
from pipelines.stores import Stores


def spans(model: str, stores: Stores) -> list[Span]:
    """From when to when each was asked beside which champion, the oldest first."""
    found: dict[str, Span] = {}
    for entry in stores.audit.entries(subject(model)):
        said = running_of(entry)
        ended = None if entry.action in RUNNING else entry.at
        found[said.rollout] = Span(
            said.rollout, said.champion, said.version, said.begun, ended, entry.action == COMPLETE
        )
    return list(found.values())
