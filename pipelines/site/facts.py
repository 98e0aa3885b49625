"""What the pages know of a deployment, in small typed values; times are UTC, shares from 0 to 1."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pipelines.contracts import DriftFinding, MonitorReport
from pipelines.loop.costs.answers import Answering
from pipelines.loop.costs.bill import Line
from pipelines.promotion.champions import Tenure
from pipelines.site.told import Told


@dataclass(frozen=True)
class VersionFacts:
    """One version: its verdict and why, its loss on its held-out rows, and the times in which it was champion.

    `loss`, `before` (of the champion of then) and `baseline` are on the same rows; None where nobody measured them.
    """

    version: int
    as_of: datetime
    digest: str
    run_id: str
    aliases: tuple[str, ...]
    verdict: str | None
    judged_at: datetime | None = None
    rows: int | None = None
    why: tuple[str, ...] = ()
    loss: float | None = None
    before: float | None = None
    baseline: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    tenures: tuple[Tenure, ...] = ()
    override: str | None = None
    retired: str | None = None

    @property
    def champion(self) -> bool:
        return "champion" in self.aliases


@dataclass(frozen=True)
class History:
    """The newest versions, newest first, and of how many; `tenure` is the champion's of now, where known."""

    versions: tuple[VersionFacts, ...]
    all: int
    champion: VersionFacts | None
    tenure: Tenure | None
    moves: tuple[Tenure, ...]

    @property
    def last(self) -> VersionFacts | None:
        """The newest version that was judged."""
        return next((each for each in self.versions if each.verdict), None)

    @property
    def losses(self) -> list[float | None]:
        """The loss of each version that was judged, oldest first."""
        return [each.loss for each in reversed(self.versions) if each.verdict]


@dataclass(frozen=True)
class Watched:
    """The monitor's newest report, and when it was written by the wall clock."""

    report: MonitorReport
    written: datetime
    version: int | None

    @property
    def of_another(self) -> bool:
        """Whether it is about another version than the champion of now."""
        return self.version is not None and self.version != self.report.version


@dataclass(frozen=True)
class DatasetFacts:
    """A dataset: where its rows and files are, when its newest row was known, and when its last file came."""

    name: str
    owner: str
    reference: bool
    files: int
    refused: int
    silver: int
    quarantined: int
    newest: datetime | None
    arrived: datetime | None
    models: tuple[str, ...]


@dataclass(frozen=True)
class ViewFacts:
    """A feature view as it was computed last; `version` is None before that. `state`: healthy, warning or refused."""

    name: str
    version: int | None
    owner: str
    description: str
    sources: tuple[str, ...]
    features: tuple[str, ...]
    models: tuple[str, ...]
    as_of: datetime | None = None
    computed: datetime | None = None
    freshness: timedelta | None = None
    lives: timedelta | None = None
    rows: int = 0
    state: str = "not computed"

    @property
    def stale(self) -> bool:
        """Whether its newest value was older than values live when it was computed."""
        return self.freshness is not None and self.lives is not None and self.freshness > self.lives


@dataclass(frozen=True)
class Feature:
    """An input of the model, and what the newest rows say of it."""

    name: str
    view: str | None
    findings: tuple[DriftFinding, ...] = ()
    note: str = ""

    @property
    def moved(self) -> bool:
        return any(each.moved for each in self.findings)


@dataclass(frozen=True)
class Alerted:
    """An open alert."""

    severity: str
    what: str
    why: str
    act: str
    look: str
    since: datetime


@dataclass(frozen=True)
class Costs:
    """What a week took, by step, in all, and by answer; what models share counts in parts."""

    lines: tuple[Line, ...]
    answers: tuple[Answering, ...]
    cpu: float
    wall: float
    money: float | None
    currency: str


@dataclass(frozen=True)
class Callers:
    """How many answers a week had, when the last one was asked for, and whose keys are good for asking."""

    week: int
    last: datetime | None
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Held:
    """A batch whose file was refused, or some of whose rows are held back."""

    digest: str
    dataset: str
    file: str
    state: str
    rows: int
    why: str


@dataclass(frozen=True)
class ModelFacts:
    """Everything the pages say of one model."""

    name: str
    description: str
    owner: str
    task: str
    schedule: str
    metric: str
    drift_bound: float
    rollout: bool
    about: Told[str]
    history: Told[History]
    watched: Told[Watched | None]
    datasets: Told[tuple[DatasetFacts, ...]]
    views: Told[tuple[ViewFacts, ...]]
    features: Told[tuple[Feature, ...]]
    cost: Told[Costs]
    callers: Told[Callers]
    alerts: Told[tuple[Alerted, ...]]
    held: Told[tuple[Held, ...]]

    @property
    def behind(self) -> timedelta | None:
        """How far what has landed is ahead of what the champion learned from, by the data's own time."""
        if not (self.history.value and self.history.value.champion and self.datasets.value):
            return None
        newest = [each.newest for each in self.datasets.value if each.newest and not each.reference]
        return max(min(newest) - self.history.value.champion.as_of, timedelta(0)) if newest else None


@dataclass(frozen=True)
class HouseFacts:
    """Everything the page over all says."""

    models: tuple[ModelFacts, ...]
    datasets: Told[tuple[DatasetFacts, ...]]
    views: Told[tuple[ViewFacts, ...]]
    broken: dict[str, str] = field(default_factory=dict)
