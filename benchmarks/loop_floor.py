"""What one warm process needs at least, computed bare on a training set: join, fits, answers, file, each once.

A floor, not a rival: nothing is logged, judged, signed or checked.
"""

import importlib
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NOT_INPUT = ("event_timestamp", "label_known_at", "label", "split")


def floor(steps: Any, model: str, as_of: str) -> dict[str, list[float]]:
    """Seconds and processor seconds of each computation that nobody can leave out, in one process."""
    import pandas as pd
    from skops.io import dump
    from threadpoolctl import threadpool_limits

    from pipelines import catalog
    from pipelines.settings import settings

    took: dict[str, list[float]] = {}
    spec, code = catalog.model(model), importlib.import_module(f"pipelines.models.{model}.estimator")
    other = (datetime.fromisoformat(as_of) - timedelta(seconds=1)).isoformat()  # a question not yet answered
    made = timed(took, "join", lambda: steps.training_set(model, other))
    rows = timed(took, "read the rows", lambda: pd.read_parquet(made["path"]))
    train, held = (rows[rows["split"] == part].drop(columns=list(NOT_INPUT)) for part in ("train", "holdout"))
    labels = rows.loc[train.index, "label"]
    with threadpool_limits(settings().threads):
        fitted = timed(took, "fit", lambda: code.build(spec.parameters).fit(train, labels))
        plain = timed(took, "fit the baseline", lambda: code.baseline().fit(train, labels))
    asked = {"candidate": fitted, "baseline": plain, "champion": fitted, "anchor": fitted}
    timed(took, "answers of four models", lambda: [m.predict_proba(held) for m in asked.values()])
    with TemporaryDirectory() as folder:
        timed(took, "the model's file", lambda: dump(fitted, Path(folder) / "model.skops"))
    return took


def timed(took: dict[str, list[float]], name: str, run: Callable[[], Any]) -> Any:
    """The answer of a computation, whose times are kept under its name."""
    begun, worked = time.perf_counter(), time.process_time()
    answer = run()
    took[name] = [time.perf_counter() - begun, time.process_time() - worked]
    return answer
