"""The monitor's report of two samples as HTML and JSON: what vanished first, then Evidently's comparison.

Evidently refuses a column that is wholly missing on one side, and so would say nothing of all others.
"""

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from pipelines.catalog import ModelSpec
from pipelines.monitoring import drift
from pipelines.monitoring.watched import Watched

log = logging.getLogger(__name__)
PLAIN = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Drift</title></head><body></body></html>'
STYLE = "font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1rem auto; padding: 0 1rem"


def reported(spec: ModelSpec, seen: Watched, folder: Path, as_of: datetime) -> tuple[Path, Path]:
    """The report's files, HTML and JSON; they come out whatever the samples hold."""
    folder.mkdir(parents=True, exist_ok=True)
    html, plain = (folder / f"{as_of:%Y%m%dT%H%M%SZ}.{kind}" for kind in ("html", "json"))
    page, facts, failed = _compared(spec, seen)
    ours = {"vanished": seen.vanished, "left_out": seen.left_out, "not_drawn": failed}
    plain.write_text(json.dumps(ours | facts, indent=2))
    html.write_text(_first(page, _section(seen, failed)))
    return html, plain


def _compared(spec: ModelSpec, seen: Watched) -> tuple[str, dict[str, Any], str | None]:
    """Evidently's page and facts of the columns that can be compared, or why there are none."""
    if not seen.kinds:
        return PLAIN, {}, "no column can be compared"
    try:
        snapshot = _snapshot(spec, seen)
        return str(snapshot.get_html_str(as_iframe=False)), json.loads(snapshot.json()), None
    except Exception as error:
        log.exception("Evidently cannot compare these samples")
        return PLAIN, {}, f"Evidently cannot compare these samples ({type(error).__name__})"


def _snapshot(spec: ModelSpec, seen: Watched) -> Any:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    names, threshold = drift.register(), drift.level(len(seen.kinds))
    numbers, words = ([c for c, k in seen.kinds.items() if k == kind] for kind in ("numeric", "categorical"))
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=words)
    preset = DataDriftPreset(
        drift_share=spec.monitor.drift_share,
        num_method=names["numeric"],
        cat_method=names["categorical"],
        num_threshold=threshold,
        cat_threshold=threshold,
    )
    sides = [side[list(seen.kinds)] for side in (seen.new, seen.old)]
    return Report([preset]).run(*(Dataset.from_pandas(side, data_definition=definition) for side in sides))


def _section(seen: Watched, failed: str | None) -> str:
    """What Evidently does not tell, to stand before what it does."""
    told = f"<p>Not drawn: {escape(failed)}.</p>" if failed else ""
    return (
        f'<section style="{STYLE}">'
        + _table("Vanished", "every row lacks it", seen.vanished)
        + told
        + _table("Not compared", "why", seen.left_out)
        + "</section>"
    )


def _table(title: str, head: str, columns: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{escape(str(n))}</td><td>{escape(why)}</td></tr>" for n, why in columns.items())
    return f"<h2>{title}</h2><table><tr><th>column</th><th>{head}</th></tr>{rows}</table>" if rows else ""


def _first(page: str, section: str) -> str:
    """The page with a section at the top of its body."""
    head, body, rest = page.partition("<body>")
    return f"{head}{body}{section}{rest}" if body else section + page
