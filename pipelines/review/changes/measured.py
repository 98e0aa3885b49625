"""Trains one model as the project around it has it, and writes what it says of its held-out rows: a process of its own.

It registers nothing. The home it works in is a copy that is thrown away.
"""

import json
import sys
import warnings
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.contracts import EvergreenError


def run(model: str, as_of: datetime, holdout: timedelta, target: Path, threads: int) -> None:
    """Rows as of a moment, the newest `holdout` of them kept from the model, whose answers to those are written."""
    import pandas as pd

    from pipelines import catalog
    from pipelines.settings import settings
    from pipelines.stores import Stores
    from pipelines.training import answers, contract, train, training_set

    stores, spec = Stores(settings()), catalog.model(model)
    spec = spec.model_copy(update={"training": spec.training.model_copy(update={"holdout": holdout})})
    _computed(spec, as_of, stores)
    rows = pd.read_parquet(training_set.build(spec, as_of, stores).path)
    learned, held = (rows[rows["split"] == part].reset_index(drop=True) for part in ("train", "holdout"))
    _enough(spec, learned, held)
    inputs, labels = learned.drop(columns=list(answers.NOT_INPUT)), learned["label"]
    with train.limited(threads):
        made, plain = train.estimator(spec), train.baseline(spec)
        said = answers.answers(contract.fitted(spec, made, inputs, labels), held)
        base = answers.answers(contract.fitted(spec, plain, inputs, labels), held)
    asked = [*spec.entities, *spec.request, "event_timestamp", "label"]
    held[asked].assign(said=said, baseline=base).to_parquet(target, index=False)


def _computed(spec: Any, as_of: datetime, stores: Any) -> None:
    """The views it takes are computed up to the moment; those of the home already are, if nothing of them differs."""
    from pipelines.features.compute import catch_up

    for view in spec.features_by_view:
        version = stores.features.version(view)
        reached = stores.progress.reached(version.consumer)
        if reached is None or reached < as_of:
            catch_up(version, as_of, stores, lambda _: None)


def _enough(spec: Any, learned: Any, held: Any) -> None:
    least = spec.training.minimum_rows
    if len(learned) < least:
        raise EvergreenError(
            f"{len(learned):,} rows to learn from, {least:,} are needed (training.minimum_rows)"
        )
    if held.empty:
        raise EvergreenError("no held-out row has landed yet")
    if spec.task == "classification" and learned["label"].nunique() < 2:
        raise EvergreenError("the labels to learn from have only one class")


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")
    try:
        run(
            given["model"],
            datetime.fromisoformat(given["as_of"]),
            timedelta(seconds=given["holdout"]),
            Path(given["target"]),
            given["threads"],
        )
    except EvergreenError as error:
        sys.exit(" ".join(str(error).splitlines()))
