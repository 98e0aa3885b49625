"""Versions that somebody deleted in MLflow, which the audit log still counts on: each is named with what to do."""

from collections.abc import Iterator

from pipelines.promotion import champions
from pipelines.stores import Stores


def missing(model: str, stores: Stores) -> list[str]:
    """What of champion, previous champion and anchor is not registered any more; nothing if all is there."""
    there = stores.tracking.numbers(model)
    return [
        f"{model} version {number}, {role}, is not registered in MLflow any more (deleted there?); {remedy}"
        for number, role, remedy in _needed(model, stores)
        if number not in there
    ]


def _needed(model: str, stores: Stores) -> Iterator[tuple[int, str, str]]:
    """Each version that the log counts on, its part, and the remedy should it be gone."""
    back = f'`evergreen rollback {model} --reason "..."`'
    champion, previous = champions.recorded(model, stores), champions.back(model, stores)
    if champion is not None:
        yield (
            champion,
            "the champion",
            f"serving answers on with it until it restarts, and could not load it again: {back}, or promote another",
        )
    if previous is not None:
        yield (
            previous,
            "what a rollback goes to",
            f"name another with {back[:-1]} --to N`, should one be needed",
        )
    for entry in stores.audit.entries(f"anchor:{model}", champions.PIN, limit=1):
        yield (
            int(entry.evidence["anchor"]),
            "the anchor",
            "the oldest champion that is left takes its place with the next promotion or rollback, "
            f"or pin one: `evergreen pin {model}@N`",
        )
