"""The small typed values that pass between stages. Ids, addresses, counts and times; never data."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

Say = Callable[[str], None]
"""Tells a person, a line at a time, how far long work has come."""


class EvergreenError(Exception):
    """A mistake a person can mend: the message names what is missing and what to do. Never retried."""


class NothingToDo(EvergreenError):
    """There is no new work; not a failure."""

    @classmethod
    def say(cls, why: str) -> NoReturn:
        raise cls(why)


class Waiting(NothingToDo):
    """There is work, but a policy holds it back; the message says which and until when. Nothing is lost."""


class TransientError(EvergreenError):
    """Something outside did not answer; trying again may help."""


class BatchState(StrEnum):
    """How far a batch has come; it only ever moves down this list. A refused one may be released to SEEN."""

    SEEN = "seen"
    CLAIMED = "claimed"
    REFUSED = "refused"
    COMMITTED = "committed"
    ARCHIVED = "archived"

    @property
    def taken(self) -> bool:
        """Whether the rows are in."""
        return self in (BatchState.COMMITTED, BatchState.ARCHIVED)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to decide."""
        return self.taken or self is BatchState.REFUSED


@dataclass(frozen=True)
class Batch:
    """One landed file; `digest` (SHA-256 of its bytes, hex) is its identity."""

    digest: str
    dataset: str
    name: str
    size: int
    state: BatchState = BatchState.SEEN
    reason: str | None = None


@dataclass(frozen=True)
class IngestResult:
    """Where the rows of one batch went: parsed = silver + quarantined + superseded.

    `first_known` and `last_known` bound the rows' available_at (UTC), None without rows in silver. `attempt`
    is the fencing token of the claim whose work counts.
    """

    digest: str
    dataset: str
    name: str
    state: BatchState
    parsed: int = 0
    silver: int = 0
    quarantined: int = 0
    superseded: int = 0
    reason: str | None = None
    first_known: datetime | None = None
    last_known: datetime | None = None
    report: str | None = None
    attempt: int = 0
    profile: dict[str, float] | None = None

    @property
    def arrival(self) -> str:
        """What consumers note as taken into account: rows released later arrive anew."""
        return f"{self.digest}.{self.attempt}"


@dataclass(frozen=True)
class Claim:
    """The right to take a batch in until the lease ends; a later claim has a higher token and outranks it."""

    digest: str
    dataset: str
    token: int
    round: int = 0


@dataclass(frozen=True)
class FeatureRun:
    """What one computation of the feature tables did, up to `as_of`: rows per view, Delta versions of their tables.

    `alerts` are checks that failed without stopping it, each with what, why and whether to act. `waiting` says of each
    view that a late dataset holds back which one that is, and how far the view is known; `failed` why a view could not
    be computed, where that stopped no other. `seconds` is what computing each view's rows took.
    """

    as_of: datetime
    rows: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    alerts: tuple[dict[str, str], ...] = ()
    waiting: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict, compare=False)


class Cause(StrEnum):
    """Why a training may begin. What woke the run is only a hint; these are found in the records."""

    DATA = "data"
    CODE = "code change"
    DRIFT = "drift"
    DECAY = "decay"
    PERSON = "person"


@dataclass(frozen=True)
class Reason:
    """One cause of a training, and the facts that show it."""

    cause: Cause
    detail: str


@dataclass(frozen=True)
class Signal:
    """What a monitor found on one champion version as of a moment: DRIFT or DECAY."""

    model: str
    version: int
    as_of: datetime
    cause: Cause
    detail: str
    recorded_at: datetime


@dataclass(frozen=True)
class Plan:
    """A training run that may begin: why, on what, and under which policy. `key` names it in every record.

    `trigger` is what woke it, `waited` what was held back before it, and why.
    """

    model: str
    key: str
    as_of: datetime
    trigger: str
    forced: bool
    reasons: tuple[Reason, ...]
    policy: dict[str, str]
    new_batches: int
    new_rows: int
    waited: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingSet:
    """A question asked as of a moment, and where its answer lies (Parquet).

    `digest` identifies the question: Delta versions + spec digest + as_of; `content` is the answer's SHA-256.
    `positives` counts the labels that are 1; None where labels are values.
    """

    model: str
    as_of: datetime
    digest: str
    path: str
    rows: int
    positives: int | None
    holdout_start: datetime
    holdout_rows: int
    versions: dict[str, int] = field(default_factory=dict)
    content: str = ""

    @property
    def file(self) -> Path:
        return Path(self.path)

    @property
    def views(self) -> dict[str, int]:
        """The version of each feature view that the rows are from."""
        tables = [name.split("/")[1:] for name in self.versions if name.startswith("features/")]
        return {view: int(number.removeprefix("v")) for view, number in tables}


@dataclass(frozen=True)
class Candidate:
    """A trained and registered model version; `digest` is the SHA-256 of its model file."""

    model: str
    version: int
    run_id: str
    digest: str
    as_of: datetime
    training_set: str
    metrics: dict[str, float] = field(default_factory=dict)


class Decision(StrEnum):
    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class Kind(StrEnum):
    """How a rule decides. FACT: it is so or not. AT_LEAST, AT_MOST: the value against the bound.

    ABOVE: the whole interval against the bound, INCONCLUSIVE where it holds the bound. NOT_BELOW: the same, but PASS
    where it holds the bound while the value lies no further below 0 than a third of the interval is long.
    """

    FACT = "fact"
    AT_LEAST = "at least"
    AT_MOST = "at most"
    ABOVE = "above"
    NOT_BELOW = "not below"


@dataclass(frozen=True)
class Rule:
    """One rule of the gate, with what it saw and the bound it held that against.

    `metric` is what was measured, `rows` on how many rows, `confidence` that of the interval from `low` to `high`.
    """

    name: str
    decision: Decision
    explanation: str
    value: float | None = None
    bound: float | None = None
    low: float | None = None
    high: float | None = None
    kind: Kind = Kind.FACT
    metric: str | None = None
    rows: int | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What the gate said of exactly one model digest, and why.

    `evidence` is the digest of the file with every held-out row's label and answers, from which the numbers follow.
    """

    model: str
    version: int
    digest: str
    decision: Decision
    rules: tuple[Rule, ...]
    rows: int
    metrics: dict[str, dict[str, float]]
    champion_version: int | None
    training_set: str
    as_of: datetime
    judged_at: datetime
    champion_digest: str | None = None
    anchor_version: int | None = None
    spec_digest: str = ""
    code: str = ""
    environment: str = ""
    evidence: str = ""
    record: str | None = None


@dataclass(frozen=True)
class Promotion:
    """Whether an alias moved: from which version to which, and why (not)."""

    model: str
    promoted: bool
    champion_version: int | None
    previous_version: int | None
    reason: str


@dataclass(frozen=True)
class DecayFinding:
    """The champion's mean loss on truth that came after its training against that at its gate.

    `explanation` says what was found, or why nothing could be judged; `low` and `high` bound the rise.
    """

    decayed: bool
    explanation: str
    rows: int = 0
    at_gate: float | None = None
    since: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class DriftFinding:
    """What the newest rows say of one column. `family` is `input`, its own values; `relation`, the labels that the same
    values have; or `prediction`, the champion's answers.

    `pvalue` is calibrated by the reference's past windows and corrected for the directions looked at; `level` is what
    it must not exceed; `effect` is from 0 to 1; `moved` asks both. `towards` is the direction that moved most, and
    `matters` says whether the model's answers hang on the column more than hardly at all.
    """

    column: str
    family: str
    pvalue: float
    level: float
    effect: float
    moved: bool
    towards: str
    matters: bool = True


@dataclass(frozen=True)
class DomainFinding:
    """Whether a classifier tells the window's rows from those that the champion learned from, by all columns together.

    `auc` (0.5 is to guess) stands beside those of `past` windows of the reference; `pvalue` is its rank among them, and
    `told` says that it exceeds them all. `columns` are those it goes by, at most three. It compares `rows` rows of each
    side, of the window's newest `days`. Where it is not judged `auc` is None and `why` says so.
    """

    auc: float | None = None
    past: tuple[float, ...] = ()
    pvalue: float | None = None
    told: bool = False
    columns: tuple[str, ...] = ()
    days: int = 0
    rows: int = 0
    why: str = ""


@dataclass(frozen=True)
class MonitorReport:
    """Drift of the features since the champion's training, and how the champion does on arrived truth.

    `decay` is of the champion asked the newest labelled rows, `given` of the answers that it gave; either makes it
    `decayed`. `findings` are what the tests of drift say, the surest first, and `domain` what all columns say
    together, which asks for nothing. Each input column is in `columns` (its effect), `vanished` (no value any more) or
    `left_out`, which says why.
    """

    model: str
    as_of: datetime
    drifted: bool
    drift_share: float
    columns: dict[str, float]
    rows_reference: int
    rows_current: int
    metrics: dict[str, float]
    html: str
    json: str
    version: int = 0
    decayed: bool = False
    decay: DecayFinding | None = None
    given: DecayFinding | None = None
    explanation: str = ""
    vanished: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    findings: tuple[DriftFinding, ...] = ()
    domain: DomainFinding | None = None


PLAIN = {str, int, float, bool, type(None)}


def as_json(value: Any) -> Any:
    """Plain JSON types of a contract: enums by value, days and times as ISO 8601."""
    if type(value) in PLAIN:
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return as_json(asdict(value))
    if isinstance(value, dict):
        return {str(k): as_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(v) for v in value]
    if isinstance(value, date):
        return value.isoformat()
    return value.value if isinstance(value, StrEnum) else value
