"""The domain classifier held against worlds in which two columns begin to go together, and against quiet ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.contracts import DomainFinding, Say
from pipelines.monitoring.drift.domain import Rows, judged, past, shape
from pipelines.monitoring.drift.reference import Reference
from pipelines.monitoring.drift.verdict import look
from pipelines.prove.drift.worlds import LABEL, TIED, Day, Shift, World, together

TOGETHER = Shift(tied=0.8)
DOUBT = 0.001
"""More quiet worlds are told falsely, by the rank of an answer among past windows, in one proof of a thousand."""
Begun = tuple[World, Sequence[Day], Reference]


@dataclass(frozen=True)
class Tried:
    """What was said of a quiet week of a world, and of one in which two columns go together: by the classifier, and
    whether also by a test of their own."""

    quiet: DomainFinding
    tied: DomainFinding
    own: bool


def told(
    begun: Iterable[Begun], worlds: int, window: int, rule: tuple[float, float], say: Say, failures: list[str]
) -> dict[str, Any]:
    """In how many worlds a week of columns that go together is told, and how many quiet weeks are; by tests of columns
    that have `rule` (false alarms, least distance). Breaches of the promise are added to the failures."""
    tried = list[Tried]()
    for each in begun:
        tried.append(_tried(*each, window, rule))
        caught, false = sum(each.tied.told for each in tried), sum(each.quiet.told for each in tried)
        say(
            f"world {len(tried)} of {worlds}: columns that go together were told in {caught}, quiet ones in {false}"
        )
    failures += breaches(tried)
    return {
        "what": f"two columns whose correlation becomes {TOGETHER.tied}, by all columns together",
        "caught": f"{sum(each.tied.told for each in tried)} of {len(tried)}",
        "by their own tests": sum(each.own for each in tried),
        "alarms": sum(each.quiet.told for each in tried),
        "of": f"{len(tried)} quiet weeks",
    }


def _tried(
    world: World, known: Sequence[Day], reference: Reference, window: int, rule: tuple[float, float]
) -> Tried:
    first = len(known)
    quiet = [world.day(day) for day in range(first, first + window)]
    tied = [world.day(day, TOGETHER, first + window) for day in range(first + window, first + 2 * window)]
    names = {world.names[place] for place in TIED}
    found = look(reference, together([each.sketches() for each in tied]), *rule)
    own = any(each.moved and each.column in names for each in found)
    on_quiet, on_tied = _judged(known, [quiet, tied], window)
    return Tried(on_quiet, on_tied, own)


def _judged(known: Sequence[Day], weeks: Sequence[Sequence[Day]], window: int) -> list[DomainFinding]:
    """What the classifier says of each week."""
    kinds = {name: kind for name, kind in known[0].kinds.items() if name != LABEL}
    old, *news = (_rows(days) for days in (known, *weeks))
    like = shape(old, news[0], window)
    if isinstance(like, str):
        return [DomainFinding(why=like) for _ in news]
    before = past(old, kinds, like)
    return [judged(old, new, kinds, like, before) for new in news]


def _rows(days: Sequence[Day]) -> Rows:
    import numpy as np
    import pandas as pd

    frame = pd.concat([pd.DataFrame(dict(each.rows)) for each in days], ignore_index=True)
    return Rows(
        np.repeat([each.day for each in days], [len(each.rows[LABEL]) for each in days]),
        frame.iloc.__getitem__,
    )


def breaches(tried: Sequence[Tried]) -> list[str]:
    """Of the promise: half of what goes together is told, and of nothing no more than its rank allows by chance."""
    from scipy.stats import binom

    worlds, said = len(tried), []
    if not tried or any(each.quiet.pvalue is None or each.tied.pvalue is None for each in tried):
        return ["all columns together were not judged"]
    caught, false = sum(each.tied.told for each in tried), sum(each.quiet.told for each in tried)
    if 2 * caught < worlds:
        said.append(f"columns that go together were told in {caught} of {worlds} worlds, half were promised")
    most = int(binom.isf(DOUBT, worlds, 1 / (1 + min(len(each.quiet.past) for each in tried))))
    if false > most:
        said.append(
            f"all columns together were told in {false} of {worlds} quiet weeks, {most} may be by chance"
        )
    return said
