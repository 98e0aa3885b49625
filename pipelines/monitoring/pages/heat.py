"""How far each column was from the champion's training, week by week, as one picture."""

from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.monitoring.drift import bins as binned
from pipelines.monitoring.drift import days
from pipelines.monitoring.drift.reference import LABEL, Reference, counted
from pipelines.monitoring.drift.sketch import Sketches
from pipelines.places import whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipelines.stores.tables import Tables

NAME = "columns.png"
SHOWN, WEEKS, LOUD = 25, 53, 0.3
"""So many columns and weeks at most are drawn; a distance of LOUD has the loudest colour."""
MONDAY = 3
"""The first day of 1970 was a Thursday: three days after a Monday."""


@dataclass(frozen=True)
class Heat:
    """The distance, from 0 to 1, of each column in each week (by its Monday) from the reference: (columns, weeks)."""

    columns: tuple[str, ...]
    weeks: tuple[date, ...]
    distances: "NDArray[np.float64]"


def heat(reference: Reference, sketches: Sketches) -> Heat:
    """Of the columns that both know: the label first, then those on which the model's answers hang most."""
    import numpy as np

    known = [name for name in reference.columns if name in sketches.kinds]
    known.sort(key=lambda name: (name != LABEL, -reference.weights.get(name, 0.0), name))
    weeks = sorted({(day + MONDAY) // 7 for day in sketches.days()})[-WEEKS:]
    parts = [sketches.between(7 * week - MONDAY, 7 * week - MONDAY + 6) for week in weeks]
    names = tuple(known[:SHOWN])
    found = np.asarray([[_distance(reference, name, each) for each in parts] for name in names])
    begins = tuple(days.EPOCH + timedelta(days=7 * week - MONDAY) for week in weeks)
    return Heat(names, begins, found.reshape(len(names), len(weeks)))


def _distance(reference: Reference, name: str, part: Sketches) -> float:
    column = reference.columns[name]
    now = counted(part, name, column.bins, part.days()).sum(axis=(0, 1))
    return binned.effect(column.bins.kind, column.shares, now / now.sum()) if now.sum() else float("nan")


def drawn(model: str, version: int, found: Heat) -> bytes:
    """A PNG: a row per column, a field per week, the darker the further from what the version learned from."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.4 + 0.24 * len(found.columns)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(found.distances, cmap="YlOrRd", vmin=0, vmax=LOUD, aspect="auto")
    axes.set_yticks(range(len(found.columns)), found.columns, fontsize="small")
    every = max(1, len(found.weeks) // 12)
    axes.set_xticks(range(0, len(found.weeks), every), [f"{week:%Y-%m-%d}" for week in found.weeks[::every]])
    axes.tick_params(axis="x", labelsize="small", rotation=30)
    axes.set_title(f"{model}: distance of each week from what version {version} learned from", loc="left")
    figure.colorbar(image, label="distance (0 to 1)", extend="max")
    out = BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()


def written(model: str, version: int, reference: Reference, tables: "Tables", folder: Path) -> Path | None:
    """The picture of all days that were kept of a version; None of fewer than two weeks."""
    spans: Any = days.spans(model, tables)
    if version not in spans:
        return None
    last = spans[version][1]
    first = last - timedelta(days=last.weekday(), weeks=WEEKS - 1)
    found = heat(reference, days.kept(model, version, first, last, tables))
    if not found.columns or len(found.weeks) < 2:
        return None
    with whole(folder / NAME) as part:
        part.write_bytes(drawn(model, version, found))
    return folder / NAME
