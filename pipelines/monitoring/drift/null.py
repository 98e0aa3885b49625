"""How far ordinary weeks of the reference lie from the whole of it: what a difference has to beat.

Rows of a day are alike (one storm is one thing that happened, not a thousand), and so are days that follow one another.
So past windows are held against the reference as a new one would be, and what they differ by more than as many
independent rows would is added to the variance of the test. A few weeks tell that badly for one direction of one
column, so what they tell is drawn towards what is usual among all (Smyth's moderated variances, 2004).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pipelines.monitoring.drift.seasons import Groups, runs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_DF = 200.0
LEAST_DAYS = 5
UNKNOWN, UNKNOWN_DF = 2.0, 30.0
"""What is taken where a reference has fewer days: that rows vary as half as many independent ones would."""


@dataclass(frozen=True)
class Spread:
    """What past windows of one column show.

    In each direction: how much more than independent rows they vary (`inflation`), how alike windows are that follow
    one another (`memory`, a correlation), and on how many degrees of freedom that rests (`df`). `independent` is the
    variance of as many independent rows (0: that of whatever is looked at), and `windows` how many of them the
    history has room for.
    """

    inflation: "NDArray[np.float64]"
    memory: "NDArray[np.float64]"
    df: "NDArray[np.float64]"
    independent: float
    windows: float


def spread(
    values: "NDArray[np.float64]", rows: "NDArray[np.float64]", days: int, groups: Groups | None = None
) -> Spread:
    """From the mean of each day in each direction, (days, directions), and the rows of each day: of windows of `days`.

    Where the history has fewer than five windows, shorter ones stand for them: they vary more, so it errs on the side
    of silence. Days are apart from the mean of their group, if there are `groups` of those that have rows: a mean fits
    its own days, so windows vary by more than they seem to.
    """
    import numpy as np

    there = rows > 0
    values, rows = values[there], rows[there]
    if len(rows) < LEAST_DAYS:
        ones = np.ones(values.shape[1])
        return Spread(UNKNOWN * ones, 0 * ones, UNKNOWN_DF * ones, 0.0, 1.0)
    length = max(1, min(days, len(rows) // 5))
    many = runs(rows[:, None], length)
    whole = (values * rows[:, None]).sum(axis=0) / rows.sum()
    apart = runs(values * rows[:, None], length) / many - whole
    windows, independent = len(rows) / length, float((1 / many).mean())
    fitted = groups.fitted(length) if groups else 1 / windows
    raw = (apart**2).mean(axis=0) / independent
    memory = np.where(
        raw > 1, _memory(apart, length, fitted), 0.0
    )  # of what varies less than chance there is none
    share = np.maximum(1 - longer(memory) * fitted, LEAST_SHARE)
    inflation = raw / share
    df = np.maximum(windows * (1 - fitted) * (1 - memory**2) / (1 + memory**2), 1.0)
    return Spread(inflation, memory, df, independent, windows)


LEAST_SHARE = 0.2
MOST_MEMORY = 0.9


def _memory(apart: "NDArray[np.float64]", length: int, fitted: float) -> "NDArray[np.float64]":
    """The correlation of windows that follow one another, less what a mean that fits them makes it too small by."""
    import numpy as np

    if len(apart) <= length:
        return np.zeros(apart.shape[1])
    together = (apart[length:] * apart[:-length]).mean(axis=0)
    found = together / np.maximum((apart**2).mean(axis=0), 1e-300)
    return np.asarray(np.clip(found + (1 + 3 * found) * fitted, 0.0, MOST_MEMORY))


def longer(memory: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """As how many independent windows one counts, in what a mean of many of them is sure of."""
    return (1 + memory) / (1 - memory)


@dataclass(frozen=True)
class Usual:
    """What is usual in one direction among all columns: inflation, as how many degrees of freedom, and memory."""

    inflation: float = 1.0
    df: float = 0.0
    memory: float = 0.0


def usual(
    inflation: "NDArray[np.float64]", df: "NDArray[np.float64]", memory: "NDArray[np.float64]"
) -> Usual:
    """The scaled-F distribution that inflations of one direction come from, by moments of their logarithms."""
    import numpy as np
    from scipy.special import digamma, polygamma

    known = (df > 0) & (inflation > 0)
    df, logs = df[known], np.log(inflation[known])
    if len(logs) < 3:
        return Usual(memory=float(memory[known].mean()) if len(logs) else 0.0)
    logs = logs - digamma(df / 2) + np.log(df / 2)
    excess = float(logs.var(ddof=1) - polygamma(1, df / 2).mean())
    prior = min(2 * _inverse_trigamma(excess) if excess > 0 else MOST_DF, MOST_DF)
    middle = float(np.exp(logs.mean() + digamma(prior / 2) - np.log(prior / 2)))
    return Usual(middle, prior, float(memory[known].mean()))


def _inverse_trigamma(value: float) -> float:
    """The x of which trigamma is the value, by Newton's method on its reciprocal."""
    from scipy.special import polygamma

    found = 0.5 + 1 / value
    for _ in range(50):
        at = float(polygamma(1, found))
        step = at * (1 - at / value) / float(polygamma(2, found))
        found += step
        if abs(step) < 1e-9 * found:
            break
    return found


def moderated(own: Spread, among: "list[Usual]") -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """A column's inflation in each direction drawn towards what is usual, never below 1, and its degrees of freedom."""
    import numpy as np

    prior, middle = (np.asarray([getattr(each, name) for each in among]) for name in ("df", "inflation"))
    df = own.df + prior
    drawn = (own.df * own.inflation + prior * middle) / np.maximum(df, 1e-9)
    return np.maximum(drawn, 1.0), np.clip(df, 1.0, MOST_DF)


@dataclass(frozen=True)
class Past:
    """What past windows of some length show: the spread of each test of each column, whose directions are `towards`.

    What is usual is so among these columns and those of another reference, which is `like` it.
    """

    spreads: Mapping[tuple[str, str], Spread]
    towards: Mapping[str, Sequence[str]]
    like: "Past | None" = None

    @cached_property
    def _usual(self) -> dict[tuple[str, str], Usual]:
        """What is usual among all columns, by family and direction."""
        import numpy as np

        found = dict[tuple[str, str], list[tuple[float, float, float]]]()
        for past in [self] if self.like is None else [self, self.like]:
            for (name, family), own in past.spreads.items():
                for place, towards in enumerate(past.towards[name]):
                    each = (own.inflation[place], own.df[place], own.memory[place])
                    found.setdefault((family, towards), []).append(each)
        return {key: usual(*np.asarray(each).T) for key, each in found.items()}

    def usual(self, name: str, family: str) -> list[Usual]:
        """What is usual in each direction of a column."""
        return [self._usual[family, towards] for towards in self.towards[name]]

    def longer(self, name: str, family: str) -> "NDArray[np.float64]":
        """As how many independent windows one counts in each direction, in what a mean of many is sure of."""
        import numpy as np

        own = self.spreads[name, family].memory
        return longer(np.maximum(own, [each.memory for each in self.usual(name, family)]))
