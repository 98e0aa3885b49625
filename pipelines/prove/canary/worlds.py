"""Canaries that never were: questions to two models whose difference is known, and the truth that comes for them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.catalog import Limits
from pipelines.rollout.evidence import LATENCY, LOSS, Compared, Lost, judged
from pipelines.rollout.look import excess

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIMITS = Limits(errors=0.001, slower=1.5, apart=0.2, disagreement=0.1, loss=0.01)
BATCH = 4
"""Questions that are compared at once: as many as come within a second where four are asked."""
HOUR = 50
"""Questions whose truth becomes known in the same hour."""
MATURITY = 500
"""Questions that come between one and its truth."""


@dataclass(frozen=True)
class World:
    """Two models. `shift` is how far, in log odds, the challenger is wrong; `times` how many times as long it takes.

    What fails does so for `burst` questions in a row.
    """

    champion_errors: float = 0.02
    challenger_errors: float = 0.02
    times: float = 1.0
    shift: float = 0.0
    burst: int = 1
    at_the_limit: bool = False
    limits: Limits = LIMITS


@dataclass(frozen=True)
class Canary:
    """What one canary saw. `failed` is each question's failure in the one arm that answered it, `challenger` which."""

    limits: Limits
    compared: Compared
    lost: Lost
    failed: "NDArray[Any]"
    challenger: "NDArray[Any]"


def drawn(world: World, questions: int, rng: "np.random.Generator") -> Canary:
    """A canary of so many questions, rounded down to whole hours, half of which each arm answers."""
    import numpy as np

    many = questions // (HOUR * BATCH) * HOUR * BATCH
    one, other = (
        _failed(share, world.burst, many, rng) for share in (world.champion_errors, world.challenger_errors)
    )
    truth, champion, challenger = _answers(world, many, rng)
    more, bound = excess("classification", champion, challenger, truth)
    apart = np.abs(champion - challenger) > (world.limits.apart or 1.0)
    times = _times(world, many // BATCH, rng)
    if world.at_the_limit:  # each test's limit exactly: nothing worse is still allowed
        apart = rng.random(many) < world.limits.disagreement
        more = (world.limits.loss or 0.0) + rng.choice([-0.2, 0.2], many)
        bound = np.full(many, 0.2 + (world.limits.loss or 0.0))
        times = world.limits.slower * np.where(rng.random(len(times)) < 0.5, 2, 0.5)
    mine = rng.random(many) < 0.5
    alone, others, differ = (_by(BATCH, values) for values in (other & ~one, one & ~other, apart))
    compared = Compared(alone, others, differ, np.where(_by(BATCH, one | other) > 0, np.nan, times))
    lost = Lost(_by(HOUR, more), _by(HOUR, bound))
    return Canary(world.limits, compared, lost, np.where(mine, other, one), mine)


def _by(size: int, values: "NDArray[Any]") -> "NDArray[Any]":
    """The mean of each so many."""
    import numpy as np

    return np.asarray(values.reshape(-1, size).mean(axis=1))


def _failed(share: float, burst: int, questions: int, rng: "np.random.Generator") -> "NDArray[Any]":
    """Which questions a model fails on: a share of them, so many in a row."""
    import numpy as np

    begins = rng.random(questions) < share / burst
    return np.convolve(begins, np.ones(burst))[:questions] > 0


def _answers(
    world: World, questions: int, rng: "np.random.Generator"
) -> "tuple[NDArray[Any], NDArray[Any], NDArray[Any]]":
    """Truth, and what two models say that know it equally well but not the weather of the hour."""
    import numpy as np
    from scipy.special import expit

    known = rng.normal(-1.2, 1.0, questions)
    weather = np.repeat(rng.normal(0, 0.5, questions // HOUR + 1), HOUR)[:questions]
    said = [known + rng.normal(0, 0.3, questions) for _ in range(2)]
    truth = rng.random(questions) < expit(known + weather)
    return truth.astype(float), expit(said[0]), expit(said[1] + world.shift)


def _times(world: World, batches: int, rng: "np.random.Generator") -> "NDArray[Any]":
    """How many times as long the challenger took for each batch.

    Each model's time has a long tail; one batch in fifty meets a pause of a tenth of a second.
    """
    import numpy as np

    took = 0.02 * np.exp(rng.normal(0, 0.4, (2, batches))) + 0.1 * (rng.random((2, batches)) < 0.02)
    return np.asarray(world.times * took[1] / took[0])


def taken_back(canary: Canary, confidence: float) -> tuple[int | None, str]:
    """After how many questions the product's own tests take it back, and which did; None if never."""
    found = [
        (_question(canary, finding.test, finding.at), finding.test)
        for finding in judged(canary.limits, confidence, canary.compared, canary.lost)
        if finding.at is not None
    ]
    return min(found) if found else (None, "")


def _question(canary: Canary, test: str, at: int) -> int:
    """How many questions had been asked when a test spoke at its observation `at`."""
    import numpy as np

    if test == LOSS:
        return at * HOUR + MATURITY
    timed = np.flatnonzero(~np.isnan(canary.compared.times)) + 1
    return int(timed[at - 1] if test == LATENCY else at) * BATCH


def naive(canary: Canary, looks: int) -> bool:
    """What a z-test of both arms' shares of errors says that is looked at so many times: whether it ever cries."""
    import numpy as np

    ends = np.linspace(0, len(canary.failed), looks + 1).astype(int)[1:] - 1
    mine, bad = canary.challenger, canary.failed
    n1, n0 = np.cumsum(mine)[ends], np.cumsum(~mine)[ends]
    x1, x0 = np.cumsum(mine & bad)[ends], np.cumsum(~mine & bad)[ends]
    with np.errstate(all="ignore"):
        pooled = (x1 + x0) / (n1 + n0)
        z = (x1 / n1 - x0 / n0) / np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n0))
    return bool(np.nanmax(np.append(z, -np.inf)) > 1.645)
