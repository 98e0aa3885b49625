"""A model's days as a picture and a table, in one HTML file that needs no network."""

import base64
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.monitoring.performance import CONFIDENCE, Performance, Period
from pipelines.places import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 1rem auto; padding: 0 1rem; }
img { max-width: 100%; background: white; border-radius: 4px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: 0 .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #8884; }
td:first-child, th:first-child { text-align: left; }
"""
NAMED = 8
"""More versions are not named in a legend: each has its number where it begins."""
HEADS = ("day", "version", "answers", "known", "pending", "never", "degraded")


def paged(found: Performance, folder: Path) -> Path:
    """Writes the page of a model into the folder, in place of the one before; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.model}.html"
    with whole(path) as part:
        part.write_text(_page(found))
    return path


def _page(found: Performance) -> str:
    shown = base64.b64encode(picture(found)).decode()
    heads = "".join(f"<th>{head}</th>" for head in (*HEADS, found.metric, "interval", "expected"))
    rows = "".join(_row(each) for each in found.periods)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(found.model)} over time</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(found.model)} over time</h1><p>As of {found.as_of:%Y-%m-%d %H:%M} UTC, by the day of the event."
        f" Bars are {CONFIDENCE:.0%} intervals of the days alone; <em>expected</em> is no measurement: it is what"
        f" {escape(found.metric)} would be if every probability were right.</p>"
        f'<img alt="{escape(found.metric)} by day" src="data:image/png;base64,{shown}">'
        f"<table><tr>{heads}</tr>{rows}</table></body></html>"
    )


def _row(each: Period) -> str:
    interval = "" if each.low is None or each.high is None else f"{each.low:.4g} to {each.high:.4g}"
    cells = (
        each.day, each.version, f"{each.answers:,}", f"{each.known:,}", f"{each.pending:,}", f"{each.never:,}",
        f"{each.degraded:,}", _number(each.metric), interval, _number(each.expected),
    )  # fmt: skip
    return f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in cells)}</tr>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def picture(found: Performance) -> bytes:
    """A PNG: the metric of each version by day, its interval and what was expected, above how much truth there is."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _metric(above, found)
    _counts(below, found)
    figure.autofmt_xdate()
    out = BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()


def _metric(axes: "Axes", found: Performance) -> None:
    versions = sorted({each.version for each in found.periods})
    for version in versions:
        own = [each for each in found.periods if each.version == version]
        days, values = _days(own), [float("nan") if p.metric is None else p.metric for p in own]
        reach = [
            [
                0.0 if end is None or p.metric is None else abs(end - p.metric)
                for p, end in zip(own, ends, strict=True)
            ]
            for ends in ([p.low for p in own], [p.high for p in own])
        ]
        (line, *_) = axes.errorbar(days, values, yerr=reach, fmt="o-", capsize=2, label=f"version {version}")
        guesses = [float("nan") if p.expected is None else p.expected for p in own]
        axes.plot(
            days, guesses, "--", color=line.get_color(), alpha=0.6, label=f"version {version}, expected"
        )
    axes.set_ylabel(found.metric)
    axes.set_ylim(*_reach(found))
    if len(versions) > NAMED:
        _numbered(axes, found)
    else:
        axes.legend(fontsize="small", ncols=2)
    axes.grid(alpha=0.3)


def _numbered(axes: "Axes", found: Performance) -> None:
    """Each version's number above its first day; what is drawn is told once for all."""
    from datetime import date

    begins: dict[int, str] = {}
    for each in found.periods:
        begins.setdefault(each.version, each.day)
    for version, day in begins.items():
        at: Any = date.fromisoformat(day)
        axes.axvline(at, color="gray", alpha=0.3, linewidth=0.8)
        axes.text(
            at,
            1.0,
            f"{version}",
            transform=axes.get_xaxis_transform(),
            fontsize="small",
            ha="center",
            va="bottom",
        )
    drawn, _ = axes.get_legend_handles_labels()
    lines = [each for each in drawn if not hasattr(each, "has_yerr")][:1]
    bars = [each for each in drawn if hasattr(each, "has_yerr")][:1]
    axes.legend([*bars, *lines], ["measured (above: the version)", "expected"], fontsize="small", ncols=2)


def _reach(found: Performance) -> tuple[float | None, float | None]:
    """Where the axis ends: an interval of a few answers may run out of the picture, what was measured may not."""
    values = [v for each in found.periods for v in (each.metric, each.expected) if v is not None]
    margin = 0.5 * (max(values) - min(values)) if values else 0.0
    return (min(values) - margin, max(values) + margin) if margin else (None, None)


def _counts(axes: "Axes", found: Performance) -> None:
    days: list[Any] = sorted(set(_days(list(found.periods))))
    base = [0] * len(days)
    for name, color in (("known", "tab:green"), ("pending", "tab:orange"), ("never", "tab:gray")):
        height = [sum(getattr(p, name) for p in found.periods if _days([p]) == [day]) for day in days]
        axes.bar(days, height, bottom=base, color=color, label=f"truth {name}")
        base = [low + more for low, more in zip(base, height, strict=True)]
    axes.set_ylabel("answers")
    axes.legend(fontsize="small", ncols=3, loc="lower right", bbox_to_anchor=(1, 1))


def _days(periods: list[Period]) -> list[Any]:
    from datetime import date

    return [date.fromisoformat(each.day) for each in periods]
