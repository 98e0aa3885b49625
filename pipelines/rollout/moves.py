"""Where a rollout stands: the audit log says it, and permit and alias in MLflow follow, whoever was killed between.

Whoever comes next to a rollout settles it first: what the log says last is done again.
"""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from pipelines.catalog import ModelSpec, Rollout, Step
from pipelines.contracts import EvergreenError, Promotion
from pipelines.gate import record
from pipelines.promotion import champions
from pipelines.promotion.approval import said_by_a_person
from pipelines.promotion.promote import changed, refused
from pipelines.stores import Stores
from pipelines.stores.audit.log import Entry
from pipelines.stores.audit.permits import ENDED, PERMIT, Permit, permitted
from pipelines.stores.tracking.registry import CHALLENGER

BEGIN, ADVANCE, TAKE_BACK, COMPLETE = "roll_out", "advance", "take_back", "rolled_out"
RUNNING = (BEGIN, ADVANCE)


@dataclass(frozen=True)
class Running:
    """A version on its way. `step` counts from 0; `since` is when it began, `begun` when the first one did."""

    rollout: str
    model: str
    version: int
    champion: int
    digest: str
    record: str
    step: int
    begun: datetime
    since: datetime


def subject(model: str) -> str:
    """Under what the audit log keeps the rollouts of a model."""
    return f"rollout:{model}"


def plan(spec: ModelSpec) -> Rollout:
    """What the spec says of rollouts; EvergreenError if it says nothing."""
    if spec.rollout is None:
        raise EvergreenError(f"{spec.name} has no rollout; declare `rollout` in its spec.yaml")
    return spec.rollout


def step(spec: ModelSpec, running: Running) -> Step:
    """The step it is at; the last one if the spec has fewer by now."""
    steps = plan(spec).steps
    return steps[min(running.step, len(steps) - 1)]


def begin(spec: ModelSpec, version: int, stores: Stores, now: datetime) -> Promotion:
    """Ask a version that passed its gate beside the champion; refused as a promotion would be."""
    steps = plan(spec).steps
    found = stores.tracking.version(spec.name, version)
    reason = refused(spec, found, stores, now)
    with champions.turn(spec.name, stores, now) as champion:
        settle(spec, stores)
        running = current(spec.name, stores)
        if champion is None:
            reason = (
                f"{spec.name} has no champion to ask it beside; `evergreen promote {spec.name}` makes one"
            )
        elif running is not None:
            reason = _taken(running, version)
        reason = reason or changed(found, champion, stores)
        if reason is not None or champion is None:
            return Promotion(spec.name, False, champion, None, str(reason))
        name, judged = f"{spec.name}@{version}/{now.isoformat()}", found.tags[record.DIGEST]
        new = Running(name, spec.name, version, champion, found.digest, judged, 0, now, now)
        _tell(BEGIN, new, f"passed its gate; {len(steps)} steps", stores, now)
        settle(spec, stores)
    first = f"{steps[0].share:.0%} of those who ask" if steps[0].share else "nobody yet"
    told = f"version {version} passed and is rolled out: it answers {first}, step 1 of {len(steps)}"
    return Promotion(spec.name, False, champion, None, told)


def advance(spec: ModelSpec, running: Running, why: str, stores: Stores, now: datetime) -> Running:
    """The next step, within the champion's turn."""
    new = replace(running, step=running.step + 1, since=now)
    _tell(ADVANCE, new, why, stores, now)
    settle(spec, stores)
    return new


def end(spec: ModelSpec, running: Running, action: str, why: str, stores: Stores, now: datetime) -> None:
    """Nobody is answered by the challenger any more, within the champion's turn; `why` is for people."""
    _tell(action, running, why, stores, now)
    settle(spec, stores)


def take_back(spec: ModelSpec, stores: Stores, now: datetime, reason: str) -> Running:
    """A person ends the rollout; the champion answers everybody again."""
    why = said_by_a_person("end a rollout", reason, stores)
    with champions.turn(spec.name, stores, now):
        running = current(spec.name, stores)
        if running is None:
            raise EvergreenError(f"no version of {spec.name} is being rolled out")
        end(spec, running, TAKE_BACK, why, stores, now)
    return running


def current(model: str, stores: Stores) -> Running | None:
    """The version on its way; None if there is none."""
    entry = newest(model, stores)
    return running_of(entry) if entry is not None and entry.action in RUNNING else None


def newest(model: str, stores: Stores) -> Entry | None:
    """What the log says last of the model's rollouts."""
    return next(iter(stores.audit.entries(subject(model), limit=1)), None)


def settle(spec: ModelSpec, stores: Stores) -> None:
    """Bring permit and alias in step with what the log says last."""
    entry = newest(spec.name, stores)
    if entry is None:
        return
    running = running_of(entry)
    if running.version not in stores.tracking.numbers(spec.name):
        stores.tracking.drop_alias(spec.name, CHALLENGER)
    elif entry.action in RUNNING and spec.rollout is not None:
        stores.tracking.tag(
            spec.name, running.version, permitted(_permit(spec, running, entry.who), stores.keys)
        )
        stores.tracking.set_alias(spec.name, CHALLENGER, running.version)
    else:
        stores.tracking.drop_alias(spec.name, CHALLENGER)
        stores.tracking.tag(spec.name, running.version, {PERMIT: ENDED})


def _permit(spec: ModelSpec, running: Running, who: str) -> Permit:
    by = plan(spec).by or tuple(spec.entities) or tuple(spec.request)
    return Permit(
        spec.name,
        running.version,
        running.digest,
        running.champion,
        running.rollout,
        step(spec, running).share,
        by,
        running.record,
        who,
        running.since,
    )


def _taken(running: Running, version: int) -> str:
    if running.version == version:
        return f"version {version} is being rolled out already; `evergreen rollout {running.model}` shows how it does"
    return (
        f"version {running.version} is being rolled out, so version {version} waits for a later training; "
        f'`evergreen rollout {running.model} --take-back --reason "..."` ends that'
    )


def _tell(action: str, running: Running, why: str, stores: Stores, now: datetime) -> None:
    entry = newest(running.model, stores)
    at = max(now, entry.at) if entry else now  # the log's times never go back
    stores.audit.append(at, stores.who, action, subject(running.model), why, asdict(running))


def running_of(entry: Entry) -> Running:
    """The version that an entry speaks of, as it stood then."""
    said: dict[str, Any] = dict(entry.evidence)
    times = {name: datetime.fromisoformat(said[name]) for name in ("begun", "since")}
    return Running(**said | times)
