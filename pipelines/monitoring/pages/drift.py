"""The monitor's report as HTML and JSON: what vanished first, what moved, then Evidently's comparison of two samples.

Evidently draws the samples; whether a column drifted it takes from our test of all rows. It refuses a column that is
wholly missing on one side, and so would say nothing of all others.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import as_json
from pipelines.monitoring.drift.column import WHAT
from pipelines.monitoring.drift.domain import in_words
from pipelines.monitoring.evidently.snapshot import bare, snapshot
from pipelines.monitoring.moved import Moved
from pipelines.monitoring.predictions import PREDICTION
from pipelines.monitoring.watched import Watched
from pipelines.places import whole

log = logging.getLogger(__name__)
PLAIN = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Drift</title></head><body></body></html>'
OF_TESTS = WHAT | {PREDICTION: "the champion's answers"}
YES = {True: "yes", False: "no"}
SHOWN = 20
NUMBER = '<td style="white-space: nowrap">'
STYLE = "font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1rem auto; padding: 0 1rem"


@dataclass(frozen=True)
class Drawn:
    """What the page shows beside our own tables: both samples, how near they are, and the champion's answers to them.

    `look` is what the history tells of this report.
    """

    seen: Watched
    near: tuple[str, ...] = ()
    said: Any = None
    look: dict[str, Any] = field(default_factory=dict)
    version: int = 0


def reported(
    spec: ModelSpec, drawn: Drawn, drift: Moved, folder: Path, as_of: datetime
) -> tuple[Path, Path, Any]:
    """The report's files, HTML and JSON, which come out whatever the samples hold; and Evidently's run, if there is."""
    folder.mkdir(parents=True, exist_ok=True)
    html, plain = (folder / f"{as_of:%Y%m%dT%H%M%SZ}.{kind}" for kind in ("html", "json"))
    page, facts, failed, run = _compared(spec, drawn, drift, as_of)
    seen = drawn.seen
    said = {"vanished": seen.vanished, "left_out": seen.left_out, "not_drawn": failed, "near": drawn.near}
    tested = {"drift": as_json(drift.findings), "domain": as_json(drift.domain)}
    ours = said | tested | {"look": drawn.look}
    with whole(plain) as part:
        part.write_text(json.dumps(ours | facts, indent=2))
    with whole(html) as part:
        part.write_text(_first(page, _section(drawn, drift, failed)))
    return html, plain, run


def _compared(
    spec: ModelSpec, drawn: Drawn, drift: Moved, as_of: datetime
) -> tuple[str, dict[str, Any], str | None, Any]:
    """Evidently's page, facts and run of the columns that can be compared, or why there are none.

    Where it cannot be asked for all, it is asked for what moved alone.
    """
    if not drawn.seen.kinds:
        return PLAIN, {}, "no column can be compared", None
    failed = None
    for asked in (lambda *a: snapshot(spec, drawn.seen, drift, drawn.said, *a), _bare(spec, drawn, drift)):
        try:
            run = asked(as_of, drawn.version)
            return str(run.get_html_str(as_iframe=False)), json.loads(run.json()), failed, run
        except Exception as error:
            log.exception("Evidently cannot compare these samples")
            failed = f"Evidently cannot compare these samples ({type(error).__name__})"
    return PLAIN, {}, failed, None


def _bare(spec: ModelSpec, drawn: Drawn, drift: Moved) -> Callable[[datetime, int], Any]:
    return lambda as_of, version: bare(spec, drawn.seen, drift, as_of, version)


def _section(drawn: Drawn, drift: Moved, failed: str | None) -> str:
    """What Evidently does not tell, to stand before what it does."""
    told = f"<p>Not drawn: {escape(failed)}.</p>" if failed else ""
    seen = drawn.seen
    return (
        f'<section style="{STYLE}">'
        + _table("Vanished", "every row lacks it", seen.vanished)
        + told
        + _moved(drift)
        + _together(drift)
        + _table("Not compared", "why", seen.left_out)
        + _near(drawn.near)
        + "</section>"
    )


def _table(title: str, head: str, columns: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{escape(str(n))}</td><td>{escape(why)}</td></tr>" for n, why in columns.items())
    return f"<h2>{title}</h2><table><tr><th>column</th><th>{head}</th></tr>{rows}</table>" if rows else ""


def _moved(drift: Moved) -> str:
    """What moved, and beside it what of all rows is least likely by chance."""
    heads = ("column", "what", "p-value", "at most", "distance", "moved", "the answers hang on it")
    rows = "".join(
        f"<tr><td>{escape(e.column)}</td><td>{OF_TESTS[e.family]}, {escape(e.towards)}</td>{NUMBER}{e.pvalue:.2g}</td>"
        f"{NUMBER}{e.level:.2g}</td><td>{e.effect:.3f}</td><td>{YES[e.moved]}</td><td>{YES[e.matters]}</td></tr>"
        for e in drift.findings[:SHOWN]
    )
    head = "".join(f"<th>{each}</th>" for each in heads)
    return f"<h2>All rows, the surest first</h2><table><tr>{head}</tr>{rows}</table>" if rows else ""


def _together(drift: Moved) -> str:
    """Whether a classifier tells the rows; it asks for nothing."""
    found, told = drift.domain, in_words(drift.domain)
    of = f" {found.rows:,} rows of each side, of {found.days} days." if found.auc is not None else ""
    chance = f" Of windows in which nothing changed {found.pvalue:.0%} are" if found.told else ""
    rest = " told so by chance; this asks for no training." if found.told else ""
    return f"<h2>All columns together</h2><p>{escape(told[:1].upper() + told[1:])}.{of}{chance}{rest}</p>"


def _near(near: Sequence[str]) -> str:
    """What Evidently draws below, and how far it is from all rows."""
    if not near:
        return ""
    drawn = escape("; ".join(near))
    return f"<h2>What is drawn below</h2><p>{drawn}. <a href='index.html'>All reports</a></p>"


def _first(page: str, section: str) -> str:
    """The page with a section at the top of its body."""
    head, body, rest = page.partition("<body>")
    return f"{head}{body}{section}{rest}" if body else section + page
