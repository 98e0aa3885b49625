"""The drawings of the decision page: plain SVG, no script, colours by class so that light and dark both read well."""

from collections.abc import Mapping, Sequence
from html import escape

from pipelines.contracts import Rule

WIDTH, PLOT = 420, 300
START = 300
SHADES = {"candidate": "c1", "champion": "c2", "baseline": "c3", "anchor": "c4"}


def number(value: float | None) -> str:
    """Four digits that tell, as people write them."""
    if value is None:
        return ""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4f}" if 0.001 <= abs(value) < 100 else f"{value:.4g}"


def span(rules: Sequence[Rule]) -> tuple[float, float]:
    """The scale that holds every interval and bound of these rules, with a little room."""
    ends = [x for r in rules for x in (r.low, r.high, r.bound, r.value) if x is not None] + [0.0]
    room = (max(ends) - min(ends)) * 0.06 or 1.0
    return min(ends) - room, max(ends) + room


def interval(rule: Rule, scale: tuple[float, float], height: int = 40, ends: bool = True) -> str:
    """One interval: what is forbidden shaded, the bound dashed, nothing's line, the range and its point."""
    middle = height / 2 - (6 if ends else 0)
    bound, value = _x(rule.bound, scale), _x(rule.value, scale)
    low, high = _x(rule.low, scale), _x(rule.high, scale)
    marks = [
        f'<rect class="forbidden" x="0" y="0" width="{bound:.1f}" height="{2 * middle:.0f}"/>',
        f'<line class="zero" x1="{_x(0, scale):.1f}" x2="{_x(0, scale):.1f}" y1="0" y2="{2 * middle:.0f}"/>',
        f'<line class="bound" x1="{bound:.1f}" x2="{bound:.1f}" y1="0" y2="{2 * middle:.0f}"/>',
        f'<path class="range {_shade(rule)}" d="M{low:.1f} {middle:.0f}H{max(high, low + 1):.1f}"/>',
        f'<circle class="dot {_shade(rule)}" cx="{value:.1f}" cy="{middle:.0f}" r="5"/>',
    ]
    return _svg(
        WIDTH, height, "".join(marks + (_ends(rule, scale, height) if ends else [])), _told(rule), "wide"
    )


def calibration(curves: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Predicted against happened for everybody who was asked; on the diagonal is right."""
    top = max([max(x, y) for points in curves.values() for x, y, _ in points] or [1.0]) * 1.08
    marks = [f'<line class="zero" x1="36" y1="{PLOT - 30}" x2="{PLOT - 8}" y2="14"/>', *_axes(top)]
    for who, points in reversed(list(curves.items())):
        at = [(36 + x / top * (PLOT - 44), PLOT - 30 - y / top * (PLOT - 44)) for x, y, _ in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        dots = "".join(
            f'<circle class="dot {SHADES.get(who, "c4")}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in at
        )
        marks.append(f'<polyline class="curve {SHADES.get(who, "c4")}" points="{line}"/>{dots}')
    return _svg(PLOT, PLOT, "".join(marks), "predicted probability against the share that happened")


def legend(names: Sequence[str]) -> str:
    """Whose colour is whose."""
    return "".join(
        f'<span class="key"><svg width="14" height="10" aria-hidden="true"><circle class="dot {SHADES.get(name, "c4")}"'
        f' cx="6" cy="5" r="4"/></svg> {escape(name)}</span>'
        for name in names
    )


def bars(values: Mapping[str, tuple[float, float]]) -> str:
    """Names with a bar as long as their value, and a line for how sure that is."""
    most = max([abs(mean) + spread for mean, spread in values.values()] or [1.0]) or 1.0
    rows = [_bar(4 + 22 * n, name, *pair, 240 / most) for n, (name, pair) in enumerate(values.items())]
    return _svg(620, 8 + 22 * len(values), "".join(rows), "importance of the columns", "broad")


def _bar(top: int, name: str, mean: float, spread: float, unit: float) -> str:
    end = START + max(0.0, mean) * unit
    return (
        _text(START - 8, top + 12, name, "end", "")
        + f'<rect class="bar" x="{START}" y="{top}" width="{end - START:.1f}" height="14" rx="2"/>'
        + f'<path class="whisker" d="M{max(START, end - spread * unit):.1f} {top + 7}H{end + spread * unit:.1f}"/>'
        + _text(end + spread * unit + 10, top + 12, number(mean), "start", "soft")
    )


def _x(value: float | None, scale: tuple[float, float]) -> float:
    low, high = scale
    return ((value or 0.0) - low) / (high - low) * WIDTH


def _shade(rule: Rule) -> str:
    return rule.decision.value.lower()


def _ends(rule: Rule, scale: tuple[float, float], height: int) -> list[str]:
    """The numbers under an interval: both ends, and the bound where there is room for it."""
    at = {
        "start": (_x(rule.low, scale), rule.low),
        "end": (_x(rule.high, scale), rule.high),
    }
    low, high = at["start"][0], at["end"][0]
    texts = [_text(max(26.0, low), height - 2, number(rule.low), "middle", "")] if high - low > 70 else []
    texts += [_text(min(WIDTH - 26.0, high), height - 2, number(rule.high), "middle", "")]
    bound = _x(rule.bound, scale)
    if min(abs(bound - low), abs(bound - high)) > 70:
        texts.append(
            _text(
                min(max(40.0, bound), WIDTH - 40.0),
                height - 2,
                f"bound {number(rule.bound)}",
                "middle",
                "soft",
            )
        )
    return texts


def _axes(top: float) -> list[str]:
    floor, marks = PLOT - 30, []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        if tick > top:
            continue
        x, y = 36 + tick / top * (PLOT - 44), floor - tick / top * (PLOT - 44)
        marks += [
            _text(x, floor + 14, f"{tick:g}", "middle", "soft"),
            _text(30, y + 4, f"{tick:g}", "end", "soft"),
        ]
    frame = f'<path class="axis" d="M36 14V{floor}H{PLOT - 8}" fill="none"/>'
    return [frame, *marks, _text(PLOT / 2 + 14, PLOT - 2, "predicted", "middle", "soft")]


def _text(x: float, y: float, text: str, anchor: str, shade: str) -> str:
    return f'<text class="{shade}" x="{x:.1f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _told(rule: Rule) -> str:
    return f"{number(rule.value)}, from {number(rule.low)} to {number(rule.high)}, bound {number(rule.bound)}"


def _svg(width: int, height: int, inside: str, told: str, shade: str = "") -> str:
    return (
        f'<svg class="{shade}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(told, quote=True)}">{inside}</svg>'
    )
