"""Stages that wait more than they work, and stages that import more than they compute."""

from collections.abc import Iterator
from statistics import median

from pipelines.loop.costs.findings import Finding, said, seconds
from pipelines.loop.costs.shares import NOBODY, Users, shares
from pipelines.stores.watching.costs import FAILED, OK, SERVE, SERVE_IDLE, Figure

WAITS, IMPORTS = "waiting stage", "importing stage"
FEWEST, LEAST_SECONDS, BUSY = 3, 10.0, 0.3
"""A stage waits if in so many runs and seconds or more its processors worked for at most this share of the time."""
MODULES = 500
"""Who imports so many has paid for a library such as MLflow or Feast."""


def findings(figures: list[Figure], known: Users) -> Iterator[Finding]:
    """Of the steps alone: serving is there to wait for questions."""
    groups: dict[tuple[str, str], list[Figure]] = {}
    for figure in figures:
        if figure.outcome in (OK, FAILED) and figure.stage not in (SERVE, SERVE_IDLE):
            groups.setdefault((figure.stage, figure.subject), []).append(figure)
    for (stage, subject), group in groups.items():
        models = tuple(sorted({m for each in group for m in shares(each, known) if m != NOBODY}))
        yield from _waits(f"{stage} {subject}".strip(), group, models)
        yield from _imports(f"{stage} {subject}".strip(), group, models)


def _waits(name: str, group: list[Figure], models: tuple[str, ...]) -> Iterator[Finding]:
    runs, wall, cpu = sum(f.runs for f in group), sum(f.wall for f in group), seconds(group)
    if runs >= FEWEST and wall >= LEAST_SECONDS and cpu <= BUSY * wall:
        yield Finding(
            WAITS,
            models,
            f"{name}: {runs} runs since {group[0].began_at:%Y-%m-%d} took {wall:,.0f} s and {said(cpu)}: the rest is"
            " waiting for a lock, a disk, a network, or a process that is none of its children",
            "nothing in a spec.yaml: see in the task's log what it waited for; fewer tasks at once wait less",
        )


def _imports(name: str, group: list[Figure], models: tuple[str, ...]) -> Iterator[Finding]:
    single = [figure for figure in group if figure.outcome == OK]
    cold = [figure.cpu for figure in single if figure.imported >= MODULES]
    warm = [figure.cpu for figure in single if figure.imported < MODULES]
    if len(cold) >= FEWEST and warm and median(cold) >= 2 * median(warm):
        more = (median(cold) - median(warm)) * len(cold)
        yield Finding(
            IMPORTS,
            models,
            f"{name}: {len(cold)} runs imported {MODULES} modules or more and took {median(cold):,.1f} CPU s at the"
            f" median, {len(warm)} that found them imported {median(warm):,.1f}; the imports cost {said(more)}",
            "nothing in a spec.yaml: let Airflow run it, whose tasks are forked with the libraries imported"
            " (plugins/airflow_local_settings.py)",
            more,
        )
