"""What is remembered of each key: its last values, their means over stretches of time, and the same time before."""

from dataclasses import dataclass
from datetime import timedelta

from pipelines.scaffold.data.moments import MINUTE, in_sql, written
from pipelines.scaffold.design import Design


@dataclass(frozen=True)
class Feature:
    name: str
    sql: str
    description: str
    level: bool = False
    """Whether it is a value of what is told itself."""


@dataclass(frozen=True)
class Window:
    name: str
    start: str
    end: str
    length: timedelta


@dataclass(frozen=True)
class History:
    """One feature view: what it averages, over which windows, and the features that come of it."""

    watched: tuple[tuple[str, str], ...]
    windows: tuple[Window, ...]
    features: tuple[Feature, ...]

    @property
    def look_back(self) -> timedelta:
        return max(window.length for window in self.windows)


def history(design: Design) -> History:
    """The view of a model with a time; what it says of a moment uses only rows up to that moment."""
    label = design.label.name
    watched = [(label, design.answer.sql(label)), *((c.name, c.name) for c in design.of("history"))]
    lasts = [_last(length) for length in design.windows]
    before = [_before(season, design) for season in design.seasons]
    features = [_rows(window) for window in lasts]
    for name, _ in watched:
        own = name == label
        features.append(
            Feature(f"last_{name}", f"cast({name} as double)", f"{name}, the last one known", own)
        )
        features += [_mean(name, window, own) for window in lasts]
    for window in before:
        said = f"{label}, {window.name.replace('_', ' ')} the moment asked about"
        features.append(Feature(f"{label}_{window.name}", f"avg({label}) over {window.name}", said, True))
    return History(tuple(watched), (*lasts, *before), tuple(features))


def _last(length: timedelta) -> Window:
    return Window(f"last_{written(length)}", f"interval {in_sql(length)}", "current row", length)


def _before(season: timedelta, design: Design) -> Window:
    """The rows a day, week or year before the moment asked about, seen from the last row known then."""
    assert design.clock is not None  # noqa: S101 - only a model with a time has a history
    middle, half = season - design.horizon, max(MINUTE, design.clock.step / 2)
    start, end = middle + half, max(MINUTE, middle - half)
    name = {1: "day_before", 7: "week_before", 365: "year_before"}[season.days]
    return Window(name, f"interval {in_sql(start)}", f"interval {in_sql(end)} preceding", start + MINUTE)


def _rows(window: Window) -> Feature:
    sql = f"cast(sum(how_many) over {window.name} as double)"
    return Feature(f"rows_{written(window.length)}", sql, f"rows in the last {in_sql(window.length)}")


def _mean(name: str, window: Window, level: bool) -> Feature:
    length = written(window.length)
    said = f"{name}, mean of the last {in_sql(window.length)}"
    return Feature(f"mean_{name}_{length}", f"avg({name}) over {window.name}", said, level)
