"""The monitor's report as HTML and JSON: what vanished first, what moved, then Evidently's comparison of two samples.

Evidently draws the samples; whether a column drifted it takes from our test of all rows. It refuses a column that is
wholly missing on one side, and so would say nothing of all others.
"""

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import as_json
from pipelines.monitoring.drift.reference import INPUT
from pipelines.monitoring.moved import Moved
from pipelines.monitoring.watched import Watched

log = logging.getLogger(__name__)
PLAIN = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Drift</title></head><body></body></html>'
WHAT = {"input": "its values", "relation": "what it says of the label"}
YES = {True: "yes", False: "no"}
SHOWN = 20
STYLE = "font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1rem auto; padding: 0 1rem"


def reported(
    spec: ModelSpec, seen: Watched, drift: Moved, folder: Path, as_of: datetime
) -> tuple[Path, Path]:
    """The report's files, HTML and JSON; they come out whatever the samples hold."""
    folder.mkdir(parents=True, exist_ok=True)
    html, plain = (folder / f"{as_of:%Y%m%dT%H%M%SZ}.{kind}" for kind in ("html", "json"))
    page, facts, failed = _compared(spec, seen, drift)
    said = {"vanished": seen.vanished, "left_out": seen.left_out, "not_drawn": failed}
    ours = said | {"drift": as_json(drift.findings)}
    plain.write_text(json.dumps(ours | facts, indent=2))
    html.write_text(_first(page, _section(seen, drift, failed)))
    return html, plain


def _compared(spec: ModelSpec, seen: Watched, drift: Moved) -> tuple[str, dict[str, Any], str | None]:
    """Evidently's page and facts of the columns that can be compared, or why there are none."""
    if not seen.kinds:
        return PLAIN, {}, "no column can be compared"
    try:
        snapshot = _snapshot(spec, seen, drift)
        return str(snapshot.get_html_str(as_iframe=False)), json.loads(snapshot.json()), None
    except Exception as error:
        log.exception("Evidently cannot compare these samples")
        return PLAIN, {}, f"Evidently cannot compare these samples ({type(error).__name__})"


def _snapshot(spec: ModelSpec, seen: Watched, drift: Moved) -> Any:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    name = _judged(drift)
    numbers, words = ([c for c, k in seen.kinds.items() if k == kind] for kind in ("numeric", "categorical"))
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=words)
    preset = DataDriftPreset(
        drift_share=spec.monitor.drift_share,
        num_method=name,
        cat_method=name,
    )
    sides = [side[list(seen.kinds)] for side in (seen.new, seen.old)]
    return Report([preset]).run(*(Dataset.from_pandas(side, data_definition=definition) for side in sides))


def _judged(drift: Moved) -> str:
    """Make our test of all rows known to Evidently, which shows its p-values and goes by it; its name there."""
    from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    said = {each.column: (each.pvalue, each.moved) for each in drift.findings if each.family == INPUT}
    kinds = [ColumnType.Numerical, ColumnType.Categorical]
    test = StatTest("calibrated", "p-value calibrated by past weeks, of all rows", kinds, 0.0)
    register_stattest(test, lambda reference, *_: said.get(str(reference.name), (1.0, False)))
    return str(test.name)


def _section(seen: Watched, drift: Moved, failed: str | None) -> str:
    """What Evidently does not tell, to stand before what it does."""
    told = f"<p>Not drawn: {escape(failed)}.</p>" if failed else ""
    return (
        f'<section style="{STYLE}">'
        + _table("Vanished", "every row lacks it", seen.vanished)
        + told
        + _moved(drift)
        + _table("Not compared", "why", seen.left_out)
        + "</section>"
    )


def _table(title: str, head: str, columns: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{escape(str(n))}</td><td>{escape(why)}</td></tr>" for n, why in columns.items())
    return f"<h2>{title}</h2><table><tr><th>column</th><th>{head}</th></tr>{rows}</table>" if rows else ""


def _moved(drift: Moved) -> str:
    """What moved, and beside it what of all rows is least likely by chance."""
    heads = ("column", "what", "p-value", "at most", "distance", "moved", "the answers hang on it")
    rows = "".join(
        f"<tr><td>{escape(e.column)}</td><td>{WHAT[e.family]}, {escape(e.towards)}</td><td>{e.pvalue:.2g}</td>"
        f"<td>{e.level:.2g}</td><td>{e.effect:.3f}</td><td>{YES[e.moved]}</td><td>{YES[e.matters]}</td></tr>"
        for e in drift.findings[:SHOWN]
    )
    head = "".join(f"<th>{each}</th>" for each in heads)
    return f"<h2>All rows, the surest first</h2><table><tr>{head}</tr>{rows}</table>" if rows else ""


def _first(page: str, section: str) -> str:
    """The page with a section at the top of its body."""
    head, body, rest = page.partition("<body>")
    return f"{head}{body}{section}{rest}" if body else section + page
