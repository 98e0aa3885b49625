"""The rubric held against one model: points, sums, the least of them, and how the paper reads that."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from pipelines import catalog
from pipelines.contracts import EvergreenError
from pipelines.review.scorecard.evidence import NONE, Evidence, Scene, nothing
from pipelines.review.scorecard.outcomes import Outcomes
from pipelines.review.scorecard.rubric import SECTIONS, Item
from pipelines.stores import Stores

WITHIN = timedelta(days=30)
"""Evidence that is older shows nothing, unless a person's deed or a document is what counts."""

AHEAD = timedelta(hours=1)
"""How far another machine's clock may be before ours."""


@dataclass(frozen=True)
class Row:
    """An item as it stands; `at` is the date of its evidence."""

    section: str
    number: int
    title: str
    points: float
    said: str
    at: datetime | None
    command: str
    remedy: str


@dataclass(frozen=True)
class Card:
    """All items of one model. The score is the least of the sections' sums; `reading` is what the paper makes of it."""

    model: str
    rows: tuple[Row, ...]

    @property
    def sums(self) -> dict[str, float]:
        found = dict.fromkeys(SECTIONS, 0.0)
        for row in self.rows:
            found[row.section] += row.points
        return found

    @property
    def score(self) -> float:
        return min(self.sums.values())

    @property
    def reading(self) -> str:
        return next(said for most, said in READINGS if self.score <= most)


READINGS = (
    (0.0, "0: a research project rather than a production system"),
    (1.0, "above 0, to 1: not untested, but reliability may have serious holes"),
    (2.0, "above 1, to 2: a first pass at production; more investment may be needed"),
    (3.0, "above 2, to 3: reasonably tested; more of it could be automated"),
    (5.0, "above 3, to 5: strong automated testing and monitoring, fit for what is critical"),
    (float("inf"), "above 5: exceptional automated testing and monitoring"),
)
"""The paper's table of ranges, in our words."""


def scored(
    name: str, stores: Stores, looking: Stores, now: datetime, project: Path, within: timedelta = WITHIN
) -> Card:
    """One model as it stands now; evidence older than `within` counts for nothing. It changes nothing in the home."""
    scene = Scene(catalog.model(name), stores, looking, now, project, Outcomes(project))
    rows = [
        _row(section, number, item, scene, within)
        for section, items in SECTIONS.items()
        for number, item in enumerate(items, start=1)
    ]
    return Card(name, tuple(rows))


def _row(section: str, number: int, item: Item, scene: Scene, within: timedelta) -> Row:
    found = _aged(_tried(item.check, scene), scene.now, within)
    command, remedy = (text.replace("{model}", scene.spec.name) for text in (item.command, item.remedy))
    remedy = remedy if found.points < 1 else ""
    return Row(section, number, item.title, found.points, found.said, found.at, command, remedy)


def _tried(check: Callable[[Scene], Evidence], scene: Scene) -> Evidence:
    """What cannot be looked at shows nothing, and keeps no other item from being looked at."""
    try:
        return check(scene)
    except (EvergreenError, SQLAlchemyError, OSError) as error:
        return nothing(" ".join(str(error).split())[:300])


def _aged(found: Evidence, now: datetime, within: timedelta) -> Evidence:
    """Evidence without a date, from the future, or too old, gives no point."""
    limit = max(within, found.lasts) if found.lasts else within
    if found.points == NONE:
        return found
    if found.at is None:
        return Evidence(NONE, f"{found.said}; when is not known")
    if found.at > now + AHEAD:
        return Evidence(NONE, f"{found.said}; that is dated after now", found.at)
    if now - found.at > limit:
        return Evidence(
            NONE, f"{found.said}; that is {(now - found.at).days} days old, {limit.days} count", found.at
        )
    return found
