"""How a search judges parameters: on spans of the training split, each after what was learned from."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError, TrainingSet
from pipelines.training.metrics import defined

if TYPE_CHECKING:
    import pandas as pd

    Fold = tuple[pd.DataFrame, pd.DataFrame]


def time_folds(spec: ModelSpec, training_set: TrainingSet, count: int) -> "list[Fold]":
    """So many pairs of rows to learn from and rows to be judged on, the oldest first.

    Each span is as long as the hold-out (shorter where there is too little), the newest ends where the hold-out begins.
    As for the gate, only rows whose truth was known when a span began are learned from. Held-out rows are in none.
    """
    import pandas as pd

    rows = pd.read_parquet(training_set.path, filters=[("split", "==", "train")])
    if rows.empty or (rows["split"] != "train").any():
        raise EvergreenError(f"{spec.name}: {training_set.path} has no rows to learn from; land more data")
    found = list(
        _spans(rows, pd.Timestamp(training_set.holdout_start), pd.Timedelta(spec.training.holdout), count)
    )
    for learned, judged in found:
        _usable(spec, learned, judged)
    return found


def _spans(
    rows: "pd.DataFrame", end: "pd.Timestamp", holdout: "pd.Timedelta", count: int
) -> "Iterator[Fold]":
    asked = rows["event_timestamp"]
    span = min(holdout, ((end - asked.min()) / (count + 1)).floor("h"))
    for number in range(count, 0, -1):
        start, until = end - number * span, end - (number - 1) * span
        learned = rows[(asked < start) & (rows["label_known_at"] < start)]
        judged = rows[(asked >= start) & (asked < until)]
        yield learned.reset_index(drop=True), judged.reset_index(drop=True)


def _usable(spec: ModelSpec, learned: "pd.DataFrame", judged: "pd.DataFrame") -> None:
    whole = learned["label"].nunique() >= spec.outputs
    for part in (learned, judged):
        if not whole or not defined(spec.task, part["label"].to_numpy(dtype="float64")):
            wanted = "not every class" if spec.outputs > 1 else "not both classes"
            raise EvergreenError(
                f"{spec.name}: a fold of the search has {len(learned):,} rows to learn from and {len(judged):,} to be "
                f"judged on, and {wanted} in each; land more data or lower search.folds"
            )
