"""Whether a classifier tells the rows of a window from those a model learned from: what moves between columns together.

Each column's own test is blind to a change of how columns go together, where each alone looks as before. A domain
classifier is not: it is shown rows of both sides, and asked of days that it has not seen which side they are of. How
well past windows of the reference can be told from the rest of it says what of that is ordinary. About a dozen past
windows rank an answer, and cannot promise a yearly rate of false alarms; so this informs, and asks for nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.contracts import DomainFinding
from pipelines.monitoring.drift.classifier import Classified, classified, sides
from pipelines.monitoring.drift.sketch import Kind

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

SIZES = (2000, 1000, 500, 200)
"""Rows of a side: the first of them that the window and enough past ones have, so that all are looked at alike."""
LEAST_DAYS = 3
PAST, LEAST_PAST = 12, 9


@dataclass(frozen=True)
class Rows:
    """Rows by place: the day of each (counted from 1970), and `take`, which gives those at some places as a frame.

    In the frame numbers are floats and categories texts, without the label and what tells the time.
    """

    days: "NDArray[np.int64]"
    take: "Callable[[NDArray[np.int64]], pd.DataFrame]"

    def on(self, days: "NDArray[np.int64]", most: int) -> "NDArray[np.int64]":
        """The places of at most so many rows of these days, always the same ones."""
        import numpy as np

        places = np.flatnonzero(np.isin(self.days, days))
        if len(places) <= most:
            return places
        return np.sort(np.random.default_rng(0).choice(places, most, replace=False))


@dataclass(frozen=True)
class Shape:
    """How a window is looked at: its newest days, so many, and so many rows of them."""

    days: int
    rows: int


def shape(old: Rows, new: Rows, window: int) -> Shape | str:
    """How a window of so many days is looked at, or why it cannot be judged.

    Where the reference has no room for nine past windows, fewer days are looked at, of the window and of each of them.
    """
    import numpy as np

    had, has = np.unique(old.days), np.unique(new.days)
    days = min(window, len(has), len(had) // LEAST_PAST)
    if days < LEAST_DAYS:
        needed = f"{LEAST_DAYS} and {LEAST_DAYS * LEAST_PAST} needed"
        return f"the window has rows of {len(has)} days and the training of {len(had)}, {needed}"
    there = int(np.isin(new.days, has[-days:]).sum())
    rows = sorted((int(np.isin(old.days, each).sum()) for each in _windows(had, days)), reverse=True)
    most = min(there, rows[LEAST_PAST - 1])
    sizes = [size for size in SIZES if size <= most]
    return Shape(days, sizes[0]) if sizes else f"{most:,} rows of {days} days, {SIZES[-1]} needed"


def _windows(days: "NDArray[np.int64]", length: int) -> "list[NDArray[np.int64]]":
    """Runs of so many days that follow one another, from the newest back; none shares a day with another."""
    return [days[end - length : end] for end in range(len(days), length - 1, -length)]


def past(old: Rows, kinds: Mapping[str, Kind], like: Shape) -> tuple[float, ...]:
    """The AUCs by which past windows of the reference are told from the rest of it, at most twelve of them."""
    import numpy as np

    runs = [
        run
        for run in _windows(np.unique(old.days), like.days)
        if np.isin(old.days, run).sum() >= like.rows and len(_far(old.days, run))
    ]
    chosen = np.unique(np.linspace(0, len(runs) - 1, PAST).round().astype(int))
    return tuple(_told(old, old, runs[place], kinds, like).auc() for place in chosen if runs)


def _far(days: "NDArray[np.int64]", run: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """The days that lie further from a run than it is long: those beside it share its weather."""
    import numpy as np

    known, length = np.unique(days), len(run)
    return np.asarray(known[(known < run[0] - length) | (known > run[-1] + length)])


def judged(
    old: Rows, new: Rows, kinds: Mapping[str, Kind], like: Shape, before: Sequence[float]
) -> DomainFinding:
    """Whether a window is told from the reference better than any window `before` was, and by which columns."""
    import numpy as np

    run = np.unique(new.days)[-like.days :]
    few = f"{len(before)} past windows of {like.days} days, {LEAST_PAST} needed"
    why = (
        few
        if len(before) < LEAST_PAST
        else ""
        if len(_far(old.days, run))
        else "no day of the training lies apart"
    )
    if why:
        return DomainFinding(days=like.days, rows=like.rows, why=why)
    found = _told(old, new, run, kinds, like)
    auc = found.auc()
    told = auc > max(0.5, *before)
    pvalue = (1 + sum(each >= auc for each in before)) / (1 + len(before))
    columns = found.named() if told else ()
    return DomainFinding(auc, tuple(before), pvalue, told, columns, like.days, like.rows)


def _told(
    old: Rows, new: Rows, run: "NDArray[np.int64]", kinds: Mapping[str, Kind], like: Shape
) -> Classified:
    """A classifier of the rows of a run of days, and of those of the reference's sample that lie far from it.

    The sample is the same for all runs, or what is by chance in one would be told of a run.
    """
    import numpy as np

    sample, now = old.on(np.unique(old.days), like.rows), new.on(run, like.rows)
    then = sample[np.isin(old.days[sample], _far(old.days, run))]
    days = np.concatenate([old.days[then], new.days[now]])
    return classified(sides(old.take(then), new.take(now), days, kinds))


def in_words(found: DomainFinding) -> str:
    """What a finding says, in words."""
    if found.auc is None:
        return f"all columns together are not judged: {found.why}"
    can = "can" if found.told else "cannot"
    most = f"{max(found.past):.2f} at most in {len(found.past)} past windows"
    by = f", by {', '.join(found.columns)}" if found.columns else ""
    told = f"by all columns together the newest rows {can} be told from those at training{by}"
    return f"{told} (AUC {found.auc:.2f}, {most})"
