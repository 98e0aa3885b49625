"""Watches what arrives against what the champion learned from, and the champion against the truth."""

import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import Cause, DecayFinding, MonitorReport, NothingToDo, Signal
from pipelines.monitoring.decay import at_gate, decay, decay_of_given
from pipelines.monitoring.drift import days
from pipelines.monitoring.drift.column import RELATION
from pipelines.monitoring.drift.domain import in_words
from pipelines.monitoring.evidently import workspace
from pipelines.monitoring.moved import Moved, alarms_of, moved
from pipelines.monitoring.pages import heat, history
from pipelines.monitoring.pages.drift import Drawn, reported
from pipelines.monitoring.predictions import predictions_moved
from pipelines.monitoring.samples import sample
from pipelines.monitoring.watched import LEAST, Watched, watched
from pipelines.stores import Stores
from pipelines.stores.audit import events
from pipelines.stores.tracking.registry import Version
from pipelines.training.answers import NOT_INPUT, answered, answers
from pipelines.training.metrics import measures

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


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
    then, now = sample(reference), sample(current)
    seen = watched(spec, then.rows, now.rows, (reference, current))
    model = stores.tracking.load(spec.name, champion.version)
    drift = moved(spec, champion, model, seen, reference, current, stores)
    rate = alarms_of(spec, len(seen.kinds) + len(seen.gone))[1]
    of_answers = predictions_moved(spec, champion, model, current, as_of, rate, drift.reference, stores)
    drift = drift.also(of_answers)
    _keep_days(spec, champion, drift, as_of, stores)
    worn, given, metrics = _against_truth(spec, champion, model, current, as_of, stores)
    asks = drift.share >= spec.monitor.drift_share
    look = _look(champion, drift, asks, worn.decayed or given.decayed)
    near = (then.told("at training"), now.told("now"))
    drawn = Drawn(seen, near, _said(spec, model, then.rows, now.rows), look, champion.version)
    html, plain = _kept(spec, drawn, drift, as_of, stores)
    stores.tracking.log_files(champion.run_id, "monitor", html, plain)
    return MonitorReport(
        model=spec.name,
        as_of=as_of,
        drifted=asks,
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
        explanation="; ".join(
            [*_gone(seen), _moved(spec, seen, drift), *_told(drift), worn.explanation, given.explanation]
        ),
        vanished=seen.vanished,
        left_out=seen.left_out,
        findings=drift.findings,
        domain=drift.domain,
    )


def _keep_days(spec: ModelSpec, champion: Version, drift: Moved, as_of: datetime, stores: Stores) -> None:
    """Keep the sketches of the window's days, of its first only if it is all inside."""
    if drift.window is not None:
        since = (as_of - spec.monitor.window - timedelta(microseconds=1)).date() + timedelta(days=1)
        days.keep(spec.name, champion.version, drift.window, since, stores.tables)


def _look(champion: Version, drift: Moved, asks: bool, decayed: bool) -> dict[str, Any]:
    """What the history tells of this look."""
    moved = [
        f"{each.column} (label)" if each.family == RELATION else each.column
        for each in drift.findings
        if each.moved
    ]
    told = {"version": champion.version, "drifted": asks, "drift_share": drift.share}
    return told | {"moved": list(dict.fromkeys(moved)), "decayed": decayed}


def _said(spec: ModelSpec, model: Any, then: "pd.DataFrame", now: "pd.DataFrame") -> Any:
    """The champion's answers to the rows of both samples; None where it cannot answer them."""
    try:
        return answered(model, then, spec.outputs), answered(model, now, spec.outputs)
    except Exception as error:
        log.warning("the champion cannot answer what is drawn (%s)", type(error).__name__)
        return None


def _kept(spec: ModelSpec, drawn: Drawn, drift: Moved, as_of: datetime, stores: Stores) -> tuple[Path, Path]:
    """The report's files, HTML and JSON, once the model's history and its project in Evidently's UI tell of it."""
    home = stores.settings.home
    with stores.files.changing(home / "reports" / "monitor" / spec.name) as folder:
        html, plain, run = reported(spec, drawn, drift, folder, as_of)
        if drift.reference is not None:
            heat.written(spec.name, drawn.version, drift.reference, stores.tables, folder)
        history.written(folder, spec.name, spec.monitor.drift_share)
    if run is not None:
        workspace.keep(run, spec, home / "evidently", as_of, drawn.version)
    return html, plain


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


def _told(drift: Moved) -> list[str]:
    return [in_words(drift.domain)] if drift.domain.told else []


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
