"""Watches what arrives against what the champion learned from, and the champion against the truth."""

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.catalog import ModelSpec
from pipelines.contracts import MonitorReport, NothingToDo
from pipelines.stages import drift
from pipelines.stages.evaluate import chances, measures
from pipelines.stages.train import NOT_INPUT
from pipelines.stores import Stores

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
    html, plain = _report(spec, old, new, stores.settings.home / "reports" / "monitor" / spec.name, as_of)
    stores.tracking.log_files(champion.run_id, "monitor", html, plain)
    model = stores.tracking.load(spec.name, champion.version)
    return MonitorReport(
        model=spec.name,
        as_of=as_of,
        drifted=share >= spec.monitor.drift_share,
        drift_share=share,
        columns={name: effect for name, (effect, _) in columns.items()},
        rows_reference=len(reference),
        rows_current=len(current),
        metrics=measures(current["label"], chances(model, current)) if len(current) else {},
        html=str(html),
        json=str(plain),
    )


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
