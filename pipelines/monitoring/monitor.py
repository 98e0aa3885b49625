"""Watches what arrives against what the champion learned from, and the champion against the truth."""

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.catalog import Decay, ModelSpec
from pipelines.contracts import Cause, DecayFinding, EvergreenError, MonitorReport, NothingToDo, Signal
from pipelines.gate.estimates import losses
from pipelines.gate.intervals import Improvement, improvement
from pipelines.monitoring import drift
from pipelines.monitoring.drift_page import reported
from pipelines.monitoring.watched import LEAST, Watched, watched
from pipelines.stores import Stores
from pipelines.stores.audit import events
from pipelines.stores.tracking.registry import Version
from pipelines.training.answers import NOT_INPUT, answers
from pipelines.training.metrics import measures

if TYPE_CHECKING:
    import pandas as pd

os.environ.setdefault("DO_NOT_TRACK", "1")
SAMPLE = 5000  # the stock preset took 438 s at 3M rows; a sample keeps the report to seconds


def monitor(
    spec: ModelSpec, as_of: datetime, stores: Stores, reference: "pd.DataFrame", current: "pd.DataFrame"
) -> MonitorReport:
    """Drift per input column, the champion's metrics on arrived truth, and Evidently's report of both samples.

    With fewer than 200 rows on either side nothing is called drift.
    """
    champion = stores.tracking.champion(spec.name)
    if champion is None:
        raise NothingToDo(f"{spec.name} has no champion to watch yet")
    current = _whole(reference, current)
    seen = watched(spec, _sampled(reference), _sampled(current))
    columns = _effects(seen)
    old, new = len(seen.old), len(seen.new)
    enough = min(old, new) >= LEAST
    share = sum(drifted for _, drifted in columns.values()) / len(columns) if enough and columns else 0.0
    model = stores.tracking.load(spec.name, champion.version)
    worn, metrics = _against_truth(spec, champion, model, current, stores)
    folder = stores.settings.home / "reports" / "monitor" / spec.name
    html, plain = reported(spec, seen, folder, as_of)
    stores.tracking.log_files(champion.run_id, "monitor", html, plain)
    return MonitorReport(
        model=spec.name,
        as_of=as_of,
        drifted=share >= spec.monitor.drift_share,
        drift_share=share,
        columns={name: effect for name, (effect, _) in columns.items()},
        rows_reference=len(reference),
        rows_current=len(current),
        metrics=metrics,
        html=str(html),
        json=str(plain),
        version=champion.version,
        decayed=worn.decayed,
        decay=worn,
        explanation="; ".join([*_gone(seen), _moved(spec, old, new, share), worn.explanation]),
        vanished=seen.vanished,
        left_out=seen.left_out,
    )


def _whole(reference: "pd.DataFrame", current: "pd.DataFrame") -> "pd.DataFrame":
    """The current rows with every column of the reference: one that does not come any more is missing in each row."""
    absent = [str(name) for name in reference if name not in current and name not in NOT_INPUT]
    return current.reindex(columns=[*current, *absent])


def _against_truth(
    spec: ModelSpec, champion: Version, model: Any, current: "pd.DataFrame", stores: Stores
) -> tuple[DecayFinding, dict[str, float]]:
    """Decay and metrics; rows the champion cannot answer, such as those of a dead feed, judge neither."""
    try:
        said = answers(model, current, spec.outputs)
    except Exception as error:
        why = f"the champion cannot answer the newest {len(current):,} rows ({type(error).__name__})"
        return DecayFinding(False, f"decay is not judged: {why}"), {}
    metrics = measures(spec.task, current["label"].to_numpy("float64"), said)
    return decay(spec, champion, model, current, stores), metrics


def _gone(seen: Watched) -> list[str]:
    return [f"{name} vanished: {why}" for name, why in seen.vanished.items()]


def _moved(spec: ModelSpec, old: int, new: int, share: float) -> str:
    if min(old, new) < LEAST:
        return f"drift is not judged: {min(old, new):,} rows on one side, {LEAST} needed"
    said = "drifted" if share >= spec.monitor.drift_share else "not drifted"
    return f"{said}: {share:.0%} of the columns moved, {spec.monitor.drift_share:.0%} ask for a training"


def signal(report: MonitorReport, now: datetime, stores: Stores) -> None:
    """Record what asks for a training, once per champion version and moment."""
    gone = f"{', '.join(report.vanished)} vanished; " if report.vanished else ""
    drifted = f"{gone}{report.drift_share:.0%} of the columns drifted"
    found = {Cause.DRIFT: drifted} if report.drifted else {}
    if report.decay is not None and report.decayed:
        found[Cause.DECAY] = report.decay.explanation
    for cause, detail in found.items():
        asks = Signal(report.model, report.version, report.as_of, cause, detail, now)
        stores.signals.record(asks)
        events.signalled(asks, stores)


def decay(
    spec: ModelSpec, champion: Version, model: Any, current: "pd.DataFrame", stores: Stores
) -> DecayFinding:
    """Whether the champion loses more on truth asked for after its training than on the rows of its gate.

    Rows of one day are left out together: a stormy day is one thing that happened, not a thousand.
    """
    rule = spec.monitor.decay
    if rule is None:
        return DecayFinding(False, "decay is not judged: the spec has no monitor.decay")
    fresh = current[current["event_timestamp"] > champion.as_of]
    days = fresh["event_timestamp"].dt.floor("D").nunique()
    if len(fresh) < rule.minimum_rows or days < rule.minimum_days:
        why = (
            f"{len(fresh):,} rows on {days} days since the champion's training, "
            f"{rule.minimum_rows:,} on {rule.minimum_days} needed"
        )
        return DecayFinding(False, f"decay is not judged: {why}", len(fresh))
    then, since = (
        _loss(rule, model, rows, spec.outputs) for rows in (held_out(spec, champion, stores), fresh)
    )
    return compared(rule, champion.version, then, since, len(fresh))


def held_out(spec: ModelSpec, champion: Version, stores: Stores) -> "pd.DataFrame":
    """The rows the champion was judged by at its gate."""
    import pandas as pd

    path = stores.settings.home / "training_sets" / spec.name / f"{champion.tags['training_set']}.parquet"
    if not path.exists():
        raise EvergreenError(
            f"{path} is gone; rebuild it with `evergreen train {spec.name} --as-of {champion.as_of.isoformat()}`"
        )
    rows = pd.read_parquet(path)
    return rows[rows["split"] == "holdout"]


def _loss(rule: Decay, model: Any, rows: "pd.DataFrame", outputs: int) -> Improvement:
    """The mean loss with its interval: an improvement on losing nothing."""
    import numpy as np

    lost = losses(rule.metric, rows["label"].to_numpy(dtype="float64"), answers(model, rows, outputs))
    days = rows["event_timestamp"].dt.floor("D").astype("int64").to_numpy()
    return improvement(np.zeros_like(lost), lost, days, rule.confidence)


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


def _sampled(rows: "pd.DataFrame") -> "pd.DataFrame":
    """At most SAMPLE rows, always the same ones."""
    return rows.sample(min(SAMPLE, len(rows)), random_state=0)


def _effects(seen: Watched) -> dict[str, tuple[float, bool]]:
    """Each column's effect and whether it drifted, its p-value corrected for how many columns are asked.

    A column that vanished moved as far as one can.
    """
    found = dict.fromkeys(seen.certain, (1.0, True))
    if min(len(seen.old), len(seen.new)) < LEAST:
        return found
    for name, kind in seen.kinds.items():
        test = drift.numeric if kind == "numeric" else drift.categorical
        pvalue, effect = test(seen.old[name], seen.new[name])
        found[name] = (effect, pvalue <= drift.level(len(seen.kinds)) and effect >= drift.EFFECT)
    return found
