"""Training sets of made-up flights whose lateness depends on one feature, for tests of what follows the join."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines import catalog
from pipelines.catalog import Comparison, ModelSpec
from pipelines.catalog.gate_spec import Behaviour
from pipelines.contracts import TrainingSet
from pipelines.stores.tracking.registry import file_digest

AS_OF = datetime(2013, 3, 31, tzinfo=UTC)
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
QUESTIONS = 40
"""Held-out rows that a candidate is asked where it would serve; a fifth of what the gate asks by default."""


def spec(**gate: object) -> ModelSpec:
    """flight_delays, small enough to train in a moment."""
    real = catalog.model("flight_delays")
    small = {"max_iter": 30, "learning_rate": 0.2, "random_state": 0, "min_samples_leaf": 20}
    training = real.training.model_copy(update={"minimum_rows": 200})
    eased = {
        "minimum_rows": 200,
        "champion": Comparison(rule="not_worse", margin=0.05),
        "guards": (),
        "behaviour": Behaviour(),
        "rebuild": False,  # made-up rows are in no table
    }
    asked = {"serving": real.gate.serving.model_copy(update={"questions": QUESTIONS})}
    judged = real.gate.model_copy(update={**eased, **asked, **gate})
    return real.model_copy(update={"parameters": small, "training": training, "gate": judged})


FEATURE = "origin_congestion__mean_departure_delay_1h"
"""What tells of the label in `frame`."""


def frame(rows: int, seed: int, signal: float) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    asked = pd.Timestamp(AS_OF) - pd.to_timedelta(draw.integers(1, 28 * 24 * 60, rows), unit="min")
    congestion = draw.normal(size=rows)
    late = draw.random(rows) < 1 / (1 + np.exp(-(signal * congestion - 1)))
    held = asked >= pd.Timestamp(AS_OF - timedelta(days=7))
    return pd.DataFrame(
        {
            "carrier": draw.choice(["UA", "AA", "B6"], rows),
            "origin": draw.choice(["EWR", "JFK", "LGA"], rows),
            "dest": draw.choice(["IAH", "BOS", "MIA", "ORD"], rows),
            "tailnum": draw.choice(["N1", "N2", None], rows),
            "scheduled_departure": asked + pd.Timedelta(hours=2),
            "scheduled_arrival": asked + pd.Timedelta(hours=5),
            "distance": draw.integers(100, 3000, rows),
            "event_timestamp": asked,
            "label_known_at": asked + pd.Timedelta(hours=5),
            "label": late.astype(int),
            "split": np.where(held, "holdout", "train"),
            FEATURE: congestion,
            "origin_weather__visib": np.where(draw.random(rows) < 0.2, np.nan, draw.random(rows)),
        }
    )


def arrived(rows: int = 2000, seed: int = 7, signal: float = 2.0, shift: float = 0.0) -> pd.DataFrame:
    """Flights of the four weeks after `AS_OF` with their truth, whose congestion is another by `shift`."""
    data = frame(rows, seed, signal)
    for name in data.select_dtypes("datetimetz"):
        data[name] = data[name] + timedelta(days=28)
    data[FEATURE] += shift
    return data


def training_set(
    folder: Path, rows: int = 4000, seed: int = 0, signal: float = 2.0, name: str = "a"
) -> TrainingSet:
    """A training set on disk; `signal` is how much the one feature tells."""
    data = frame(rows, seed, signal)
    digest = (name * 64)[:64]
    path = folder / "training_sets" / "flight_delays" / f"{digest}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    data.to_parquet(path, index=False)
    train = data[data.split == "train"]
    return TrainingSet(
        model="flight_delays",
        as_of=AS_OF,
        digest=digest,
        path=str(path),
        rows=len(train),
        positives=int(train.label.sum()),
        holdout_start=AS_OF - timedelta(days=7),
        holdout_rows=len(data) - len(train),
        versions={"silver/flights": 1},
        content=file_digest(path),
    )
