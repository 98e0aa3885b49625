"""What the retrainings gained, week by week, as a picture."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.gate.intervals import Improvement
from pipelines.monitoring.truth import KNOWN
from pipelines.prove.pictures import saved
from pipelines.prove.year.findings import CONFIDENCE, compared

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

WEEK, MONTH = timedelta(days=7), timedelta(days=28)
LEAST = 50
"""Of fewer answers a span is not drawn."""
Span = tuple[Any, float, float, Improvement]
"""Its middle, the log loss of the champions and of the first one, frozen, and the gain."""


def drawn(rows: "pd.DataFrame", retrainings: Sequence[dict[str, Any]], path: Path) -> Path:
    """Writes a PNG: log loss of both by week of the event, among the trainings; below, the gain by four weeks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    _losses(above, spans(rows, WEEK), retrainings)
    _gains(below, spans(rows, MONTH))
    return saved(figure, path)


def spans(rows: "pd.DataFrame", length: timedelta) -> list[Span]:
    """The spans of so long from the first event on of which enough is known."""
    known, first = rows[rows["state"] == KNOWN], rows["event_timestamp"].min().floor("D")
    numbers = (known["event_timestamp"] - first) // length
    found = [
        (first + (number + 0.5) * length, some)
        for number, some in known.groupby(numbers)
        if len(some) >= LEAST
    ]
    return [(middle.to_pydatetime(), *compared(some, "log_loss")) for middle, some in found]


def _losses(axes: "Axes", found: Sequence[Span], retrainings: Sequence[dict[str, Any]]) -> None:
    middles = [each[0] for each in found]
    axes.plot(
        middles,
        [each[1] for each in found],
        "o-",
        color="tab:blue",
        label="the champions, as they were served",
    )
    axes.plot(
        middles, [each[2] for each in found], "s--", color="tab:gray", label="the first champion, frozen"
    )
    _promotions(axes, retrainings)
    axes.set_ylabel("log loss, of a week")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)


def _promotions(axes: "Axes", retrainings: Sequence[dict[str, Any]]) -> None:
    """A line at each training, full where its version became champion; one of each kind is named."""
    named = {"-": "trained and promoted", ":": "trained, not promoted"}
    for each in [each for each in retrainings if each["trained"]]:
        at: Any = datetime.fromisoformat(each["moment"])
        style = "-" if each["promoted"] else ":"
        axes.axvline(
            at, linestyle=style, color="tab:green", alpha=0.6, linewidth=1, label=named.pop(style, None)
        )


def _gains(axes: "Axes", found: Sequence[Span]) -> None:
    gains = [each[3] for each in found]
    reach = [[gain.mean - gain.low for gain in gains], [gain.high - gain.mean for gain in gains]]
    axes.errorbar(
        [each[0] for each in found],
        [gain.mean for gain in gains],
        yerr=reach,
        fmt="o",
        capsize=2,
        color="tab:blue",
    )
    axes.axhline(0, color="gray", linewidth=1)
    axes.set_ylabel(f"less by, of 4 weeks ({CONFIDENCE:.0%})")
    axes.grid(alpha=0.3)
