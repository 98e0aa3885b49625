"""Pairs of models whose difference is known, and the gate's case on them.

Labels are drawn from a truth that spells of weather shift; two models know that truth with noise of their own, by row
and by hour. Noise of one size makes them equal in expectation, in every metric; more noise makes one worse by what a
very large sample says.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from pipelines.catalog import ModelSpec
from pipelines.catalog.gate_spec import METRICS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from pipelines.gate.case import Case
    from pipelines.stores.tracking.registry import Version

    Numbers = NDArray[np.float64]

A_BLOCK, HOURLY, KEPT = 40, 0.8, 0.7
"""Rows of an hour on average, the share of a model's noise that a whole hour has, and how much the next hour keeps.

As hard as flights of 2013: hours make the spread of a mean 1.7 times that of rows (there 1.5 to 2.2), and what one hour
gains in log loss goes with the next at 0.2, in decisions at more (there 0.3 to 0.6).
"""
LARGE = 2_000_000
"""Rows of the sample that says what noise costs."""
F1_SHIFT = 1.0
SLICE = "LGA"
SHARES = {"EWR": 0.5, "JFK": 0.3, SLICE: 0.2}
NOW, LONG_AGO = datetime(2026, 1, 5, tzinfo=UTC), datetime(1960, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class World:
    """A metric, how many rows, and each model's noise; `regressed` is the candidate's in one slice, if any."""

    metric: str
    rows: int
    seed: int
    candidate: float
    champion: float
    regressed: float | None = None

    @property
    def hours(self) -> int:
        return max(2, self.rows // A_BLOCK)


@dataclass(frozen=True)
class Drawn:
    """One pair's rows: what is asked, what was so, and what both say."""

    inputs: "dict[str, NDArray[Any]]"
    labels: "Numbers"
    hours: "NDArray[np.int64]"
    candidate: "Numbers"
    champion: "Numbers"


def drawn(world: World, number: int) -> Drawn:
    """The pair of this number, always the same."""
    import numpy as np

    draw = np.random.default_rng([world.seed, number])
    weights = np.exp(draw.normal(0, 0.5, world.hours))
    hours = draw.choice(world.hours, world.rows, p=weights / weights.sum())
    known, weather = draw.normal(size=world.rows) - 1.1, 0.5 * _spells(draw, world.hours)
    origin = draw.choice(list(SHARES), world.rows, p=list(SHARES.values()))
    noise = np.full(world.rows, world.candidate)
    if world.regressed is not None:
        noise[origin == SLICE] = world.regressed
    said = [known + size * _noise(draw, hours, world.hours) for size in (noise, world.champion)]
    labels = _labels(world.metric, known + weather[hours], draw)
    inputs = {"origin": origin, "distance": draw.integers(100, 3000, world.rows)}
    return Drawn(inputs, labels, hours, *(_answers(world.metric, one) for one in said))


@cache
def worth(metric: str, less: float, more: float) -> float:
    """How much better a model with less noise is than one with more, on a very large sample; more noise is worse."""
    from pipelines.training.metrics import measure

    known, labels, noise = _large(metric)
    one, other = (measure(metric, labels, _answers(metric, known + size * noise)) for size in (less, more))
    lost = one - other if METRICS[metric][1] else other - one
    if lost < 0:
        raise ValueError(f"in this world {metric} gets better with noise; no pair would be worse")
    return lost


@cache
def noise_worth(metric: str, less: float, effect: float, most: float) -> float:
    """The noise that makes a model worse by this effect than one with less."""
    from scipy.optimize import brentq

    return float(brentq(lambda more: worth(metric, less, more) - effect, less, most, xtol=1e-4))


def case(spec: ModelSpec, pair: Drawn, table: bool = True) -> "Case":
    """What the gate would have before it, had these two been asked; without the table it costs half the time."""
    from pipelines.gate.case import Case

    candidate, champion = _version(spec.name, 2, NOW), _version(spec.name, 1, LONG_AGO)
    held = _held(pair) if table else cast(Any, None)
    found = Case(spec, candidate, champion, None, held, cast(Any, None), cast(Any, None), NOW)
    found.answers |= {"candidate": pair.candidate, "champion": pair.champion}
    model = SimpleNamespace(feature_names_in_=list(pair.inputs))
    found.__dict__.update(model=model, labels=pair.labels, blocks=pair.hours)
    return found


def _version(model: str, number: int, as_of: datetime) -> "Version":
    from pipelines.stores.tracking.registry import Version

    return Version(model, number, "", str(number), as_of, "", {})


def _held(pair: Drawn) -> "pd.DataFrame":
    import pandas as pd

    asked = pd.DatetimeIndex((pair.hours * 3600).astype("datetime64[s]"), tz="UTC")
    columns = {"label": pair.labels, "event_timestamp": asked, "label_known_at": asked}
    return pd.DataFrame({**pair.inputs, **columns})


@cache
def _large(metric: str) -> "tuple[Numbers, Numbers, Numbers]":
    import numpy as np

    draw, hours = np.random.default_rng(20130101), np.arange(LARGE) // A_BLOCK
    known, weather = draw.normal(size=LARGE) - 1.1, 0.5 * _spells(draw, LARGE // A_BLOCK)
    noise = _noise(draw, hours, LARGE // A_BLOCK)
    return known, _labels(metric, known + weather[hours], draw), noise


def _noise(draw: "np.random.Generator", hours: "NDArray[np.int64]", count: int) -> "Numbers":
    """Of one model: some of its own for each row, more for each hour."""
    import numpy as np

    return np.asarray(
        draw.normal(0, (1 - HOURLY) ** 0.5, len(hours)) + HOURLY**0.5 * _spells(draw, count)[hours]
    )


def _spells(draw: "np.random.Generator", count: int) -> "Numbers":
    """Hours in order, each much like the one before."""
    import numpy as np
    from scipy.signal import lfilter

    return np.asarray(lfilter([(1 - KEPT**2) ** 0.5], [1, -KEPT], draw.normal(size=count)))


def _labels(metric: str, truth: "Numbers", draw: "np.random.Generator") -> "Numbers":
    """What happened: yes or no, or a number with heavy tails (Student's t, 5)."""
    import numpy as np

    if "regression" in METRICS[metric][0]:
        return np.asarray(truth + draw.standard_t(5, len(truth)))
    return np.asarray(draw.random(len(truth)) < 1 / (1 + np.exp(-truth)), dtype="float64")


def _answers(metric: str, said: "Numbers") -> "Numbers":
    """A number, or a probability; for f1 shifted to where its cut is best, or more noise would make f1 better."""
    import numpy as np

    if "regression" in METRICS[metric][0]:
        return said
    return np.asarray(1 / (1 + np.exp(-said - (F1_SHIFT if metric == "f1" else 0.0))))
