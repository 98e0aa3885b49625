"""Each day's look at the window before it, and the alarms that begin."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.catalog import ModelSpec
from pipelines.contracts import DriftFinding, Say
from pipelines.gate.estimates import losses
from pipelines.monitoring.drift.importance import importance
from pipelines.monitoring.drift.reference import LABEL, Reference, made
from pipelines.monitoring.drift.rows import middle, sketched
from pipelines.monitoring.drift.verdict import look
from pipelines.monitoring.moved import share
from pipelines.monitoring.watched import watched
from pipelines.stores import Stores
from pipelines.training.answers import answers
from pipelines.training.training_set import path_of

if TYPE_CHECKING:
    import pandas as pd

LOSS = "log_loss"
DRAWN = 5000


@dataclass(frozen=True)
class Day:
    """A day's rows and the sum of what was lost on them; what moved in the window that ends with it, as a share of what
    the answers hang on, and how many tests said so."""

    day: date
    rows: int
    lost: float
    share: float
    moved: int
    asked: int


@dataclass(frozen=True)
class Alarm:
    """A test that says moved for the first time in a window's length, of a column that matters."""

    day: date
    finding: DriftFinding


@dataclass
class Looked:
    """The days in order, the alarms that began, and what the model lost on the rows of its gate."""

    at_gate: float
    calibrated: bool
    days: list[Day] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)


def looked(
    spec: ModelSpec, rows: "pd.DataFrame", begun: datetime, stop: datetime, stores: Stores, say: Say
) -> Looked:
    """What a look at the end of each day says, from `begun` to `stop`."""
    import pandas as pd

    version = stores.tracking.version(spec.name, 1)
    known = pd.read_parquet(path_of(spec.name, version.tags["training_set"], stores))
    learned, held = known[known["split"] == "train"], known[known["split"] == "holdout"]
    model = stores.tracking.load(spec.name, 1)
    lost = losses(LOSS, held["label"].to_numpy("float64"), answers(model, held, spec.outputs))
    whole = learned, rows.drop(columns="said")
    then, now = (each.sample(min(DRAWN, len(each)), random_state=0) for each in whole)
    kinds, half, length = (
        watched(spec, then, now, whole).kinds,
        middle(learned[LABEL]),
        spec.monitor.window,
    )
    reference = made(
        sketched(learned, kinds, half), length.days, spec.monitor.seasons, importance(spec, model, learned)
    )
    found, until = Looked(float(lost.mean()), reference.calibrated), dict[tuple[str, str], date]()
    end = begun + timedelta(days=1)
    while end <= stop:
        _look(spec, reference, rows, end, half, found, until)
        if end.day == 1:
            say(f"{end:%Y-%m-%d}: {len(found.alarms)} alarms")
        end += timedelta(days=1)
    return found


def _look(
    spec: ModelSpec,
    reference: Reference,
    rows: "pd.DataFrame",
    end: datetime,
    half: float,
    found: Looked,
    until: dict[tuple[str, str], date],
) -> None:
    """The look at the end of a day."""
    length, asked = spec.monitor.window, rows["event_timestamp"]
    window = rows[(asked > end - length) & (asked <= end)]
    today = window[window["event_timestamp"] > end - timedelta(days=1)]
    if today.empty:
        return
    kinds = {name: each.bins.kind for name, each in reference.columns.items()}
    said = look(reference, sketched(window, kinds, half), spec.monitor.false_alarms, spec.monitor.difference)
    day = (end - timedelta(days=1)).date()
    moved = [each for each in said if each.moved and each.matters]
    for each in moved:
        key = (each.column, each.family)
        if day > until.get(key, date.min):
            found.alarms.append(Alarm(day, each))
        until[key] = day + length
    lost = losses(LOSS, today["label"].to_numpy("float64"), today["said"].to_numpy("float64"))
    found.days.append(Day(day, len(today), float(lost.sum()), share(said, reference), len(moved), len(said)))
