"""A deployment with tiny models on a real MLflow: two that pass against each other, one overridden, two refused."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from pipelines.catalog import REFERENCE, Comparison, ModelSpec, model
from pipelines.catalog.gate_spec import Behaviour, ServingLimits, Slices
from pipelines.contracts import EvergreenError, TrainingSet
from pipelines.gate import evaluate
from pipelines.places import sqlite_url
from pipelines.promotion.promote import override, promote
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import file_digest
from pipelines.training.train import train
from pipelines.training.training_set import path_of

if TYPE_CHECKING:
    import pandas as pd

NAME = REFERENCE
AS_OF = datetime(2013, 3, 31, tzinfo=UTC)
ROWS = 1500
WHO = "prove: a person"


@dataclass(frozen=True)
class World:
    """Where it lies, its model, and the digest of each version that may be champion; `refused` never may.

    Its `database` is a file there, or another one by its URL.
    """

    home: Path
    spec: ModelSpec
    allowed: dict[int, str]
    refused: tuple[int, ...]
    database: str | None = None

    @property
    def stores(self) -> Stores:
        """Stores of a process of its own, deaf to settings from outside."""
        return opened(self.home, self.database)


def opened(home: Path, database: str | None = None) -> Stores:
    told = databases(home, database)
    plain = Settings(_env_file=None, home=home, artifact_root=None, keys=None)
    return Stores(plain.model_copy(update=told), WHO)


def databases(home: Path, database: str | None = None) -> dict[str, SecretStr]:
    """The settings of its two databases."""
    url = SecretStr(database or sqlite_url(home / "evergreen.db"))
    return {"database_url": url, "tracking_uri": SecretStr(sqlite_url(home / "mlflow.db"))}


def built(home: Path, database: str | None = None) -> World:
    """Versions 1 and 2 passed, each against the other as champion; 3 failed and was overridden; 4 and 5 never may."""
    spec, stores = tiny(), opened(home, database)
    one, two = (_trained(spec, stores, name, seed) for seed, name in enumerate("ab"))
    _crowned(spec, stores, one, 0)
    _crowned(spec, stores, two, 1)
    noise = _trained(spec, stores, "c", 2, signal=0.0)
    _judge(spec, stores, noise, 2)
    _must(override(spec, noise[0], stores, _minute(2), "to see what becomes of it").promoted, "the override")
    _must(promote_back(spec, stores, two), "the rollback")
    _judge(spec, stores, one, 3)
    never = [_trained(spec, stores, name, 3 + n, signal=0.0)[0] for n, name in enumerate("de")]
    _judge(spec, stores, (never[0], _rows(spec, stores, "d", 3, 0.0)), 4)
    allowed = {n: stores.tracking.version(spec.name, n).digest for n in (one[0], two[0], noise[0])}
    return World(home, spec, allowed, tuple(never), database)


def promote_back(spec: ModelSpec, stores: Stores, made: "Made") -> bool:
    from pipelines.promotion.rollback import rollback

    return rollback(spec, stores, _minute(3), "back to one that passed", made[0]).promoted


Made = tuple[int, TrainingSet]


def tiny() -> ModelSpec:
    """The model, as small as it goes, with a gate that lets equals through."""
    real = model(NAME)
    eased: dict[str, Any] = {
        "floors": {"roc_auc": 0.6},
        "ceilings": {},
        "minimum_rows": 100,
        "champion": Comparison(rule="not_worse", margin=0.5),
        "guards": (),
        "anchor": None,
        "slices": Slices(search=False),
        "calibration": None,
        "fairness": (),
        "behaviour": Behaviour(),
        "rebuild": False,
        "serving": ServingLimits(questions=5, p99_ms=60_000, load_seconds=600),
    }
    training = real.training.model_copy(update={"minimum_rows": 100})
    small = {"max_iter": 8, "learning_rate": 0.3, "random_state": 0, "min_samples_leaf": 20}
    gate = real.gate.model_copy(update=eased)
    return real.model_copy(update={"parameters": small, "search": None, "training": training, "gate": gate})


def _minute(number: int) -> datetime:
    """The moments at which the world was made, all before now and still valid."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(microseconds=number)


def _trained(spec: ModelSpec, stores: Stores, name: str, seed: int, signal: float = 2.5) -> Made:
    rows = _rows(spec, stores, name, seed, signal)
    return train(spec, rows, stores).version, rows


def _judge(spec: ModelSpec, stores: Stores, made: Made, number: int) -> Any:
    from pipelines.training.train import candidate

    found = stores.tracking.version(spec.name, made[0])
    return evaluate(spec, candidate(found), made[1], stores, _minute(number))


def _crowned(spec: ModelSpec, stores: Stores, made: Made, number: int) -> None:
    verdict = _judge(spec, stores, made, number)
    answer = promote(spec, made[0], stores, _minute(number))
    bad = "; ".join(f"{r.name}: {r.explanation}" for r in verdict.rules if r.decision != "PASS")
    _must(answer.promoted, f"the promotion of version {made[0]} ({answer.reason}; {bad})")


def _must(done: bool, what: str) -> None:
    if not done:
        raise EvergreenError(
            f"nothing can be proved: {what} failed before anybody was killed; mend that first"
        )


def _rows(spec: ModelSpec, stores: Stores, name: str, seed: int, signal: float) -> TrainingSet:
    """Made-up flights on disk; `signal` is how much the one feature tells of the label."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    path = path_of(spec.name, digest, stores)
    data = _frame(seed, signal)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        data.to_parquet(path, index=False)
    learned = data[data["split"] == "train"]
    return TrainingSet(
        model=spec.name, as_of=AS_OF, digest=digest, path=str(path), rows=len(learned),
        positives=int(learned["label"].sum()), holdout_start=AS_OF - timedelta(days=7),
        holdout_rows=len(data) - len(learned), versions={"silver/flights": 1}, content=file_digest(path),
    )  # fmt: skip


def _frame(seed: int, signal: float) -> "pd.DataFrame":
    import numpy as np
    import pandas as pd

    draw = np.random.default_rng(seed)
    asked = pd.Timestamp(AS_OF) - pd.to_timedelta(draw.integers(1, 14 * 24 * 60, ROWS), unit="min")
    told = draw.normal(size=ROWS)
    late = draw.random(ROWS) < 1 / (1 + np.exp(-(signal * told - 1)))
    return pd.DataFrame(
        {
            "carrier": draw.choice(["UA", "AA"], ROWS),
            "origin": draw.choice(["EWR", "JFK"], ROWS),
            "dest": draw.choice(["IAH", "BOS"], ROWS),
            "tailnum": draw.choice(["N1", "N2"], ROWS),
            "scheduled_departure": asked + pd.Timedelta(hours=2),
            "scheduled_arrival": asked + pd.Timedelta(hours=5),
            "distance": draw.integers(100, 3000, ROWS),
            "event_timestamp": asked,
            "label_known_at": asked + pd.Timedelta(hours=5),
            "label": late.astype(int),
            "split": np.where(asked >= pd.Timestamp(AS_OF - timedelta(days=7)), "holdout", "train"),
            "origin_congestion__mean_departure_delay_1h": told,
        }
    )
