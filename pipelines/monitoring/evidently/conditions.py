"""What Evidently's tests ask of the newest sample: what we ask, in its form, with the spec's `monitor.difference`."""

from collections.abc import Iterator
from typing import Any

from pipelines.catalog import ModelSpec
from pipelines.monitoring.drift.reference import LABEL
from pipelines.monitoring.watched import MISSING, Watched

LEVELS = 50
"""Of a column with more levels a sample cannot know which are new."""


def conditions(spec: ModelSpec, seen: Watched) -> list[Any]:
    """Per column: no more missing than at training and no new levels, and labels as often; beyond the difference."""
    least = spec.monitor.difference
    found: list[Any] = []
    for name, kind in seen.kinds.items():
        if name != LABEL:
            found += _numeric(seen, name, least) if kind == "numeric" else _levels(seen, name, least)
    return [*found, *_labels(spec, seen, least)]


def _numeric(seen: Watched, name: str, least: float) -> Iterator[Any]:
    from evidently.metrics import MissingValueCount
    from evidently.tests import lte

    then = float(seen.old[name].isna().mean())
    yield MissingValueCount(column=name, tests=[], share_tests=[lte(_at_most(then + least))])


def _levels(seen: Watched, name: str, least: float) -> Iterator[Any]:
    from evidently.metrics import CategoryCount, OutListValueCount
    from evidently.tests import lte

    then = float((seen.old[name] == MISSING).mean())
    if then or (seen.new[name] == MISSING).any():
        most = [lte(_at_most(then + least))]
        yield CategoryCount(column=name, category=MISSING, tests=[], share_tests=most)
    known = sorted(seen.old[name].unique())
    if len(known) <= LEVELS:
        yield OutListValueCount(
            column=name, values=[*known, MISSING], tests=[], share_tests=[lte(_at_most(least))]
        )


def _labels(spec: ModelSpec, seen: Watched, least: float) -> Iterator[Any]:
    from evidently.metrics import MeanValue
    from evidently.tests import gte, lte

    if spec.task == "classification" and seen.kinds.get(LABEL) == "numeric":
        then = float(seen.old[LABEL].mean())
        yield MeanValue(column=LABEL, tests=[gte(round(then - least, 4)), lte(_at_most(then + least))])


def _at_most(share: float) -> float:
    return round(min(share, 1.0), 4)
