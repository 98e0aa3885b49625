"""A model's days as pictures: the metric by version above how much truth there is, and small ones of its slices."""

from io import BytesIO
from typing import TYPE_CHECKING, Any

from pipelines.monitoring.arms import CHAMPION
from pipelines.monitoring.performance.days import Performance, Period

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pipelines.monitoring.figures import Figures, Part

NAMED = 8
"""More versions are not named in a legend: each has its number where it begins."""
SMALL, ACROSS = 12, 4
"""So many slices have a small picture, the worst ones, so many in a row."""


def picture(found: Performance) -> bytes:
    """A PNG: the metric of each version by day, its interval and what was expected, above how much truth there is."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _metric(above, found)
    _counts(below, found)
    figure.autofmt_xdate()
    return _png(figure)


def slices_picture(found: Performance) -> bytes:
    """A PNG: the worst slices day by day, each before all answers together (grey); empty where none knows enough."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    shown = [each for each in found.slices if each.known >= found.enough and each.metric is not None][:SMALL]
    if not shown:
        return b""
    down = -(-len(shown) // ACROSS)
    figure = Figure(figsize=(11, 0.4 + 1.7 * down), layout="constrained")
    grid = figure.subplots(down, ACROSS, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, each in zip(grid, shown, strict=False):
        _small(axes, found.whole, each)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator := AutoDateLocator(maxticks=4)))
        axes.xaxis.set_major_locator(locator)
    for axes in grid[max(0, len(shown) - ACROSS) : len(shown)]:
        axes.tick_params(labelbottom=True)
    for axes in grid[len(shown) :]:
        axes.set_axis_off()
    values = [day.metric for each in (found.whole, *shown) for day in each.days if day.metric is not None]
    _limit(grid[0], _middle(values))
    figure.supylabel(found.metric, fontsize="small")
    return _png(figure)


def _small(axes: "Axes", whole: "Part", each: "Part") -> None:
    axes.plot(_days(whole.days), _values(whole.days), color="0.65", lw=1)
    days, values = _days(each.days), _values(each.days)
    axes.plot(days, values, "-", color="tab:red", lw=1.2, marker=".", ms=3)
    low, high = (_values(each.days, end) for end in ("low", "high"))
    axes.fill_between(days, low, high, color="tab:red", alpha=0.15, lw=0)
    axes.set_title(f"{each.name}: {each.metric:.3g}", fontsize="small", loc="left")
    axes.tick_params(labelsize="x-small")
    axes.grid(alpha=0.3)


def _middle(values: list[float]) -> tuple[float, float]:
    """Where nearly all values lie: a day of a few answers may run out of a small picture."""
    import numpy as np

    low, high = np.quantile(values, [0.02, 0.98])
    return float(low), float(high)


def _limit(axes: "Axes", ends: tuple[float, float]) -> None:
    margin = 0.25 * (ends[1] - ends[0])
    if margin:
        axes.set_ylim(ends[0] - margin, ends[1] + margin)


def _png(figure: "Figure") -> bytes:
    out = BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()


def _values(found: "tuple[Figures, ...] | list[Period]", name: str = "metric") -> list[float]:
    return [float("nan") if (value := getattr(each, name)) is None else value for each in found]


def _metric(axes: "Axes", found: Performance) -> None:
    for version, arm in sorted({(each.version, each.arm) for each in found.periods}):
        own = [each for each in found.periods if (each.version, each.arm) == (version, arm)]
        days, values = _days(own), _values(own)
        ends = [_values(own, end) for end in ("low", "high")]
        reach = [[abs(e - v) if e == e else 0.0 for v, e in zip(values, end, strict=True)] for end in ends]
        name = f"version {version}" if arm == CHAMPION else f"version {version}, {arm}"
        mark = "o-" if arm == CHAMPION else "s:"
        (line, *_) = axes.errorbar(days, values, yerr=reach, fmt=mark, capsize=2, label=name)
        guesses = _values(own, "expected")
        if any(guess == guess for guess in guesses):
            axes.plot(days, guesses, "--", color=line.get_color(), alpha=0.6, label=f"{name}, expected")
    axes.set_ylabel(found.metric)
    axes.set_ylim(*_reach(found))
    if len({each.version for each in found.periods}) > NAMED:
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
    middle: dict[str, Any] = {"fontsize": "small", "ha": "center", "va": "bottom"}
    for version, day in begins.items():
        at: Any = date.fromisoformat(day)
        axes.axvline(at, color="gray", alpha=0.3, linewidth=0.8)
        axes.text(at, 1.0, str(version), transform=axes.get_xaxis_transform(), **middle)
    drawn, _ = axes.get_legend_handles_labels()
    lines = [each for each in drawn if not hasattr(each, "has_yerr")][:1]
    bars = [each for each in drawn if hasattr(each, "has_yerr")][:1]
    axes.legend([*bars, *lines], ["measured (above: the version)", "expected"], fontsize="small", ncols=2)


def _reach(found: Performance) -> tuple[float | None, float | None]:
    """Where the axis ends: an interval of a few answers may run out of the picture, what was measured may not."""
    values = [v for each in found.periods for v in (each.metric, each.expected) if v is not None]
    if not values or min(values) == max(values):
        return None, None
    margin, low = 0.5 * (max(values) - min(values)), min(values)
    return (low - margin if low < 0 else max(0.0, low - margin)), max(values) + margin


def _counts(axes: "Axes", found: Performance) -> None:
    days: list[Any] = sorted(set(_days(list(found.periods))))
    base = [0] * len(days)
    for name, color in (("known", "tab:green"), ("pending", "tab:orange"), ("never", "tab:gray")):
        height = [sum(getattr(p, name) for p in found.periods if _days([p]) == [day]) for day in days]
        axes.bar(days, height, bottom=base, color=color, label=f"truth {name}")
        base = [low + more for low, more in zip(base, height, strict=True)]
    axes.set_ylabel("answers")
    axes.legend(fontsize="small", ncols=3, loc="lower right", bbox_to_anchor=(1, 1))


def _days(periods: Any) -> list[Any]:
    from datetime import date

    return [date.fromisoformat(each.day) for each in periods]
