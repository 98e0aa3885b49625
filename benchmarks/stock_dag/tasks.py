"""What the DAG's tasks call: plain JSON in, plain JSON out, and each imports what it needs when it runs."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.stock_dag.places import Home

DAY = timedelta(days=1)
DATASETS = ("flights", "departures", "weather")


def home() -> Home:
    return Home(Path(os.environ["STOCK_HOME"]))


def window(day: str) -> str:
    """How the file of a day is named: from its midnight to the next one, in UTC."""
    begun = datetime.fromisoformat(day)
    return f"{begun:%Y%m%dT%H%M}_{begun + DAY:%Y%m%dT%H%M}"


def ingest(dataset: str, day: str) -> dict[str, Any]:
    from benchmarks.stock_dag.ingest import ingest as run

    return run(dataset, window(day), home())


def features(day: str) -> dict[str, int]:
    import pandas as pd

    from benchmarks.stock_dag.views import compute

    begun = pd.Timestamp(day)
    return compute(begun, begun + DAY, home())


def materialize(day: str) -> None:
    from benchmarks.stock_dag.store import materialize as run

    run(datetime.fromisoformat(day) + DAY, home())


def training_set(day: str) -> dict[str, Any]:
    from benchmarks.stock_dag.training import training_set as run

    begun = datetime.fromisoformat(day)
    return run(begun, begun + DAY, home())


def train(day: str) -> dict[str, Any]:
    from benchmarks.stock_dag.training import train as run

    return run(datetime.fromisoformat(day) + DAY, home())


def evaluate_and_promote(made: dict[str, Any], day: str) -> dict[str, Any]:
    from benchmarks.stock_dag.training import evaluate_and_promote as run

    return run(made, datetime.fromisoformat(day) + DAY, home())


def report(day: str) -> dict[str, Any]:
    from benchmarks.stock_dag.watch import report as run

    return run(datetime.fromisoformat(day) + DAY, home())


def history(days: list[str], bulk: dict[str, str]) -> dict[str, int]:
    """Everything before the first day, which nobody times: the files of `bulk` (window by dataset), the features and
    labels of each day, the feature store and its first values online."""
    from benchmarks.stock_dag import store, views
    from benchmarks.stock_dag.ingest import ingest as run

    landed = {name: run(name, span, home())["rows"] for name, span in bulk.items()}
    views.aircraft(home())
    for day in days:
        features(day)
    store.apply(home())
    end = datetime.fromisoformat(days[-1]) + DAY
    store.opened(home()).materialize(datetime.fromisoformat(days[0]) - 365 * DAY, end)
    for day in days:
        training_set(day)
    return landed
