"""A source whose truth is known: columns of several kinds, a rhythm of the week, days that resemble the one before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.monitoring.drift.sketch import Sketches, taken

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHAPES = (
    "normal",
    "skewed",
    "normal",
    "counts",
    "normal",
    "category",
    "normal",
    "with missing",
    "normal",
    "skewed",
)
RELATED = 5
"""So many columns say something of the label."""
TIED = (6, 8)
"""Two columns of normal values that say nothing of the label."""
WORDS = 6
LABEL = "label"


@dataclass(frozen=True)
class Shift:
    """What is otherwise from some day on, in standard deviations of each column or of the label's log odds.

    `place` comes at once, `daily` grows by as much each day; `spread` is a factor; `missing` a share of values;
    `prior` moves the label alone; `turned` weakens what columns say of it, to nothing at 1 and to the opposite at 2;
    `tied` is the correlation of two columns that had none.
    """

    place: float = 0.0
    daily: float = 0.0
    spread: float = 1.0
    missing: float = 0.0
    prior: float = 0.0
    turned: float = 0.0
    tied: float = 0.0


@dataclass
class World:
    """So many rows a day of so many columns, beside a label; the same seed is the same world.

    Of each column's variance 0.0009 belongs to the day, correlated 0.5 with that of the day before, and the weekdays
    differ by 0.3 deviations; the months by `yearly`. Days are counted from 1970.
    """

    columns: int
    rows: int
    seed: int
    memory: float = 0.5
    daily: float = 0.03
    weekly: float = 0.3
    yearly: float = 0.0
    _state: Any = field(init=False, repr=False)
    _rhythm: Any = field(init=False, repr=False)
    _months: Any = field(init=False, repr=False)
    _chance: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        import numpy as np

        self._chance = np.random.default_rng(self.seed)
        self._state = np.zeros(self.columns)
        self._rhythm = _places(self._chance, self.weekly, (self.columns, 7))
        self._months = _places(np.random.default_rng([self.seed, 12]), self.yearly, (self.columns, 12))

    @property
    def kinds(self) -> dict[str, str]:
        """The columns by name, and whether each is numeric or categorical."""
        shapes = {name: SHAPES[number % len(SHAPES)] for number, name in enumerate(self.names)}
        found = {name: "categorical" if shape == "category" else "numeric" for name, shape in shapes.items()}
        return {**found, LABEL: "numeric"}

    @property
    def names(self) -> list[str]:
        return [f"c{number:02d}" for number in range(self.columns)]

    def rows_of(self, day: int, shift: Shift | None = None, since: int = 0) -> "dict[str, NDArray[Any]]":
        """The rows of the next day; what is otherwise is so since a day."""
        import numpy as np

        now, chance = shift or Shift(), self._chance
        fresh = chance.normal(0, self.daily * np.sqrt(1 - self.memory**2), self.columns)
        self._state = self.memory * self._state + fresh
        place = now.place + now.daily * (day - since + 1) if shift else 0.0
        noise = chance.normal(size=(self.rows, self.columns)) * now.spread
        one, other = TIED
        if now.tied:
            noise[:, other] = now.tied * noise[:, one] + np.sqrt(1 - now.tied**2) * noise[:, other]
        latent = noise + self._state + self._rhythm[:, day % 7] + self._months[:, month(day)] + place
        odds = (1 - now.turned) * noise[:, :RELATED].sum(axis=1) * 0.6 + now.prior
        found = {name: self._shaped(number, latent[:, number]) for number, name in enumerate(self.names)}
        gone = chance.random((self.rows, self.columns)) < now.missing
        told = {
            name: _without(each, gone[:, n]) if now.missing else each
            for n, (name, each) in enumerate(found.items())
        }
        return {**told, LABEL: (chance.random(self.rows) < 1 / (1 + np.exp(-odds))).astype("float64")}

    def _shaped(self, number: int, latent: "NDArray[np.float64]") -> "NDArray[Any]":
        import numpy as np

        shape = SHAPES[number % len(SHAPES)]
        if shape == "skewed":
            return np.asarray(np.exp(latent))
        if shape == "counts":
            return np.floor(np.maximum(latent * 2, 0))
        if shape == "category":
            cuts = np.linspace(-1.2, 1.2, WORDS - 1)
            return np.asarray([f"w{each}" for each in np.digitize(latent, cuts)], dtype=object)
        if shape == "with missing":
            return np.where(self._chance.random(len(latent)) < 0.1, np.nan, latent)
        return latent

    def day(self, day: int, shift: Shift | None = None, since: int = 0) -> "Day":
        return Day(day, self.rows_of(day, shift, since), self.kinds)


def month(day: int) -> int:
    """The calendar month of a day, from 0."""
    return (date(1970, 1, 1) + timedelta(days=day)).month - 1


def _places(chance: Any, apart: float, shape: tuple[int, int]) -> "NDArray[np.float64]":
    """Of each column the places of so many parts of a rhythm, which are 0 on average."""
    import numpy as np

    found = chance.normal(0, apart, shape)
    return np.asarray(found - found.mean(axis=1, keepdims=True))


def _without(values: "NDArray[Any]", gone: "NDArray[np.bool_]") -> "NDArray[Any]":
    import numpy as np

    nothing: Any = None if values.dtype == object else np.nan
    return np.where(gone, nothing, values)


@dataclass(frozen=True)
class Day:
    """The rows of one day as they are, and their sketches."""

    day: int
    rows: "Mapping[str, NDArray[Any]]"
    kinds: Mapping[str, str]

    def sketches(self) -> Sketches:
        import numpy as np
        import pyarrow as pa

        columns = {
            name: pa.array(self.rows[name], pa.string()) if kind == "categorical" else self.rows[name]
            for name, kind in self.kinds.items()
        }
        return taken(self.kinds, columns, np.full(len(self.rows[LABEL]), self.day), self.rows[LABEL])


def together(days: "list[Sketches]") -> Sketches:
    """The sketches of several days as those of one window; nothing is counted again."""
    whole = Sketches(days[0].kinds)
    for each in days:
        whole.parts |= each.parts
    return whole
