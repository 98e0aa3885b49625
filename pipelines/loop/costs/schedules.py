"""Schedules that train and never win: what the trainings cost, and what once a week would have saved."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.gate.record import VERDICT
from pipelines.loop.costs.findings import Asked, Finding, said, seconds
from pipelines.promotion import champions
from pipelines.stores import Stores
from pipelines.stores.signals import Training
from pipelines.stores.tracking.registry import CHALLENGER
from pipelines.stores.watching.costs import MODEL, Figure

WASTEFUL = "wasteful schedule"
WEEK = timedelta(days=7)
LEADING = {"plan", "training_set", "search", "train", "rebuild", "evaluate", "report", "submit"}
"""The steps from a reason to train to a verdict and its page."""


def findings(figures: list[Figure], stores: Stores, asked: Asked) -> Iterator[Finding]:
    """One for each model of whose last judged trainings none became champion, by the audit log."""
    for name, spec in catalog.models().items():
        lost = _lost(name, asked.trainings, stores)
        if len(lost) == asked.trainings:
            yield _finding(spec, lost, by_version(name, figures), stores)


def _lost(model: str, most: int, stores: Stores) -> list[Training]:
    """The newest judged trainings, back to the one that made a champion; one that is being rolled out has not lost."""
    won = {tenure.version for tenure in champions.tenures(model, stores)}
    found: list[Training] = []
    verdicts = _verdicts(model, stores)
    for training in stores.signals.ended(model):
        if training.version in won or len(found) == most:
            break
        if training.version in verdicts and training.version not in {each.version for each in found}:
            found.append(training)
    return found


def _verdicts(model: str, stores: Stores) -> dict[int, str]:
    """What the gate said of each version, without the one that is being rolled out."""
    running = stores.tracking.named(model, CHALLENGER)
    found = stores.tracking.versions(model)
    return {
        each.version: each.tags[VERDICT] for each in found if VERDICT in each.tags and each.version != running
    }


def by_version(model: str, figures: Sequence[Figure]) -> dict[int, list[Figure]]:
    """What led to each version: its own figures, and those before them in the same run that name no version."""
    found, open_ = dict[int, list[Figure]](), dict[str, list[Figure]]()
    for figure in sorted(figures, key=lambda each: each.began_at):
        if (figure.kind, figure.subject) == (MODEL, model) and figure.stage in LEADING:
            before = open_.setdefault(figure.run, [])
            before.append(figure)
            if figure.version is not None:
                found.setdefault(figure.version, []).extend(open_.pop(figure.run))
    return found


def weekly(trainings: Sequence[Training]) -> list[Training]:
    """Those that there would have been with a week between one and the next."""
    kept: list[Training] = []
    for training in sorted(trainings, key=lambda each: each.planned_at):
        if not kept or training.planned_at - kept[-1].planned_at >= WEEK:
            kept.append(training)
    return kept


def _finding(
    spec: ModelSpec, lost: list[Training], costs: dict[int, list[Figure]], stores: Stores
) -> Finding:
    verdicts, kept = _verdicts(spec.name, stores), weekly(lost)
    cost = {each.key: seconds(costs.get(each.version or 0, ())) for each in lost}
    measured = sum(bool(costs.get(each.version or 0)) for each in lost)
    saves = sum(cost[each.key] for each in lost if each not in kept)
    counts = [verdicts[each.version or 0] for each in lost]
    told = ", ".join(f"{counts.count(each)} {each}" for each in sorted(set(counts)))
    return Finding(
        WASTEFUL,
        (spec.name,),
        f"none of the last {len(lost)} trainings of {spec.name} became champion ({told}; versions"
        f" {lost[-1].version} to {lost[0].version}, planned {lost[-1].planned_at:%Y-%m-%d} to"
        f" {lost[0].planned_at:%Y-%m-%d}); the {measured} that were measured cost {said(sum(cost.values()))}, and"
        f" once a week would have been {len(kept)} and would have saved {said(saves)}",
        _remedy(spec, len(kept) < len(lost)),
        saves if measured else None,
    )


def _remedy(spec: ModelSpec, often: bool) -> str:
    schedule, pause = catalog.place(spec, "schedule"), catalog.place(spec, "training", "cool_down")
    if not often:
        return f"{schedule}: let `schedule` tick once a month; decay starts a training whatever it says"
    return (
        f'{schedule}: let `schedule` tick once a week, such as "0 6 * * 1", and {pause}: `cool_down: 7d` under'
        " training, so that data events wait for it"
    )
