"""Watches what arrives against what the champion learned from, and the champion against the truth."""

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import Cause, DecayFinding, MonitorReport, NothingToDo, Signal
from pipelines.monitoring.decay import at_gate, decay, decay_of_given
from pipelines.monitoring.drift_page import reported
from pipelines.monitoring.moved import Moved, moved
from pipelines.monitoring.watched import LEAST, Watched, watched
from pipelines.stores import Stores
from pipelines.stores.audit import events
from pipelines.stores.tracking.registry import Version
from pipelines.training.answers import NOT_INPUT, answers
from pipelines.training.metrics import measures

if TYPE_CHECKING:
    import pandas as pd

os.environ.setdefault("DO_NOT_TRACK", "1")
SAMPLE = (
    5000  # of what is drawn; Evidently's own comparison took 438 s at 3M rows. Drift is judged on all rows
)


def monitor(
    spec: ModelSpec, as_of: datetime, stores: Stores, reference: "pd.DataFrame", current: "pd.DataFrame"
) -> MonitorReport:
    """Drift per input column, the champion's metrics on arrived truth, and Evidently's report of samples of both.

    With fewer than 200 rows on either side nothing is called drift.
    """
    champion = stores.tracking.champion(spec.name)
    if champion is None:
        raise NothingToDo(f"{spec.name} has no champion to watch yet")
    current = _whole(reference, current)
    seen = watched(spec, _sampled(reference), _sampled(current))
    model = stores.tracking.load(spec.name, champion.version)
    drift = moved(spec, champion, model, seen, reference, current, stores)
    worn, given, metrics = _against_truth(spec, champion, model, current, as_of, stores)
    folder = stores.settings.home / "reports" / "monitor" / spec.name
    html, plain = reported(spec, seen, drift, folder, as_of)
    stores.tracking.log_files(champion.run_id, "monitor", html, plain)
    return MonitorReport(
        model=spec.name,
        as_of=as_of,
        drifted=drift.share >= spec.monitor.drift_share,
        drift_share=drift.share,
        columns=drift.effects(),
        rows_reference=len(reference),
        rows_current=len(current),
        metrics=metrics,
        html=str(html),
        json=str(plain),
        version=champion.version,
        decayed=worn.decayed or given.decayed,
        decay=worn,
        given=given,
        explanation="; ".join([*_gone(seen), _moved(spec, seen, drift), worn.explanation, given.explanation]),
        vanished=seen.vanished,
        left_out=seen.left_out,
        findings=drift.findings,
    )


def _whole(reference: "pd.DataFrame", current: "pd.DataFrame") -> "pd.DataFrame":
    """The current rows with every column of the reference: one that does not come any more is missing in each row."""
    absent = [str(name) for name in reference if name not in current and name not in NOT_INPUT]
    return current.reindex(columns=[*current, *absent])


def _against_truth(
    spec: ModelSpec,
    champion: Version,
    model: Any,
    current: "pd.DataFrame",
    as_of: datetime,
    stores: Stores,
) -> tuple[DecayFinding, DecayFinding, dict[str, float]]:
    """Decay of the champion and of the answers it gave, and metrics; rows it cannot answer, such as those of a dead
    feed, judge none of them."""
    try:
        said = answers(model, current, spec.outputs)
    except Exception as error:
        why = f"the champion cannot answer the newest {len(current):,} rows ({type(error).__name__})"
        return (
            DecayFinding(False, f"decay is not judged: {why}"),
            DecayFinding(False, "decay of the answers given is not judged either"),
            {},
        )
    metrics = measures(spec.task, current["label"].to_numpy("float64"), said)
    gate = at_gate(spec, champion, model, stores)
    worn = decay(spec, champion, model, current, gate)
    return worn, decay_of_given(spec, champion, model, current, gate, as_of, stores), metrics


def _gone(seen: Watched) -> list[str]:
    return [f"{name} vanished: {why}" for name, why in seen.vanished.items()]


def _moved(spec: ModelSpec, seen: Watched, drift: Moved) -> str:
    old, new = len(seen.old), len(seen.new)
    if min(old, new) < LEAST:
        return f"drift is not judged: {min(old, new):,} rows on one side, {LEAST} needed"
    said = "drifted" if drift.share >= spec.monitor.drift_share else "not drifted"
    share = f"{drift.share:.0%} of the columns, by what the answers hang on, moved"
    return f"{said}: {share}, {spec.monitor.drift_share:.0%} ask for a training{drift.named()}"


def signal(report: MonitorReport, now: datetime, stores: Stores) -> None:
    """Record what asks for a training, once per champion version and moment."""
    gone = f"{', '.join(report.vanished)} vanished; " if report.vanished else ""
    drifted = f"{gone}{report.drift_share:.0%} of the columns drifted, by what the answers hang on"
    found = {Cause.DRIFT: drifted} if report.drifted else {}
    worn = [each.explanation for each in (report.decay, report.given) if each is not None and each.decayed]
    if worn:
        found[Cause.DECAY] = "; ".join(worn)
    for cause, detail in found.items():
        asks = Signal(report.model, report.version, report.as_of, cause, detail, now)
        stores.signals.record(asks)
        events.signalled(asks, stores)


def _sampled(rows: "pd.DataFrame") -> "pd.DataFrame":
    """At most SAMPLE rows, always the same ones."""
    return rows.sample(min(SAMPLE, len(rows)), random_state=0)
