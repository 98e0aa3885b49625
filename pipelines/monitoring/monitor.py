"""Watches what arrives against what the champion learned from, and the champion against the truth."""

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.catalog import Decay, ModelSpec
from pipelines.contracts import Cause, DecayFinding, EvergreenError, MonitorReport, NothingToDo, Signal
from pipelines.gate.intervals import Improvement, improvement, losses
from pipelines.monitoring import drift
from pipelines.stores import Stores
from pipelines.stores.audit import events
from pipelines.stores.tracking.registry import Version
from pipelines.training.answers import NOT_INPUT, answers
from pipelines.training.metrics import measures

if TYPE_CHECKING:
    import pandas as pd

os.environ.setdefault("DO_NOT_TRACK", "1")
SAMPLE = 5000  # the stock preset took 438 s at 3M rows; a sample keeps the report to seconds
LEAST = 200
ALPHA = 0.05


def monitor(
    spec: ModelSpec, as_of: datetime, stores: Stores, reference: "pd.DataFrame", current: "pd.DataFrame"
) -> MonitorReport:
    """Drift per input column, the champion's metrics on arrived truth, and Evidently's report of both samples.

    With fewer than 200 rows on either side nothing is called drift.
    """
    champion = stores.tracking.champion(spec.name)
    if champion is None:
        raise NothingToDo(f"{spec.name} has no champion to watch yet")
    old, new = _sampled(reference), _sampled(current)
    columns = _effects(spec, old, new)
    enough = min(len(old), len(new)) >= LEAST
    share = sum(drifted for _, drifted in columns.values()) / len(columns) if enough and columns else 0.0
    model = stores.tracking.load(spec.name, champion.version)
    worn = decay(spec, champion, model, current, stores)
    html, plain = _report(spec, old, new, stores.settings.home / "reports" / "monitor" / spec.name, as_of)
    stores.tracking.log_files(champion.run_id, "monitor", html, plain)
    return MonitorReport(
        model=spec.name,
        as_of=as_of,
        drifted=share >= spec.monitor.drift_share,
        drift_share=share,
        columns={name: effect for name, (effect, _) in columns.items()},
        rows_reference=len(reference),
        rows_current=len(current),
        metrics=measures(spec.task, current["label"].to_numpy("float64"), answers(model, current)),
        html=str(html),
        json=str(plain),
        version=champion.version,
        decayed=worn.decayed,
        decay=worn,
        explanation=f"{_moved(spec, len(old), len(new), share)}; {worn.explanation}",
    )


def _moved(spec: ModelSpec, old: int, new: int, share: float) -> str:
    if min(old, new) < LEAST:
        return f"drift is not judged: {min(old, new):,} rows on one side, {LEAST} needed"
    said = "drifted" if share >= spec.monitor.drift_share else "not drifted"
    return f"{said}: {share:.0%} of the columns moved, {spec.monitor.drift_share:.0%} ask for a training"


def signal(report: MonitorReport, now: datetime, stores: Stores) -> None:
    """Record what asks for a training, once per champion version and moment."""
    drifted = f"{report.drift_share:.0%} of the columns drifted"
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
    then, since = (_loss(rule, model, rows) for rows in (held_out(spec, champion, stores), fresh))
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


def _loss(rule: Decay, model: Any, rows: "pd.DataFrame") -> Improvement:
    """The mean loss with its interval: an improvement on losing nothing."""
    import numpy as np

    lost = losses(rule.metric, rows["label"].to_numpy(dtype="float64"), answers(model, rows))
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
    """At most SAMPLE rows, always the same ones, without the columns a model does not see."""
    inputs = rows.drop(columns=[c for c in NOT_INPUT if c in rows and c != "label"])
    picked = inputs.sample(min(SAMPLE, len(inputs)), random_state=0)
    return picked.drop(columns=list(picked.select_dtypes("datetimetz")))


def _kinds(spec: ModelSpec, rows: "pd.DataFrame") -> dict[str, str]:
    """numeric or categorical, by input column; keys with many values (a tail number) are left out."""
    words = [c for c in spec.entities if c in rows and rows[c].nunique() <= len(rows) / 10]
    numbers = [str(c) for c in rows.select_dtypes("number") if rows[c].notna().any()]
    return dict.fromkeys(numbers, "numeric") | dict.fromkeys(words, "categorical")


def _effects(spec: ModelSpec, old: "pd.DataFrame", new: "pd.DataFrame") -> dict[str, tuple[float, bool]]:
    """Each column's effect and whether it drifted, its p-value corrected for how many columns are asked."""
    kinds = _kinds(spec, old)
    found = {}
    for name, kind in kinds.items():
        if old[name].notna().sum() < LEAST or new[name].notna().sum() < LEAST:
            continue
        test = drift.numeric if kind == "numeric" else drift.categorical
        pvalue, effect = test(old[name], new[name])
        found[name] = (effect, pvalue <= ALPHA / len(kinds) and effect >= drift.EFFECT)
    return found


def _report(
    spec: ModelSpec, old: "pd.DataFrame", new: "pd.DataFrame", folder: Path, as_of: datetime
) -> tuple[Path, Path]:
    """Evidently's drift report as HTML and JSON."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    kinds, names = _kinds(spec, old), drift.register()
    by_kind = {kind: [c for c, k in kinds.items() if k == kind] for kind in ("numeric", "categorical")}
    definition = DataDefinition(
        numerical_columns=by_kind["numeric"], categorical_columns=by_kind["categorical"]
    )
    preset = DataDriftPreset(
        drift_share=spec.monitor.drift_share,
        num_method=names["numeric"],
        cat_method=names["categorical"],
        num_threshold=ALPHA / len(kinds),
        cat_threshold=ALPHA / len(kinds),
    )
    sides = [Dataset.from_pandas(side[list(kinds)], data_definition=definition) for side in (new, old)]
    snapshot = Report([preset]).run(*sides)
    folder.mkdir(parents=True, exist_ok=True)
    html, plain = (folder / f"{as_of:%Y%m%dT%H%M%SZ}.{kind}" for kind in ("html", "json"))
    snapshot.save_html(str(html))
    snapshot.save_json(str(plain))
    return html, plain
