"""The frozen model's loss and the alarms of a year as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.monitoring.drift.column import INPUT
from pipelines.prove.alarms.days import Looked
from pipelines.prove.pictures import saved

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WEEK = 7
NAMED = 14


def drawn(found: Looked, path: Path) -> Path:
    """Writes a PNG: by week what the model lost; below, what moved of what its answers hang on, and the alarms."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    above, middle, below = figure.subplots(3, 1, sharex=True, height_ratios=[3, 2, 3])
    _losses(above, found)
    _share(middle, found)
    _alarms(below, found)
    return saved(figure, path)


def _losses(axes: "Axes", found: Looked) -> None:
    weeks = [found.days[start : start + WEEK] for start in range(0, len(found.days), WEEK)]
    middles: list[Any] = [week[len(week) // 2].day for week in weeks]
    axes.plot(
        middles, [sum(d.lost for d in w) / sum(d.rows for d in w) for w in weeks], "o-", color="tab:blue"
    )
    axes.axhline(
        found.at_gate, color="tab:gray", linestyle="--", label=f"on its held-out rows, {found.at_gate:.3f}"
    )
    axes.set_ylabel("log loss by week")
    axes.set_title("The first model, frozen: what it lost")
    axes.legend(frameon=False)


def _share(axes: "Axes", found: Looked) -> None:
    days: list[Any] = [each.day for each in found.days]
    axes.fill_between(days, [100 * each.share for each in found.days], color="tab:orange", alpha=0.5)
    axes.set_ylabel("moved, %")
    axes.set_ylim(bottom=0)
    axes.set_title("Inputs that moved, by what the answers hang on")


def _alarms(axes: "Axes", found: Looked) -> None:
    """A mark for each alarm, a row per column, those with the most important first; relations are crosses."""
    names = list(
        dict.fromkeys(each.finding.column for each in sorted(found.alarms, key=lambda a: -a.finding.effect))
    )
    shown = names[:NAMED][::-1]
    for family, marker, colour in ((INPUT, "o", "tab:orange"), ("relation", "x", "tab:red")):
        those = [a for a in found.alarms if a.finding.family == family and a.finding.column in shown]
        days: list[Any] = [each.day for each in those]
        places = [shown.index(each.finding.column) for each in those]
        said = "its values" if family == INPUT else "what it says of the label"
        axes.scatter(days, places, marker=marker, color=colour, label=said)
    axes.set_yticks(range(len(shown)), shown, fontsize=7)
    axes.set_title(f"{len(found.alarms)} alarms began")
    axes.legend(frameon=False, fontsize=8, loc="upper right")
