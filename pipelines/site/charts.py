"""Small charts as SVG inside a page: no script, no outside link, readable on light and dark paper."""

from collections.abc import Sequence
from html import escape
from typing import TypeVar

WIDTH, HEIGHT, PAD = 150, 36, 3
STYLE = (
    "svg{display:block}:root{--ink:#1565c0}@media(prefers-color-scheme:dark){:root{--ink:#64b5f6}}"
    "svg .l{fill:none;stroke:var(--ink);stroke-width:1.5}svg .a{fill:var(--ink);opacity:.16}"
    "svg .b{fill:var(--ink);opacity:.3}svg .d{fill:var(--ink)}svg .g{stroke:var(--line);stroke-width:1}"
)
T = TypeVar("T")
Quantiles = tuple[float | None, float | None, float | None, float | None, float | None]


def line(shares: Sequence[float | None], title: str) -> str:
    """Shares from 0 (bottom) to 1 (top), oldest first; a gap where one is missing."""
    spots = [(x, _y(share, 0.0, 1.0)) for x, share in _spread(shares) if share is not None]
    return _svg(_grid() + _path(spots), title) if spots else ""


def bands(runs: Sequence[Quantiles], title: str) -> str:
    """The median as a line, the middle half and the 1st to 99th percentile as bands, oldest first."""
    told = [(x, q) for x, q in _spread(runs) if q is not None and None not in q]
    if not told:
        return ""
    numbers = [[float(v or 0) for v in quantiles] for _, quantiles in told]
    low, high = min(q[0] for q in numbers), max(q[4] for q in numbers)
    spots = [[(x, _y(v, low, high)) for v in q] for (x, _), q in zip(told, numbers, strict=True)]
    outer, inner = (
        _area([s[a] for s in spots], [s[b] for s in spots], k) for a, b, k in ((0, 4, "a"), (1, 3, "b"))
    )
    drawn = _grid() + outer + inner + _path([s[2] for s in spots])
    return _svg(drawn, f"{title}, from {low:,.4g} to {high:,.4g}")


def box(*numbers: float | None) -> str:
    """Minimum, 1st percentile, quartiles, 99th percentile and maximum as one lying box; empty if one is missing."""
    known = [number for number in numbers if number is not None]
    if len(known) != 7:
        return ""
    low, p01, p25, median, p75, p99, high = known
    x = [PAD + (WIDTH - 2 * PAD) * _part(v, low, high) for v in (low, p01, p25, median, p75, p99, high)]
    middle = HEIGHT / 2
    drawn = f"<line class=g x1='{x[0]:.1f}' x2='{x[6]:.1f}' y1='{middle}' y2='{middle}' />"
    drawn += _rect(x[1], x[5], 12, "a") + _rect(x[2], x[4], 20, "b") + _rect(x[3] - 1, x[3] + 1, 24, "d")
    return _svg(drawn, "where the values lie, from the least to the largest")


def _svg(drawn: str, title: str) -> str:
    return (
        f"<svg width={WIDTH} height={HEIGHT} viewBox='0 0 {WIDTH} {HEIGHT}' role=img>"
        f"<title>{escape(title)}</title>{drawn}</svg>"
    )


def _grid() -> str:
    ends = (PAD, HEIGHT - PAD)
    return "".join(f"<line class=g x1='{PAD}' x2='{WIDTH - PAD}' y1='{y}' y2='{y}' />" for y in ends)


def _spread(values: Sequence[T]) -> list[tuple[float, T]]:
    step = (WIDTH - 2 * PAD) / max(len(values) - 1, 1)
    return [(PAD + step * n, value) for n, value in enumerate(values)]


def _part(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, 0 to 1; in the middle if these are one."""
    half = high / 2 - low / 2  # the difference of two large numbers may be none
    return min(max((value / 2 - low / 2) / half, 0.0), 1.0) if half > 0 else 0.5


def _y(value: float, low: float, high: float) -> float:
    return HEIGHT - PAD - (HEIGHT - 2 * PAD) * _part(value, low, high)


def _path(spots: Sequence[tuple[float, float]]) -> str:
    if len(spots) == 1:
        return f"<circle class=d cx='{spots[0][0]:.1f}' cy='{spots[0][1]:.1f}' r='2' />"
    return f"<polyline class=l points='{_points(spots)}' />"


def _area(below: Sequence[tuple[float, float]], above: Sequence[tuple[float, float]], kind: str) -> str:
    return f"<polygon class={kind} points='{_points([*below, *reversed(above)])}' />"


def _points(spots: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)


def _rect(left: float, right: float, height: float, kind: str) -> str:
    top = (HEIGHT - height) / 2
    return (
        f"<rect class={kind} x='{left:.1f}' y='{top}' width='{max(right - left, 1):.1f}' height='{height}' />"
    )


def trend(values: Sequence[float | None], title: str) -> str:
    """Any numbers from their least to their largest, oldest first; a dot at the newest. Empty without a number."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    spots = [(x, _y(value, low, high)) for x, value in _spread(values) if value is not None]
    end = f"<circle class=d cx='{spots[-1][0]:.1f}' cy='{spots[-1][1]:.1f}' r='2.5' />"
    drawn = _path(spots) + (end if len(spots) > 1 else "")
    return _svg(drawn, f"{title}: from {known[0]:,.4g} to {known[-1]:,.4g}")
