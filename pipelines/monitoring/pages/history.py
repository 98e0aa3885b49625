"""A model's past looks of the monitor as one page, newest first, made from the reports that are still there."""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipelines.monitoring.pages.heat import NAME as HEAT
from pipelines.places import whole

log = logging.getLogger(__name__)
KEPT = 60
"""Reports of a model; older ones leave with their row. One of 55 columns has 7 MB."""
NAME = re.compile(r"\d{8}T\d{6}Z")
STYLE = """
:root { color-scheme: light dark; --line: #2a6fb0; }
@media (prefers-color-scheme: dark) { :root { --line: #7ab8f5; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 1rem auto; padding: 0 1rem; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .1rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid #8884; }
td.yes { font-weight: 600; } td:first-child { white-space: nowrap; }
img { max-width: 100%; background: #fff; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; fill: currentColor; }
svg polyline { fill: none; stroke: var(--line); stroke-width: 2; } svg circle { fill: var(--line); }
svg line { stroke: currentColor; opacity: .35; } svg line.asks { stroke-dasharray: 6 4; opacity: .7; }
"""
WIDE, HIGH, LEFT, ROOM = 900, 180, 44, 24


@dataclass(frozen=True)
class Look:
    """One report: its moment, the name of its files, and what it says; an older report may not say all of it."""

    as_of: datetime
    name: str
    said: dict[str, Any]

    @property
    def share(self) -> float | None:
        found = self.said.get("drift_share")
        return float(found) if isinstance(found, int | float) and 0 <= found <= 1 else None


def written(folder: Path, model: str, asks: float, kept: int = KEPT) -> Path | None:
    """The page of the reports in a folder, `asks` being the share that asks for a training; None if it cannot be
    written, which hinders nothing else. Reports beyond the newest `kept` leave."""
    try:
        names = sorted((p.stem for p in folder.glob("*.json") if NAME.fullmatch(p.stem)), reverse=True)
        for old in names[kept:]:
            for kind in ("html", "json"):
                (folder / f"{old}.{kind}").unlink(missing_ok=True)
        looks = [look for name in names[:kept] if (look := _look(folder / f"{name}.json"))]
        path = folder / "index.html"
        with whole(path) as part:
            part.write_text(_page(model, looks, asks, (folder / HEAT).exists()), errors="replace")
    except OSError as error:
        log.warning("the history of %s was not written (%s)", model, type(error).__name__)
        return None
    return path


def _look(path: Path) -> Look | None:
    """What a report says; None if it cannot be read, or has gone by now."""
    try:
        found = json.loads(path.read_text())
        said = found.get("look")
        moment = datetime.strptime(path.stem, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except (OSError, ValueError, AttributeError):
        return None
    return Look(moment, path.stem, said if isinstance(said, dict) else {})


def _page(model: str, looks: Sequence[Look], asks: float, heat: bool = False) -> str:
    weeks = f'<img src="{HEAT}" alt="distance of each column from the training, by week">' if heat else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(model)}: what moved</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(model)}: what moved</h1><p>The newest {len(looks)} looks of the monitor; {KEPT} are kept."
        f" <em>share</em> is of the columns that moved, by what the answers hang on; from {asks:.0%} on it asks for"
        f" a training.</p>{_picture(looks, asks)}{weeks}{_table(looks)}</body></html>"
    )


def _table(looks: Sequence[Look]) -> str:
    heads = ("as of (UTC)", "version", "drifted", "share", "what moved", "decayed")
    head = "".join(f"<th>{each}</th>" for each in heads)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(map(_row, looks))}</table></div>'


def _row(look: Look) -> str:
    said = look.said
    link = f'<a href="{quote(look.name)}.html">{look.as_of:%Y-%m-%d %H:%M}</a>'
    share = "" if look.share is None else f"{look.share:.0%}"
    moved = escape(", ".join(map(str, _list(said.get("moved")))))
    version = escape(str(said.get("version", "")))
    cells = f"<td>{link}</td><td>{version}</td>{_yes(said.get('drifted'))}<td>{share}</td><td>{moved}</td>"
    return f"<tr>{cells}{_yes(said.get('decayed'))}</tr>"


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def _yes(found: Any) -> str:
    if not isinstance(found, bool):
        return "<td></td>"
    return '<td class="yes">yes</td>' if found else "<td>no</td>"


def _picture(looks: Sequence[Look], asks: float) -> str:
    """The share over time, oldest first, with the line from which it asks for a training."""
    known = [(look.as_of, look.share) for look in reversed(looks) if look.share is not None]
    if len(known) < 2:
        return ""
    spots = list(_spots([when for when, _ in known], [share for _, share in known]))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{when:%Y-%m-%d %H:%M}: {share:.0%}</title></circle>'
        for (x, y), (when, share) in zip(spots, known, strict=True)
    )
    return (
        f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="share of the columns that moved, over time">'
        f'{_rule(0.0)}{_rule(1.0)}{_rule(asks, "asks")}<polyline points="{line}"/>{dots}'
        f'<text x="{LEFT}" y="{HIGH - 4}">{known[0][0]:%Y-%m-%d}</text>'
        f'<text x="{WIDE - 8}" y="{HIGH - 4}" text-anchor="end">{known[-1][0]:%Y-%m-%d}</text></svg>'
    )


def _spots(moments: Sequence[datetime], shares: Sequence[float]) -> Iterator[tuple[float, float]]:
    first, long = moments[0], max((moments[-1] - moments[0]).total_seconds(), 1.0)
    for when, share in zip(moments, shares, strict=True):
        yield LEFT + (WIDE - LEFT - 12) * (when - first).total_seconds() / long, _height(share)


def _height(share: float) -> float:
    return HIGH - ROOM - (HIGH - 2 * ROOM) * share


def _rule(share: float, kind: str = "") -> str:
    high = _height(share)
    line = f'<line class="{kind}" x1="{LEFT}" x2="{WIDE - 8}" y1="{high:.1f}" y2="{high:.1f}"/>'
    return f'{line}<text x="{LEFT - 6}" y="{high + 4:.1f}" text-anchor="end">{share:.0%}</text>'
