"""What can be said of a challenger whenever one looks, however often: e-processes.

Each starts at 1 and, as long as the challenger is within its limit, is at every moment no more than 1 on average,
whatever came before. That it ever rises above a level happens no more often than one in that level (Ville), so that
looking costs nothing: neither how often one looks nor when one stops changes the error rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.catalog import Limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

ODDS = (2.0, 7.0)
"""So many times the odds of the limit are betted on, all at once and equally: whichever is right earns."""
QUIET = 1
"""After a batch on which the two differed in failing, so many say nothing: what fails in a burst fails once."""
STAKES = (0.001, 0.004, 0.015, 0.06, 0.2, 0.5, 0.9)
"""Of what could be lost at once, so much is betted on a mean above its limit; all at once and equally."""
ERRORS, LATENCY, AGREEMENT, LOSS = "errors", "latency", "agreement", "loss"
TESTS = {ERRORS: 0.8, LATENCY: 0.08, AGREEMENT: 0.04, LOSS: 0.08}
"""Each test's part of the whole rollout's chance of an error: the first to speak has the most."""


@dataclass(frozen=True)
class Compared:
    """What both were asked, a batch at once, in the order in which they were. Each (batches,).

    Of a batch's questions the share on which the challenger `alone` failed, the `other` alone, and on which their
    answers `differ` among those that both gave (NaN where there are none). `times` is how many times as long the
    challenger took, NaN where one failed. What goes wrong at one moment does so for many: a batch speaks once.
    """

    alone: "NDArray[Any]"
    other: "NDArray[Any]"
    differ: "NDArray[Any]"
    times: "NDArray[Any]"


@dataclass(frozen=True)
class Lost:
    """How much more the challenger lost, in the order in which the truth became known. Each (hours,).

    `excess` is an hour's mean, `bound` how large it could have been either way, which the answers alone say.
    """

    excess: "NDArray[Any]"
    bound: "NDArray[Any]"


@dataclass(frozen=True)
class Finding:
    """What one test says. `evidence` is the largest that its e-process has been; from `level` on it is a breach.

    `at` is the number of the observation (a batch, an hour of truth) at which it became one, counted from 1.
    """

    test: str
    observations: int
    evidence: float
    level: float
    at: int | None
    explanation: str

    @property
    def breached(self) -> bool:
        return self.at is not None


def judged(limits: Limits, confidence: float, compared: Compared, lost: Lost | None) -> list[Finding]:
    """Every test that the limits ask for; together they are wrong no more often than `confidence` leaves."""
    level = {test: 1 / (part * (1 - confidence)) for test, part in TESTS.items()}
    found = [
        errors(limits, level[ERRORS], compared),
        latency(limits, level[LATENCY], compared),
    ]
    if limits.apart is not None:
        found.append(agreement(limits, level[AGREEMENT], compared))
    if limits.loss is not None and lost is not None:
        found.append(loss(limits.loss, level[LOSS], lost))
    return found


def errors(limits: Limits, level: float, compared: Compared) -> Finding:
    """It fails where the champion does not: more often than the other way round, and than the limit allows."""
    import numpy as np

    more, less = compared.alone > compared.other, compared.alone < compared.other
    one = _apart(more | less)
    # Two limits, and only who breaks both is taken back: the smaller evidence speaks.
    against = np.zeros(len(one))
    against[one] = np.diff(share_above(0.5, more[one]), prepend=0.0)
    both = np.minimum(np.cumsum(against), mean_above(limits.errors, compared.alone, 0.0))
    told = (
        f"it alone failed on {_share(compared.alone)} of the questions, the champion alone on {_share(compared.other)};"
        f" {limits.errors:.2%} are allowed"
    )
    return _finding(ERRORS, both, level, told)


def latency(limits: Limits, level: float, compared: Compared) -> Finding:
    """More often than not it takes longer than so many times the champion's time."""
    import numpy as np

    timed = compared.times[~np.isnan(compared.times)]
    median = f"{np.median(timed):.2f}" if len(timed) else "unknown"
    slow = timed > limits.slower
    told = (
        f"slower than {limits.slower:g} times the champion in {slow.sum():,} of {len(timed):,} batches,"
        f" median {median} times"
    )
    return _finding(LATENCY, share_above(0.5, slow), level, told)


def agreement(limits: Limits, level: float, compared: Compared) -> Finding:
    """It answers otherwise than the champion more often than is allowed."""
    import numpy as np

    differ = compared.differ[~np.isnan(compared.differ)]
    told = (
        f"further than {limits.apart:g} from the champion on {_share(differ)} of the questions;"
        f" {limits.disagreement:.2%} are allowed"
    )
    return _finding(AGREEMENT, mean_above(limits.disagreement, differ, 0.0), level, told)


def loss(allowed: float, level: float, lost: Lost) -> Finding:
    """It loses more than the champion by more than is allowed, now that the truth is there."""
    mean = f"{lost.excess.mean():+.4f}" if len(lost.excess) else "nothing yet"
    told = (
        f"loses {mean} more than the champion on average over {len(lost.excess):,} hours of truth;"
        f" {allowed:g} is allowed"
    )
    return _finding(LOSS, mean_above(allowed, lost.excess, -lost.bound), level, told)


def share_above(limit: float, hits: "NDArray[Any]") -> "NDArray[Any]":
    """Log of the e-process that hits come with a chance above `limit`, after each observation; (n,).

    Of each alternative chance the likelihood ratio to the limit: while the true chance is at most the limit, whatever
    came before, none of them grows on average.
    """
    import numpy as np

    ratios = np.array(ODDS)
    other = limit * ratios / (1 - limit + limit * ratios)
    hit, miss = np.log(other / limit), np.log((1 - other) / (1 - limit))
    bets = np.where(np.asarray(hits, dtype=bool)[:, None], hit, miss)
    return _mixed(np.cumsum(bets, axis=0))


def mean_above(limit: float, values: "NDArray[Any]", lowest: "NDArray[Any] | float") -> "NDArray[Any]":
    """Log of the e-process that values of at least `lowest` have a mean above `limit`, after each of them; (n,).

    A gambler who wins what a value lies above the limit, stakes a share of what it could take from him, and knows how
    low it can be before it is.
    """
    import numpy as np

    risk = np.maximum(np.broadcast_to(limit - np.asarray(lowest, dtype=float), len(values)), 1e-9)
    gain = np.maximum((values - limit) / risk, -1)
    return _mixed(np.cumsum(np.log1p(gain[:, None] * np.array(STAKES)), axis=0))


def _apart(hits: "NDArray[Any]") -> "NDArray[Any]":
    """Hits of which none comes within QUIET observations of the one before that counts."""
    import numpy as np

    kept, free = np.zeros(len(hits), dtype=bool), 0
    for place in map(int, np.flatnonzero(hits)):
        if place >= free:
            kept[place], free = True, place + 1 + QUIET
    return kept


def _share(values: "NDArray[Any]") -> str:
    """The mean over batches, for people."""
    return f"{values.mean():.2%}" if len(values) else "none"


def _mixed(logs: "NDArray[Any]") -> "NDArray[Any]":
    """Log of the mean over the bets (columns), row by row."""
    import numpy as np

    if not len(logs):
        return np.zeros(0)
    top = logs.max(axis=1)
    mixed: NDArray[Any] = top + np.log(np.exp(logs - top[:, None]).mean(axis=1))
    return mixed


def _finding(test: str, logs: "NDArray[Any]", level: float, told: str) -> Finding:
    import numpy as np

    above = np.flatnonzero(logs >= np.log(level))
    evidence = float(np.exp(min(logs.max(), 700.0))) if len(logs) else 1.0
    return Finding(
        test, len(logs), max(evidence, 1.0), level, int(above[0]) + 1 if len(above) else None, told
    )


def breached(findings: Sequence[Finding]) -> list[Finding]:
    """Those that end a rollout."""
    return [finding for finding in findings if finding.breached]
