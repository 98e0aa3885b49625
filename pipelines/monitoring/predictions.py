"""Whether what a champion answers is what it answered when its gate let it pass: drift of the predictions."""

import logging
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import DriftFinding
from pipelines.monitoring.decay import held_out
from pipelines.monitoring.drift import kept
from pipelines.monitoring.drift.reference import Reference, made
from pipelines.monitoring.drift.rows import days_of, words
from pipelines.monitoring.drift.sketch import Sketches, taken
from pipelines.monitoring.drift.verdict import look
from pipelines.monitoring.figures import said
from pipelines.monitoring.watched import LEAST
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import Version
from pipelines.training.answers import answered, answers, from_column

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

log = logging.getLogger(__name__)
PREDICTION = "prediction"
"""The column, and the family of its finding."""


def predictions_moved(
    spec: ModelSpec,
    champion: Version,
    model: Any,
    current: "pd.DataFrame",
    as_of: datetime,
    alarms: float,
    like: Reference | None,
    stores: Stores,
) -> DriftFinding | None:
    """What the champion answered since its training, held against its answers to the rows of its gate.

    It learned from neither. The prediction log's answers about events in the monitor's window count, other than
    degraded ones; where it holds fewer than 200, what the champion says of `current`, the newest labelled rows, does.
    None where those are fewer too. `alarms` are the false ones a year that this may raise; as a hold-out has few days,
    what weeks differ by is drawn towards what is usual among the inputs, whose reference is `like`.
    """
    since = max(champion.as_of, as_of - spec.monitor.window)
    moments, given = _logged(spec, champion, since, as_of, stores)
    if len(moments) < LEAST:
        fresh = current[current["event_timestamp"] > since]
        moments, given = fresh["event_timestamp"], _asked(spec, model, fresh)
    if given is None or len(moments) < LEAST:
        return None
    reference = replace(_reference(spec, champion, model, stores), like=like)
    found = look(reference, _sketched(spec, moments, given), alarms, spec.monitor.difference)
    return replace(found[0], family=PREDICTION) if found else None


def _logged(
    spec: ModelSpec, champion: Version, since: datetime, until: datetime, stores: Stores
) -> "tuple[pd.Series[Any], NDArray[Any] | None]":
    """When the events are that the champion answered about by the log, and its answers."""
    import pandas as pd

    logged = stores.predictions.between(spec.name, since, until)
    own = [each for each in logged if each["version"] == champion.version and not each["degraded"]]
    moments = pd.Series([each["event_time"] or each["asked_at"] for each in own], dtype="datetime64[ns, UTC]")
    told = [list(each["probabilities"].values()) if each["probabilities"] else each["answer"] for each in own]
    return moments, said(pd.DataFrame({"said": told})) if own else None


def _asked(spec: ModelSpec, model: Any, rows: "pd.DataFrame") -> "NDArray[Any] | None":
    """What the champion says of rows; None where it cannot answer them, such as those of a dead feed."""
    try:
        return answered(model, rows, spec.outputs)
    except Exception as error:
        log.warning("the champion cannot answer the newest rows (%s)", type(error).__name__)
        return None


def _reference(spec: ModelSpec, champion: Version, model: Any, stores: Stores) -> Reference:
    """The champion's answers to the rows of its gate, found out once per version."""
    days = spec.monitor.days
    of: dict[str, Any] = {
        "model": champion.digest,
        "training_set": champion.tags.get("training_set"),
        "days": days,
    }
    of |= {"seasons": spec.monitor.seasons}
    folder = stores.settings.home / "reports" / "monitor" / spec.name
    path = folder / f"predictions_{champion.version}.parquet"
    found = kept.read(of, path)
    if found is None:
        rows = held_out(spec, champion, stores)
        sketches = _sketched(spec, rows["event_timestamp"], answers(model, rows, spec.outputs))
        found = made(sketches, days, spec.monitor.seasons)
        kept.write(found, of, path)
    return found


def _sketched(spec: ModelSpec, moments: "pd.Series[Any]", given: "NDArray[Any]") -> Sketches:
    """Answers by day: a number, or of several classes the likeliest."""
    import numpy as np
    import pandas as pd

    given = from_column(given)
    if given.ndim == 1:
        column, kind = given, "numeric"
    else:
        classes = np.asarray([str(each) for each in spec.label.classes])
        column, kind = words(pd.Series(classes[given.argmax(axis=1)])), "categorical"
    return taken({PREDICTION: kind}, {PREDICTION: column}, days_of(moments))
