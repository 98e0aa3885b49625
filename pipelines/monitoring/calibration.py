"""What a metric will be before the truth is there: confidence-based estimation, calibrated on truths of other days.

A day's estimate is the one that could have been made when the day ended: it uses labels that were known by then, of
earlier days. So it never saw the labels of its own day, and how far it was off later can be counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import EvergreenError
from pipelines.gate import record
from pipelines.gate.estimates import losses
from pipelines.monitoring.truth import KNOWN
from pipelines.stores import Stores

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

OWN, GATE, NOTHING = "own answers", "gate", "nothing"
"""What a day's estimate was calibrated by: the version's own answers, the held-out rows of its gate, or not at all."""
ENOUGH = 50
"""Rows of either class; fewer tell too little of how probabilities are to be read."""
MOST = 10_000
"""Only so many of the newest answers count: more tell no more, and older ones tell of other times."""
WEAK = 100.0
"""The inverse strength of the calibration's penalty, which only keeps it finite."""
TINY = 1e-6
MEANS, RANKS = ("log_loss", "brier"), ("roc_auc", "average_precision")
"""Metrics whose expectation can be told from probabilities."""
Learned = tuple["Numbers", "Numbers"]
"""Probabilities that were said, and what became true."""


@dataclass(frozen=True)
class Track:
    """How far estimates were from what was measured, over `days` of versions whose truth is all there.

    `error` is the mean absolute difference, `claimed` that of the probabilities taken as they are; `inside` the share
    of those days on which the estimate lay within the interval of what was measured.
    """

    days: int
    error: float | None = None
    claimed: float | None = None
    inside: float | None = None


def calibrated(spec: ModelSpec, rows: "pd.DataFrame", as_of: datetime, stores: Stores) -> "pd.DataFrame":
    """The rows with `chance`, how likely the label is 1 by the calibration of their day, and `basis`, which it was.

    Of a classification; other rows have no chance (NaN).
    """
    import numpy as np

    rows = rows.assign(chance=np.nan, basis=NOTHING)
    if spec.task != "classification":
        return rows
    rows["chance"] = rows["said"].astype("float64")
    for version in rows["version"].unique():
        own = rows[rows["version"] == version]
        held = cache(partial(_held_out, spec, int(version), as_of, stores))
        for day, some in own.groupby(own["event_timestamp"].dt.floor("D")):
            learned, basis = _learned(own, day, held)
            if learned is not None:
                rows.loc[some.index, "chance"] = fitted(*learned)(some["said"].to_numpy("float64"))
                rows.loc[some.index, "basis"] = basis
    return rows


def _learned(
    own: "pd.DataFrame", day: "pd.Timestamp", held: Callable[[], "pd.DataFrame | None"]
) -> tuple[Learned | None, str]:
    """What a day's estimate may learn from: a version's earlier answers, else its gate's rows, else nothing."""
    import pandas as pd

    end = day + pd.Timedelta(days=1)
    known = own[(own["state"] == KNOWN) & (own["event_timestamp"] < day) & (own["label_known_at"] <= end)]
    learned = _pair(known.tail(MOST), "said")
    if _enough(learned):
        return learned, OWN
    gate = held()
    if gate is not None and gate.attrs["as_of"] <= end:
        learned = _pair(gate[gate["asked"] < day].tail(MOST), "candidate")
        if _enough(learned):
            return learned, GATE
    return None, NOTHING


def _pair(rows: "pd.DataFrame", column: str) -> Learned:
    return rows[column].to_numpy("float64"), rows["label"].to_numpy("float64")


def _enough(learned: Learned) -> bool:
    ones = int(learned[1].sum())
    return min(ones, len(learned[1]) - ones) >= ENOUGH


def _held_out(spec: ModelSpec, number: int, as_of: datetime, stores: Stores) -> "pd.DataFrame | None":
    """What the gate's record has of a version's held-out rows, in the order of their hours; None if it has none."""
    import pandas as pd

    try:
        verdict = record.read(stores.tracking.version(spec.name, number), stores)
        rows = record.evidence(verdict, stores)
    except EvergreenError:
        return None
    if verdict.as_of > as_of or "candidate" not in rows:
        return None
    rows = rows.assign(asked=pd.to_datetime(rows["block"] * 3600, unit="s", utc=True)).sort_values("asked")
    rows.attrs["as_of"] = pd.Timestamp(verdict.as_of)
    return rows


def fitted(said: "Numbers", labels: "Numbers") -> Callable[["Numbers"], "Numbers"]:
    """Reads probabilities as what they turned out to be: beta calibration, a logistic regression on their logarithms.

    In simulations it estimates as well as Platt's where probabilities are too sure or too high on the whole, far better
    where they are cut off at 1, and mostly better than isotonic regression.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    def logarithms(some: "Numbers") -> Any:
        inside = np.clip(some, TINY, 1 - TINY)
        return np.column_stack([np.log(inside), -np.log(1 - inside)])

    model = LogisticRegression(C=WEAK, solver="newton-cholesky").fit(logarithms(said), labels)
    return lambda some: np.asarray(model.predict_proba(logarithms(some))[:, 1], dtype="float64")


def expected(metric: str, said: "Numbers", chances: "Numbers | None" = None) -> float | None:
    """What a metric is on average if each label is 1 with its chance, by default what was said of it.

    Every row counts as both, by its chance; None for metrics of which that tells nothing.
    """
    import numpy as np
    from sklearn import metrics

    likely = said if chances is None else chances
    if metric not in (*MEANS, *RANKS) or not len(said) or said.ndim > 1 or np.isnan(likely).any():
        return None
    ones, zeros = np.ones(len(said)), np.zeros(len(said))
    if metric in MEANS:
        return float(
            np.mean(likely * losses(metric, ones, said) + (1 - likely) * losses(metric, zeros, said))
        )
    function = metrics.roc_auc_score if metric == "roc_auc" else metrics.average_precision_score
    weights = np.concatenate([likely, 1 - likely])
    return float(function(np.concatenate([ones, zeros]), np.tile(said, 2), sample_weight=weights))
