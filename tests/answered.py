"""Answers that have met their truth, as simulated: whose probabilities are right, or wrong in a known way."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from pipelines.contracts import EvergreenError
from pipelines.monitoring.truth import KNOWN, PENDING

BEGIN = datetime(2013, 5, 1, tzinfo=UTC)
DAYS = 20
AS_OF = BEGIN + timedelta(days=DAYS)
Distorted = Callable[[Any], Any]


def odds(chance: Any, times: float = 1.0, more: float = 0.0) -> Any:
    """Probabilities whose log odds are so many times as large, and then larger by so much."""
    return 1 / (1 + np.exp(-(times * np.log(chance / (1 - chance)) + more)))


SHAPES: dict[str, Distorted] = {
    "too sure": lambda chance: odds(chance, 2.5),
    "too high": lambda chance: np.clip(chance * 1.7, 0, 1),
    "too low": lambda chance: odds(chance, 1.0, -1.5),
}


def answered_rows(
    distort: Distorted = lambda chance: chance,
    a_day: int = 150,
    late: timedelta = timedelta(hours=6),
    seed: int = 0,
    true: Callable[[Any, Any], Any] = lambda chance, days: chance,
) -> pd.DataFrame:
    """As `truth.answered` gives them at AS_OF. `true` makes the chance that the label is 1 of the one the model knows,
    by the number of the day; truths come `late`."""
    dice, count = np.random.default_rng(seed), a_day * DAYS
    events = pd.Timestamp(BEGIN) + pd.to_timedelta(np.sort(dice.integers(0, DAYS * 86_400, count)), unit="s")
    chance = np.clip(dice.beta(1.5, 4, count), 0.01, 0.99)
    days = (events - pd.Timestamp(BEGIN)).days.to_numpy()
    label = (dice.random(count) < true(chance, days)).astype("float64")
    rows = pd.DataFrame(
        {
            "prediction_id": [f"{number:06d}" for number in range(count)],
            "origin": dice.choice(["EWR", "JFK", "LGA"], count),
            "carrier": dice.choice(["UA", "AA", "B6", "OO"], count, p=[0.4, 0.3, 0.295, 0.005]),
            "version": 1,
            "degraded": False,
            "asked_at": events - pd.Timedelta(hours=2),
            "event_timestamp": events,
            "said": distort(chance),
            "label": label,
            "label_known_at": events + late,
        }
    )
    return as_known(rows, AS_OF)


def as_known(rows: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """The rows as they were known at a moment."""
    rows = rows[rows["event_timestamp"] <= pd.Timestamp(as_of)].reset_index(drop=True)
    known = rows["label_known_at"] <= pd.Timestamp(as_of)
    return rows.assign(
        label=rows["label"].where(known),
        label_known_at=rows["label_known_at"].where(known),
        state=pd.Series(KNOWN, rows.index).where(known, PENDING),
    )


def _no_version(*_: object) -> None:
    raise EvergreenError("there is no such version")


NO_RECORD: Any = SimpleNamespace(tracking=SimpleNamespace(version=_no_version))
"""Stores of which no gate has judged anything."""
