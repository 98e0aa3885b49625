"""Decay: the champion loses more than at its gate, beyond doubt, on newest labelled rows or in the answers it gave."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from pipelines.catalog import Decay, ModelSpec
from pipelines.contracts import DecayFinding, EvergreenError
from pipelines.gate.estimates import losses
from pipelines.gate.intervals import Improvement, improvement
from pipelines.monitoring.figures import said
from pipelines.monitoring.truth import KNOWN, answered
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import Version
from pipelines.training.answers import answers, from_column
from pipelines.training.training_set import path_of

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

AtGate = Callable[[], Improvement]
"""What a champion lost on the rows of its gate."""
GIVEN = "answer given"
"""A column that no field can have the name of."""


def at_gate(spec: ModelSpec, champion: Version, model: Any, stores: Stores) -> AtGate:
    """What the champion lost on the rows of its gate by the spec's rule, found out once, when it is first asked for."""

    @cache
    def then() -> Improvement:
        rule = spec.monitor.decay
        assert rule is not None  # noqa: S101 - nobody asks without a rule
        return _loss(rule, model, held_out(spec, champion, stores), spec.outputs)

    return then


def decay(
    spec: ModelSpec, champion: Version, model: Any, current: "pd.DataFrame", gate: AtGate
) -> DecayFinding:
    """Whether the champion loses more on truth asked for after its training than on the rows of its gate.

    Rows of one day are left out together: a stormy day is one thing that happened, not a thousand.
    """
    rule = spec.monitor.decay
    if rule is None:
        return DecayFinding(False, "decay is not judged: the spec has no monitor.decay")
    fresh = current[current["event_timestamp"] > champion.as_of]
    if not _enough(rule, fresh):
        why = (
            f"{len(fresh):,} rows on {_days(fresh)} days since the champion's training, "
            f"{rule.minimum_rows:,} on {rule.minimum_days} needed"
        )
        return DecayFinding(False, f"decay is not judged: {why}", len(fresh))
    since = _loss(rule, model, fresh, spec.outputs)
    return compared(rule, champion.version, gate(), since, len(fresh))


def decay_of_given(
    spec: ModelSpec,
    champion: Version,
    model: Any,
    current: "pd.DataFrame",
    gate: AtGate,
    as_of: datetime,
    stores: Stores,
) -> DecayFinding:
    """Whether the answers that the champion gave since its training lose more than it did at its gate.

    Answers whose truth is known at `as_of`, about events in the monitor's window; degraded ones do not count, as a
    feature store that was gone is no decay. Nor is it decay where the champion, asked the same again with the features
    of the offline store (`current`, the newest labelled rows), loses no more than at its gate, and less than it did:
    features online are wrong then, and no training mends them.
    """
    rule, name = spec.monitor.decay, "decay of the answers given"
    if rule is None:
        return DecayFinding(False, f"{name} is not judged: the spec has no monitor.decay")
    known = _given(spec, champion, as_of, stores)
    sound = known[~known["degraded"].astype(bool)] if len(known) else known
    left = f" ({len(known) - len(sound):,} degraded ones left out)" if len(known) > len(sound) else ""
    if not _enough(rule, sound):
        why = (
            f"the truth is known of {len(sound):,} answers of version {champion.version} on {_days(sound)} days{left}, "
            f"{rule.minimum_rows:,} on {rule.minimum_days} needed"
        )
        return DecayFinding(False, f"{name} is not judged: {why}", len(sound))
    found = compared(rule, champion.version, gate(), _lost(rule, sound, said(sound)), len(sound))
    found = replace(found, explanation=f"answers given{left}: {found.explanation}")
    if not found.decayed:
        return found
    return _of_the_model(spec, rule, champion, model, found, gate(), _again(spec, sound, current))


def _given(spec: ModelSpec, champion: Version, as_of: datetime, stores: Stores) -> "pd.DataFrame":
    """The champion's answers about events of the window after its training, of those whose truth is known."""
    since = max(champion.as_of, as_of - spec.monitor.window)
    logged = stores.predictions.between(spec.name, since, as_of)
    rows = answered(spec, [each for each in logged if each["version"] == champion.version], as_of, stores)
    return rows if rows.empty else rows[rows["state"] == KNOWN]


def _again(spec: ModelSpec, sound: "pd.DataFrame", current: "pd.DataFrame") -> "pd.DataFrame":
    """The labelled rows that ask what these answers answered, with features of the offline store, and GIVEN."""
    fields = [*spec.entities, *spec.request]
    given = sound.drop_duplicates(fields)[[*fields, "said"]].rename(columns={"said": GIVEN})
    return current.merge(given, on=fields, how="inner")


def _of_the_model(
    spec: ModelSpec,
    rule: Decay,
    champion: Version,
    model: Any,
    found: DecayFinding,
    then: Improvement,
    again: "pd.DataFrame",
) -> DecayFinding:
    """The finding; no decay where the same questions, asked again, are answered no worse than at the gate, and beyond
    doubt better than they were."""
    if not _enough(rule, again):
        return found
    anew, given = answers(model, again, spec.outputs), from_column(again[GIVEN])
    now = compared(rule, champion.version, then, _lost(rule, again, anew), len(again))
    labels = again["label"].to_numpy(dtype="float64")
    lost, did = (losses(rule.metric, labels, each) for each in (anew, given))
    better = improvement(lost, did, _day_of(again), rule.confidence)
    if now.decayed or better.low <= 0:
        return found
    why = (
        f"{found.explanation}; but asked again with the features of the offline store it is {now.since:.4f} on"
        f" {len(again):,} of these questions, so features online are not what they should be, which no training mends;"
        f" `evergreen parity {spec.name}` shows them"
    )
    return replace(found, decayed=False, explanation=why)


def _day_of(rows: "pd.DataFrame") -> "NDArray[Any]":
    import numpy as np

    return np.asarray(rows["event_timestamp"].dt.floor("D").astype("int64"))


def _enough(rule: Decay, rows: "pd.DataFrame") -> bool:
    return len(rows) >= rule.minimum_rows and _days(rows) >= rule.minimum_days


def _days(rows: "pd.DataFrame") -> int:
    return int(rows["event_timestamp"].dt.floor("D").nunique()) if len(rows) else 0


def held_out(spec: ModelSpec, champion: Version, stores: Stores) -> "pd.DataFrame":
    """The rows the champion was judged by at its gate."""
    import pandas as pd

    path = path_of(spec.name, champion.tags["training_set"], stores)
    if not path.exists():
        raise EvergreenError(
            f"{path} is gone; rebuild it with `evergreen train {spec.name} --as-of {champion.as_of.isoformat()}`"
        )
    rows = pd.read_parquet(path)
    return rows[rows["split"] == "holdout"]


def _loss(rule: Decay, model: Any, rows: "pd.DataFrame", outputs: int) -> Improvement:
    """The mean loss of the model's answers to the rows, with its interval."""
    return _lost(rule, rows, answers(model, rows, outputs))


def _lost(rule: Decay, rows: "pd.DataFrame", answered: "NDArray[Any]") -> Improvement:
    """The mean loss with its interval: an improvement on losing nothing."""
    import numpy as np

    lost = losses(rule.metric, rows["label"].to_numpy(dtype="float64"), answered)
    return improvement(np.zeros_like(lost), lost, _day_of(rows), rule.confidence)


def compared(rule: Decay, version: int, then: Improvement, since: Improvement, rows: int) -> DecayFinding:
    """The rise between two samples, its interval from theirs (Newcombe's square-and-add)."""
    rise = since.mean - then.mean
    low = rise - ((since.mean - since.low) ** 2 + (then.high - then.mean) ** 2) ** 0.5
    high = rise + ((since.high - since.mean) ** 2 + (then.mean - then.low) ** 2) ** 0.5
    decayed = low > rule.margin
    explanation = (
        f"{'decayed' if decayed else 'not decayed'}: version {version}'s {rule.metric} is {since.mean:.4f} on "
        f"{rows:,} rows since its training, {then.mean:.4f} at its gate; the rise is {rise:+.4f} "
        f"({rule.confidence:.0%} interval {low:+.4f} to {high:+.4f}), all above {rule.margin} would be decay"
    )
    return DecayFinding(decayed, explanation, rows, then.mean, since.mean, low, high)
