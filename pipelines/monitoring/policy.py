"""Decides whether a training may begin: why, on which batches, and what the model's policy holds back.

What woke the run is a hint that may be lost, doubled or stale. The reasons are read from the ledger, from the
digest of the model's folder and from the monitors' signals.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pipelines.catalog import ModelSpec, QuietHours
from pipelines.contracts import (
    BatchState,
    Cause,
    EvergreenError,
    IngestResult,
    NothingToDo,
    Plan,
    Reason,
    Signal,
    Waiting,
    as_json,
)
from pipelines.stores import Stores
from pipelines.stores.audit import events
from pipelines.stores.signals import Training

MINUTE = timedelta(minutes=1)
LONGEST_REASON = 1000  # MLflow's tags are not for essays


class Woken(StrEnum):
    """What started a run."""

    SCHEDULE = "schedule"
    DATA = "data event"
    MONITOR = "monitor"
    PERSON = "person"


@dataclass(frozen=True)
class Call:
    """One question whether to train: when by the wall clock, and what woke it. Only a person forces."""

    now: datetime
    woken: Woken = Woken.PERSON
    reason: str | None = None
    force: bool = False


@dataclass(frozen=True)
class Facts:
    """What the records say, whatever woke the run."""

    new: tuple[IngestResult, ...]
    signals: tuple[Signal, ...]
    code: str | None
    last: Training | None

    @property
    def rows(self) -> int:
        return sum(batch.silver for batch in self.new)


@dataclass(frozen=True)
class Wait:
    policy: str
    detail: str
    until: datetime


def plan(spec: ModelSpec, as_of: datetime, call: Call, stores: Stores) -> Plan:
    """A training run that may begin now; NothingToDo or Waiting says why none may.

    Its batches are fixed here, before the training set is read, so a batch that lands meanwhile is new again.
    """
    _accountable(call)
    settle(spec, call.now, stores)
    found = facts(spec, as_of, stores)
    why = reasons(spec, found, call)
    if not why:
        raise NothingToDo(f"{spec.name}: {nothing(spec, found, call)}; woken by {woken_by(call, found)}")
    held = [] if call.force else waits(spec, found.last, call.now)
    after = found.last.key if found.last else ""
    for wait in held:
        stores.signals.wait(spec.name, after, wait.policy, call.now, wait.detail)
    if held:
        raise Waiting(f"{spec.name}: {waiting(spec, why, held)}")
    return _planned(spec, as_of, call, found, why, stores)


def _accountable(call: Call) -> None:
    if call.force and not (call.reason or "").strip():
        raise EvergreenError("a forced training needs a reason for the record; say why in `reason`")


def _planned(
    spec: ModelSpec, as_of: datetime, call: Call, found: Facts, why: list[Reason], stores: Stores
) -> Plan:
    made = Plan(
        model=spec.name,
        key=call.now.isoformat(),
        as_of=as_of,
        trigger=woken_by(call, found),
        forced=call.force,
        reasons=tuple(why),
        policy=policy(spec),
        new_batches=len(found.new),
        new_rows=found.rows,
        waited=tuple(stores.signals.waits(spec.name, found.last.key if found.last else "")),
    )
    record = as_json(made) | {"batches": [told(batch) for batch in found.new]}
    stores.signals.plan(Training(spec.name, made.key, call.now, as_of, spec.digest, record))
    return made


def facts(spec: ModelSpec, as_of: datetime, stores: Stores) -> Facts:
    last = stores.signals.last(spec.name)
    signals = tuple(stores.signals.pending(spec.name))
    return Facts(new_batches(spec, as_of, stores), signals, code_change(spec, last, stores), last)


def consumer(spec: ModelSpec) -> str:
    """The name under which a model's consumed batches are kept."""
    return f"model:{spec.name}"


def new_batches(spec: ModelSpec, as_of: datetime, stores: Stores) -> tuple[IngestResult, ...]:
    """Batches of the label's dataset, known at `as_of`, that no training run of the model consumed."""
    seen = stores.progress.consumed(consumer(spec))
    taken = stores.ledger.batches(dataset=spec.label.dataset, state=BatchState.COMMITTED)
    return tuple(b for b in taken if b.arrival not in seen and b.first_known and b.first_known <= as_of)


def told(batch: IngestResult) -> dict[str, Any]:
    """A batch as a version's record keeps it."""
    kept = ("digest", "arrival", "name", "silver", "quarantined", "superseded", "first_known", "last_known")
    return {name: as_json(getattr(batch, name)) for name in kept}


def code_change(spec: ModelSpec, last: Training | None, stores: Stores) -> str | None:
    """What to say if the model's folder holds what no version since the champion was trained from; else None.

    A change whose candidate was refused is not tried again by itself. MLflow is asked only if the folder is not
    what was last trained from.
    """
    if (last is not None and last.ended_at and last.code == spec.digest) or _never_trained(
        spec, last, stores
    ):
        return None
    versions, champion = stores.tracking.versions(spec.name), stores.tracking.champion(spec.name)
    since = [v for v in versions if champion is None or v.version >= champion.version]
    if not since or spec.digest in {v.tags.get("spec_digest") for v in since}:
        return None
    return f"the model's folder is not what version {since[-1].version}" + _to(since) + " was trained from"


def _to(since: list[Any]) -> str:
    return f" to {since[0].version}" if len(since) > 1 else ""


def _never_trained(spec: ModelSpec, last: Training | None, stores: Stores) -> bool:
    return last is None and stores.progress.reached(consumer(spec)) is None


def reasons(spec: ModelSpec, found: Facts, call: Call) -> list[Reason]:
    """Why to train now; none if nothing new would change the model."""
    why = []
    if call.force:
        why.append(Reason(Cause.PERSON, str(call.reason)[:LONGEST_REASON]))
    if found.rows >= least(spec, found, call):
        why.append(Reason(Cause.DATA, _labels(found)))
    if found.rows:
        why += [
            Reason(s.cause, f"version {s.version} as of {s.as_of:%Y-%m-%d %H:%M}: {s.detail}")
            for s in found.signals
        ]
    if found.code:
        why.append(Reason(Cause.CODE, found.code))
    return why


def least(spec: ModelSpec, found: Facts, call: Call) -> int:
    """How many new labels start a training: one where somebody waits for it, else the spec's minimum."""
    awaited = call.woken in {Woken.SCHEDULE, Woken.PERSON} or found.signals
    return 1 if awaited else max(1, spec.training.minimum_new_rows)


def _labels(found: Facts) -> str:
    return f"{_count(found.rows, 'new label')} in {_count(len(found.new), 'file')}"


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def nothing(spec: ModelSpec, found: Facts, call: Call) -> str:
    """Why there is nothing to do, in a sentence."""
    said = ["no new label and no change in the model's folder since the last training"]
    if found.rows:
        said = [
            f"{_labels(found)}, {least(spec, found, call):,} start a training when they land "
            f"(training.minimum_new_rows); the schedule {spec.schedule!r} takes what there is"
        ]
    for signal in found.signals if not found.rows else ():
        said.append(
            f"the {signal.cause.value} of version {signal.version} is known, but training on the same labels "
            "again would change nothing; it is answered when new ones land"
        )
    return "; ".join(said)


def waits(spec: ModelSpec, last: Training | None, now: datetime) -> list[Wait]:
    """What holds a training back that nobody forces."""
    found, quiet = [], spec.training.quiet_hours
    until = free_at(spec, last, now)
    if last is not None and last.began_at and now < last.began_at + spec.training.cool_down:
        began = f"{spec.training.cool_down} after the training that began {last.began_at:%Y-%m-%d %H:%M} UTC"
        found.append(Wait("cool_down", began, until))
    if quiet is not None and quiet.covers(now):
        found.append(Wait("quiet_hours", str(quiet), until))
    return found


def free_at(spec: ModelSpec, last: Training | None, now: datetime) -> datetime:
    """The first moment from `now` on at which neither cool-down nor quiet hours hold a training back."""
    cooled = last.began_at + spec.training.cool_down if last is not None and last.began_at else now
    start, quiet = max(now, cooled), spec.training.quiet_hours
    return start if quiet is None else quiet_until(quiet, start)


def quiet_until(quiet: QuietHours, now: datetime) -> datetime:
    """`now` if it is not quiet, else the first whole minute that is not; right when the clocks change, too."""
    if not quiet.covers(now):
        return now
    moment = now.replace(second=0, microsecond=0)
    while quiet.covers(moment):
        moment += MINUTE
    return moment


def waiting(spec: ModelSpec, why: list[Reason], held: list[Wait]) -> str:
    """What waits, for which policy, until when, and who takes it up then."""
    until = max(wait.until for wait in held)
    work = "; ".join(f"{reason.cause.value}: {reason.detail}" for reason in why)
    policies = " and ".join(f"{wait.policy} ({wait.detail})" for wait in held)
    return (
        f"{work}; waits until {until:%Y-%m-%d %H:%M:%S %Z} for {policies}. Nothing is lost: the next event or tick "
        f"of the schedule {spec.schedule!r} after that takes it; a person may force it with a reason"
    )


def woken_by(call: Call, found: Facts) -> str:
    """schedule, data event, decay, drift, or person with the reason."""
    if call.woken is Woken.PERSON:
        return f"person: {call.reason[:LONGEST_REASON]}" if call.reason else "person"
    if call.woken is Woken.MONITOR:
        causes = {signal.cause for signal in found.signals}
        return next((c.value for c in (Cause.DECAY, Cause.DRIFT) if c in causes), call.woken.value)
    return call.woken.value


def policy(spec: ModelSpec) -> dict[str, str]:
    """The policy of a model in words, as records keep it."""
    training = spec.training
    return {
        "minimum_new_rows": str(training.minimum_new_rows),
        "cool_down": str(training.cool_down) if training.cool_down else "none",
        "quiet_hours": str(training.quiet_hours) if training.quiet_hours else "none",
    }


def settle(spec: ModelSpec, now: datetime, stores: Stores) -> None:
    """End trainings that were cut off after they had registered a version: their batches count as consumed."""
    for training in stores.signals.unfinished(spec.name):
        for version in stores.tracking.versions(spec.name):
            if version.tags.get("training") == training.key:
                finish(spec, training, version.version, now, stores)


def begin(spec: ModelSpec, key: str, now: datetime, stores: Stores) -> Training:
    """The planned training, begun: its record without batches that another training has consumed meanwhile."""
    training = stores.signals.training(spec.name, key)
    if training is None:
        raise EvergreenError(f"{spec.name}: no training was planned as {key}; plan it again")
    stores.signals.begin(spec.name, key, now)
    events.began(replace(training, began_at=training.began_at or now), stores)
    taken = stores.progress.consumed(consumer(spec))
    left = [batch for batch in training.record["batches"] if batch["arrival"] not in taken]
    counts = {"new_batches": len(left), "new_rows": sum(batch["silver"] for batch in left)}
    return replace(training, record=training.record | counts | {"batches": left})


def finish(spec: ModelSpec, training: Training, version: int, now: datetime, stores: Stores) -> None:
    """Mark what a training consumed, then end it; cut off in between, it is done again to the same effect."""
    arrivals = [batch["arrival"] for batch in training.record["batches"]]
    stores.progress.mark(consumer(spec), arrivals, training.as_of)
    stores.signals.end(spec.name, training.key, version, now)
