"""A model's days as pictures and tables, in one HTML file that needs no network."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from pipelines.catalog.gate_spec import METRICS
from pipelines.monitoring.arms import Arms
from pipelines.monitoring.calibration import GATE, NOTHING, OWN
from pipelines.monitoring.figures import CONFIDENCE, Figures
from pipelines.monitoring.performance.days import Performance, Period
from pipelines.monitoring.performance.pictures import picture, slices_picture
from pipelines.places import whole

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 1rem auto; padding: 0 1rem; }
img { max-width: 100%; background: white; border-radius: 4px; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: 0 .45rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #8884; }
td:first-child, th:first-child { text-align: left; }
tr.few { opacity: .6; }
"""
HEADS = ("answers", "known", "pending", "never", "degraded")
CALIBRATED = {OWN: "", GATE: "\N{DEGREE SIGN}", NOTHING: "*"}
"""What stands behind an estimate: by what it was calibrated."""


def paged(found: Performance, folder: Path) -> Path:
    """Writes the page of a model into the folder, in place of the one before; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.model}.html"
    with whole(path) as part:
        part.write_text(_page(found))
    return path


def _page(found: Performance) -> str:
    body = (
        _image(f"{found.metric} by day", picture(found))
        + _estimate(found)
        + _rollouts(found)
        + _slices(found)
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(found.model)} over time</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(found.model)} over time</h1><p>As of {found.as_of:%Y-%m-%d %H:%M} UTC, by the day of the event."
        f" Bars are {CONFIDENCE:.0%} intervals of the days alone; <em>expected</em> is no measurement.</p>"
        f"{body}{_days(found)}</body></html>"
    )


def _image(name: str, shown: bytes) -> str:
    return f'<img alt="{escape(name)}" src="data:image/png;base64,{base64.b64encode(shown).decode()}">'


def _estimate(found: Performance) -> str:
    """What the estimate is, what it cannot see, and how far it was off so far."""
    if all(each.expected is None for each in found.periods):
        return ""
    return (
        f"<h2>Before the truth is there</h2><p><em>Expected</em> is an estimate, of all answers of a day: what"
        f" {escape(found.metric)} would be if probabilities came true as those of earlier days did, by the truth that"
        " was known when the day ended. Where that was too little, those marked \N{DEGREE SIGN} go by the held-out rows"
        " of the version's gate, and those marked * take the probabilities as they are. It sees that"
        " questions have become harder. It does <strong>not</strong> see concept drift, where the same question has"
        f" another answer than before: only the truth shows that.</p><p>{_off(found)}</p>"
    )


def _off(found: Performance) -> str:
    track = found.track
    if track.error is None or track.claimed is None:
        return "How far it is off nobody knows yet: no day of which all truth is there had a calibrated estimate."
    inside = (
        "" if track.inside is None else f"; {track.inside:.0%} of the measured intervals held the estimate"
    )
    days = f"the {track.days:,} days" if track.days > 1 else "the one day"
    return (
        f"So far, on {days} of a version whose truth is all there, it was {track.error:.3g} off on average{inside}. The"
        f" probabilities taken as they are would have been {track.claimed:.3g} off."
    )


def _slices(found: Performance) -> str:
    """The slices of the spec's gate over all days, the worst first, and pictures of the worst."""
    if not found.slices:
        return ""
    small, few = slices_picture(found), f"{found.enough:,}"
    rows = [_row("all answers", found.whole, _number(found.whole.expected))]
    rows += [
        _row(each.name, each, _number(each.expected), each.known < found.enough) for each in found.slices
    ]
    drawn = _image(f"{found.metric} of the worst slices by day", small) if small else ""
    told = "" if not small else " Pictures: day by day, grey is all answers together."
    return (
        f"<h2>Slices</h2><p>Those of the gate, over all days and versions, the worst {escape(found.metric)} first"
        f" ({_better(found.metric)} is better); pale ones have fewer than {few} answers with truth and come last. Each"
        f" interval stands alone: of twenty slices one may lie outside by chance.{told}</p>{drawn}"
        + _table(("slice", *HEADS, found.metric, "interval", "expected"), rows)
    )


def _better(metric: str) -> str:
    return "more" if METRICS[metric][1] else "less"


def _rollouts(found: Performance) -> str:
    """Each rollout's arms: the answers that left, and what both said to the same questions."""
    return (
        "<h2>Rollouts</h2>" + "".join(map(_arms, found.arms, [found.metric] * len(found.arms)))
        if found.arms
        else ""
    )


def _arms(each: Arms, metric: str) -> str:
    numbers = {"champion": each.champion, "challenger": each.challenger}
    rows = [
        _row(f"{part.name} (version {numbers[part.name]}), {what}", part)
        for what, parts in (("its answers", each.given), ("asked the same", each.same))
        for part in parts
    ]
    ended = "still runs" if each.ended is None else f"ended {each.ended:%Y-%m-%d %H:%M} UTC"
    became = "" if each.ended is None else ", promoted" if each.promoted else ", taken back"
    return (
        f"<p>Version {each.challenger} beside champion {each.champion}, begun {each.begun:%Y-%m-%d %H:%M} UTC,"
        f" {ended}{became}.{_gain(each, metric)}</p>" + _table(("arm", *HEADS, metric, "interval"), rows)
    )


def _gain(each: Arms, metric: str) -> str:
    if each.gain is None:
        return ""
    reach = "" if each.low is None else f" ({CONFIDENCE:.0%} interval {each.low:+.4g} to {each.high:+.4g})"
    return f" Asked the same, the challenger's {escape(metric)} is better by {each.gain:+.4g}{reach}."


def _days(found: Performance) -> str:
    heads = ("day", "version", "arm", *HEADS, found.metric, "interval", "expected")
    rows = [_row((each.day, str(each.version), each.arm), each, _guess(each)) for each in found.periods]
    return "<h2>Days</h2>" + _table(heads, rows)


def _guess(each: Period) -> str:
    return "" if each.expected is None else _number(each.expected) + CALIBRATED[each.basis]


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _row(first: str | Sequence[str], each: Figures, guess: str | None = None, few: bool = False) -> str:
    interval = "" if each.low is None or each.high is None else f"{each.low:.4g} to {each.high:.4g}"
    cells = [
        *([first] if isinstance(first, str) else first), f"{each.answers:,}", f"{each.known:,}", f"{each.pending:,}",
        f"{each.never:,}", f"{each.degraded:,}", _number(each.metric), interval, *([] if guess is None else [guess]),
    ]  # fmt: skip
    shown = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f"<tr{' class=few' if few else ''}>{shown}</tr>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
