"""Answers met by the truth: of each that was logged, what became of it as far as is known.

Truth comes in two ways, and never from a prediction: as a label, for a question of the same entities and fields, and as
what somebody told of an answer by its id. The newest that was known by then counts, so a correction replaces what it
corrects.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec, event_time
from pipelines.contracts import EvergreenError
from pipelines.stores import Stores

if TYPE_CHECKING:
    import pandas as pd

LATE = 0.99
"""A truth later than so many others came is not waited for: whether it ever comes, nobody knows."""
LOOK_BACK = 2
"""Hold-outs, or windows of the monitor: truths of so long before the answers tell how late they come. A hold-out is
longer than truths take, or there would be none to judge by."""
PENDING, KNOWN, NEVER = "pending", "known", "never"


def answered(
    spec: ModelSpec, logged: Sequence[Mapping[str, Any]], as_of: datetime, stores: Stores
) -> "pd.DataFrame":
    """A row of each of the answers that the prediction log gives, oldest event first, with its truth.

    `said` is the answer: a number, or a list of probabilities by class; `label` the truth as in training, NaN where
    there is none; `state` is known, pending or never, the last where 99 of 100 others had theirs by that age. `told`
    says who told it: `label` or `feedback`.
    """
    import pandas as pd

    rows = _logged(spec, logged)
    if rows.empty:
        return rows
    since = _since(spec, rows)
    truths = _known(spec, as_of, stores, since)
    joined = rows.merge(truths, on=_fields(spec), how="left") if len(truths) else rows.assign(**NOTHING)
    joined["told"] = pd.Series("label", joined.index).where(joined["label"].notna())
    joined = _with_feedback(spec, joined, as_of, stores)
    late = joined["event_timestamp"] + _patience(truths, since) <= pd.Timestamp(as_of)
    waiting = pd.Series(NEVER, joined.index).where(late, PENDING)
    joined["state"] = waiting.where(joined["label"].isna(), KNOWN)
    return joined.sort_values(["event_timestamp", "prediction_id"], ignore_index=True)


NOTHING: dict[str, Any] = {"label": float("nan"), "label_known_at": None}


def _fields(spec: ModelSpec) -> list[str]:
    return [*spec.entities, *spec.request]


def _since(spec: ModelSpec, rows: "pd.DataFrame") -> datetime | None:
    """Nothing that was known by then is the truth of these rows: it is known after the question is asked.

    It lies so much before them that what came in between tells how late truths come. None where no field of the
    question says when its event is, so that any row may be its truth.
    """
    if event_time(spec) not in spec.request:
        return None
    late = max(spec.training.holdout, spec.monitor.window)
    first: datetime = rows["event_timestamp"].min().to_pydatetime()
    return first - spec.label.horizon - LOOK_BACK * late


def _elsewhere(spec: ModelSpec) -> list[str]:
    """Columns of the spec's slices that no field of the question has: features."""
    return [name for name in spec.gate.slices.columns if name not in _fields(spec)]


def _logged(spec: ModelSpec, found: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """The log's answers, a column for each field of the question."""
    import pandas as pd

    rows = [
        {
            **{name: {**each["entities"], **each["request"]}.get(name) for name in _fields(spec)},
            **{name: (each.get("features") or {}).get(name) for name in _elsewhere(spec)},
            **{name: each[name] for name in ("prediction_id", "version", "degraded", "asked_at")},
            "event_timestamp": each["event_time"] or each["asked_at"],
            "said": list(each["probabilities"].values()) if each["probabilities"] else each["answer"],
        }
        for each in found
    ]
    made = pd.DataFrame(rows)
    for name, field in {**spec.entities, **spec.request}.items():
        if rows and field.type == "timestamp":
            made[name] = pd.to_datetime(made[name], utc=True, format="ISO8601").astype("datetime64[us, UTC]")
    return made


def _known(spec: ModelSpec, as_of: datetime, stores: Stores, since: datetime | None) -> "pd.DataFrame":
    """Every label that became known after `since` and by then, once per question, with when it was known."""
    import pandas as pd

    from pipelines.training.training_set import labels

    long = {"window": timedelta(days=36_500), "holdout": timedelta(0)}
    every = spec.model_copy(update={"training": spec.training.model_copy(update=long)})
    columns = [*_fields(spec), "label", "label_known_at"]
    try:
        found = labels(every, as_of, stores, since=since)
    except EvergreenError:
        return pd.DataFrame(columns=[*columns, "asked_of"])
    asked = found.rename(columns={"event_timestamp": "asked_of"})[[*columns, "asked_of"]]
    newest = asked.sort_values("label_known_at").drop_duplicates(_fields(spec), keep="last")
    return newest.reset_index(drop=True)


def _patience(truths: "pd.DataFrame", since: datetime | None) -> timedelta:
    """How long nearly all truths take, from the moment their question was asked about; of questions from before `since`
    only the late ones are known here."""
    truths = truths if since is None else truths[truths["asked_of"] > since]
    if not len(truths):
        return timedelta(days=36_500)
    seconds = (truths["label_known_at"] - truths["asked_of"]).dt.total_seconds()
    return timedelta(seconds=float(seconds.quantile(LATE)))


def _with_feedback(spec: ModelSpec, rows: "pd.DataFrame", as_of: datetime, stores: Stores) -> "pd.DataFrame":
    """What was told of an answer by its id, where it was known no earlier than the label."""
    import pandas as pd

    span = (rows["event_timestamp"].min().to_pydatetime(), rows["event_timestamp"].max().to_pydatetime())
    every = stores.predictions.truths(spec.name, span)
    # Oldest first, so that of several the newest stays.
    told = {each.prediction_id: each for each in every if each.known_at <= as_of}
    found = [told.get(name) for name in rows["prediction_id"]]
    values = pd.Series(
        [_place(spec, each.truth) if each else None for each in found], rows.index, dtype="float64"
    )
    times = pd.Series([each.known_at if each else None for each in found], rows.index, dtype="object")
    moments = pd.to_datetime(times, utc=True)
    known = pd.to_datetime(rows["label_known_at"], utc=True)
    newer = values.notna() & (known.isna() | (moments >= known))
    return rows.assign(
        label=values.where(newer, rows["label"]),
        label_known_at=moments.where(newer, known),
        told=pd.Series("feedback", rows.index).where(newer, rows["told"]),
    )


def _place(spec: ModelSpec, truth: Any) -> float:
    """A truth as a label: a class by its place in the spec's order."""
    classes: list[Any] = [*spec.label.classes]
    return float(classes.index(truth)) if classes else float(truth)
