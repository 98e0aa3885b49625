"""A deployment in which a town's people pay by card: loaded, with models, answers, truths and refused rows."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from pipelines.catalog import ModelSpec, dataset, model
from pipelines.catalog.gate_spec import Behaviour, ServingLimits, Slices
from pipelines.features.compute import compute
from pipelines.gate import evaluate
from pipelines.ingestion.ingest import ingest_dataset
from pipelines.promotion.promote import override
from pipelines.prove.worlds import sandbox
from pipelines.stores import Stores
from pipelines.stores.answers.predictions import Prediction, Truth
from pipelines.training.train import candidate, train
from pipelines.training.training_set import build

if TYPE_CHECKING:
    import duckdb

NAME = "card_fraud"
FIRST = date(2018, 4, 1)
MOVING = ("card_transactions", "card_outcomes")
FIXED = ("card_customers", "card_terminals")


@dataclass(frozen=True)
class Size:
    """How many customers there are, and on how many days they pay."""

    customers: int
    days: int

    @property
    def until(self) -> datetime:
        """When the truth of the last payment is known."""
        return datetime.combine(FIRST, datetime.min.time(), UTC) + timedelta(days=self.days)


def spec() -> ModelSpec:
    """The model, small, with a gate that is not asked much."""
    real = model(NAME)
    eased: dict[str, Any] = {
        "floors": {"roc_auc": 0.01}, "minimum_rows": 10, "guards": (), "anchor": None, "slices": Slices(search=False),
        "calibration": None, "behaviour": Behaviour(), "rebuild": False,
        "serving": ServingLimits(questions=5, p99_ms=60_000, load_seconds=600),
    }  # fmt: skip
    learning = {"minimum_rows": 50, "holdout": timedelta(days=40), "minimum_new_rows": 1}
    return real.model_copy(
        update={
            "parameters": {"max_iter": 5, "random_state": 0, "min_samples_leaf": 20},
            "search": None,
            "training": real.training.model_copy(update=learning),
            "gate": real.gate.model_copy(update=eased),
        }
    )


def built(home: Path, size: Size, crowned: bool = True) -> Stores:
    """Everything that rows of a person can lie in, filled by the product's own steps; a champion scores and is watched
    only if `crowned`."""
    stores = sandbox(home)
    with town(size) as rows:
        landed(stores, rows, size, 0, size.days)
        _refused(stores, size)
    compute(size.until, stores)
    made = trained(stores, size.until)
    _asked(stores, size)
    if crowned:
        evaluate(spec(), made[0], made[1], stores, datetime.now(UTC))
        override(spec(), made[0].version, stores, datetime.now(UTC), "so that there is a champion")
        _scored(stores, size)
        watched(stores, size.until)
    return stores


def landed(stores: Stores, town: "duckdb.DuckDBPyConnection", size: Size, since: int, until: int) -> None:
    """What became known from one day to another lands, a file each fortnight, and is taken in."""
    from pipelines.loop.replay import land

    landing = stores.settings.landing_path
    landing.mkdir(parents=True, exist_ok=True)
    for begin in range(since, until, 14):
        span = [datetime.combine(FIRST, datetime.min.time(), UTC) + timedelta(days=day)
                for day in (begin, min(begin + 14, until))]  # fmt: skip
        for name in MOVING if begin else (*FIXED, *MOVING):
            land(town, name, span[0], span[1], landing / f"{name}_{begin:03d}.csv")
    for name in (*FIXED, *MOVING):
        ingest_dataset(dataset(name), stores)


def town(size: Size, without: Sequence[str] = ()) -> "duckdb.DuckDBPyConnection":
    """What everybody pays whom, but some of the customers."""
    from pipelines.upstream import connect

    rows = connect((*FIXED, *MOVING))
    for name in ("card_customers", *MOVING):
        gone = "customer_id >= ? OR list_contains(?, customer_id)"
        rows.execute(f"DELETE FROM {name} WHERE {gone}", [customer(size.customers), list(without)])
    return rows


def customer(number: int) -> str:
    return f"C{number:05d}"


def _refused(stores: Stores, size: Size) -> None:
    """Rows that are set aside with their bytes, a file that is refused whole, and one that nobody claims."""
    landing, spec_ = stores.settings.landing_path, dataset("card_transactions")
    names = list(spec_.columns)
    good = [[9_000_000_000 + n, customer(n % size.customers), "T00001", "2018-04-02T10:00:00Z", 5.0 + n,
             "2018-04-02T10:01:00Z"] for n in range(8 * size.customers)]  # fmt: skip
    some = [[*row[:4], "much", row[5]] if n % 8 == 0 else row for n, row in enumerate(good)]
    _written(landing / "card_transactions_some_bad.csv", names, some)
    _written(
        landing / "card_transactions_all_bad.csv", names, [[*row[:3], "when?", *row[4:]] for row in good]
    )
    _written(landing / "payments_of_friends.csv", names, good[: size.customers])
    ingest_dataset(spec_, stores)


def _written(path: Path, names: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(names)
        out.writerows(rows)


def trained(stores: Stores, as_of: datetime) -> tuple[Any, Any]:
    """A version that learned from what was known at a moment, and its training set."""
    rows = build(spec(), as_of, stores)
    return candidate(stores.tracking.version(NAME, train(spec(), rows, stores).version)), rows


def _asked(stores: Stores, size: Size) -> None:
    """Every customer was asked about, told of, and lies in the archive of answers too."""
    from pipelines.serving.tables.archive import archive

    now = datetime.now(UTC)
    for again in range(2):
        answers = [_answer(number, again, now) for number in range(size.customers)]
        stores.predictions.record(*answers)
        for each in answers:
            truth = str(uuid5(NAMESPACE_OID, f"truth {each.prediction_id}"))
            stores.predictions.tell(Truth(truth, each.prediction_id, 0.0, now, now))
        if not again:
            archive(NAME, stores, now)


def _scored(stores: Stores, size: Size) -> None:
    from pipelines.serving.tables.scoring import score

    names = ["customer_id", "terminal_id", "happened_at", "amount"]
    rows = [[customer(n), "T00002", "2018-06-20T12:00:00Z", 7.5] for n in range(size.customers)]
    folder = stores.settings.home / "scoring" / NAME
    folder.mkdir(parents=True, exist_ok=True)
    _written(folder / "questions.csv", names, rows)
    score(spec(), folder / "questions.csv", stores, datetime.now(UTC))


def answers(gone: Sequence[str]) -> list[str]:
    """The ids of what was answered about some of the customers."""
    return [_id(int(each[1:]), again) for each in gone for again in range(2)]


def _id(number: int, again: int) -> str:
    return str(uuid5(NAMESPACE_OID, f"{number} {again}"))


def _answer(number: int, again: int, now: datetime) -> Prediction:
    named = {"customer_id": customer(number), "terminal_id": "T00001"}
    return Prediction(
        _id(number, again), NAME, 1, "0" * 64, named,
        {"happened_at": "2018-06-14T12:00:00Z", "amount": 1.0 + number}, {"customer_home__x": float(number)},
        0.01, 0.3, False, now, datetime(2018, 6, 14, 12, tzinfo=UTC),
    )  # fmt: skip


def watched(stores: Stores, as_of: datetime) -> None:
    """The monitor has looked once, and what it draws and keeps lies there."""
    from pipelines.monitoring.monitor import monitor
    from pipelines.training.training_set import observed

    monitor(spec(), as_of, stores, *observed(spec(), as_of, stores))
