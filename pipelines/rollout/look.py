"""One look at a rollout: what the two versions did so far, and what follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import NothingToDo
from pipelines.gate.estimates import losses
from pipelines.monitoring.truth import answered
from pipelines.promotion import champions
from pipelines.promotion.promote import promote
from pipelines.rollout import moves
from pipelines.rollout.evidence import Compared, Finding, Lost, breached, judged
from pipelines.rollout.moves import COMPLETE, TAKE_BACK, Running
from pipelines.stores import Stores
from pipelines.stores.answers.comparisons import Batch

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

BAKES, ADVANCED, TAKEN_BACK, PROMOTED = "bakes", "advanced", "taken back", "promoted"


@dataclass(frozen=True)
class Look:
    """What was found, and what became of it: it bakes, it advanced, it was taken back, or it is champion.

    `questions` counts what both were asked in this step, of `minimum`; `step` counts from 1.
    """

    model: str
    version: int
    champion: int
    step: int
    steps: int
    share: float
    since: datetime
    questions: int
    minimum: int
    outcome: str
    reason: str
    findings: tuple[Finding, ...] = ()

    @property
    def ended(self) -> bool:
        return self.outcome in (TAKEN_BACK, PROMOTED)


def look(spec: ModelSpec, stores: Stores, now: datetime, since: datetime | None = None) -> Look:
    """Judge the rollout, and take the step that follows; NothingToDo if nothing is rolled out.

    One that has ended no earlier than `since` is told again: whoever ended it may have been killed before he told.
    """
    before = moves.current(spec.name, stores)
    found = evidence(spec, before, stores, now) if before else []  # a person's rollback does not wait for it
    with champions.turn(spec.name, stores, now) as champion:
        moves.settle(spec, stores)
        running = moves.current(spec.name, stores)
        if running is None:
            return _told_again(spec, stores, since)
        if running != before:
            return _look(spec, running, stores, BAKES, "it moved while it was looked at", [])
        outcome, reason = _next(spec, running, champion, found, stores, now)
        if outcome == TAKEN_BACK:
            moves.end(spec, running, TAKE_BACK, reason, stores, now)
        elif outcome == ADVANCED:
            running = moves.advance(spec, running, reason, stores, now)
    if outcome == PROMOTED:
        outcome, reason = _promoted(spec, running, stores, now)
    return _look(spec, running, stores, outcome, reason, found)


def shown(spec: ModelSpec, stores: Stores, now: datetime) -> Look:
    """As `look`, changing nothing."""
    running = moves.current(spec.name, stores)
    if running is None:
        return _told_again(spec, stores, datetime.min.replace(tzinfo=now.tzinfo))
    found = evidence(spec, running, stores, now)
    return _look(
        spec, running, stores, BAKES, _waits(spec, running, stores, now) or "the step is done", found
    )


def evidence(spec: ModelSpec, running: Running, stores: Stores, now: datetime) -> list[Finding]:
    """Every test on all that both were asked so far."""
    plan = moves.plan(spec)
    lost = None if plan.limits.loss is None else _lost(spec, running.rollout, now, stores)
    seen = compared(stores.comparisons.batches(running.rollout))
    return judged(plan.limits, plan.confidence, seen, lost)


def compared(batches: Sequence[Batch]) -> Compared:
    """Batches as the tests take them."""
    import numpy as np

    counts = np.array(
        [(each.questions, each.alone, each.other, each.answered, each.differ) for each in batches],
        dtype=float,
    ).reshape(-1, 5)
    questions, alone, other, answered, differ = counts.T
    times = np.array([np.nan if each.times is None else each.times for each in batches], dtype=float)
    apart = np.divide(differ, answered, out=np.full(len(counts), np.nan), where=answered > 0)
    return Compared(alone / questions, other / questions, apart, times)


def excess(
    task: str, champion: "NDArray[Any]", challenger: "NDArray[Any]", labels: "NDArray[Any]"
) -> "tuple[NDArray[Any], NDArray[Any]]":
    """How much more the challenger lost on each row, and how much it could be either way; (n,) each.

    Brier score of a probability or of many, absolute error of a regression. Answers are (n,) or (n, classes).
    """
    import numpy as np

    def more(truth: "NDArray[Any]") -> "NDArray[Any]":
        metric = "mae" if task == "regression" else "brier"
        return losses(metric, truth, challenger) - losses(metric, truth, champion)

    if task == "regression":
        return more(labels), np.abs(challenger - champion)
    classes = champion.shape[1] if champion.ndim > 1 else 2
    each = [more(np.full(len(labels), float(k))) for k in range(classes)]
    return more(labels), np.abs(each).max(axis=0)


def _lost(spec: ModelSpec, rollout: str, now: datetime, stores: Stores) -> Lost:
    """Hours in which truth became known, in their order; in each the mean over what both answered."""
    import numpy as np

    pairs, none = stores.comparisons.pairs(rollout), Lost(np.zeros(0), np.zeros(0))
    known = answered(spec, stores.comparisons.logged(rollout), now, stores)
    known = known if known.empty else known[known["label"].notna()]
    if known.empty:
        return none
    both = [pairs[name] for name in known["prediction_id"]]
    champion, challenger = (
        np.array([getattr(pair, who) for pair in both], dtype="float64") for who in ("champion", "challenger")
    )
    more, bound = excess(spec.task, champion, challenger, known["label"].to_numpy("float64"))
    return _by_hour(known.assign(more=more, bound=bound))


def _by_hour(rows: "pd.DataFrame") -> Lost:
    hours = rows.groupby(rows["label_known_at"].dt.floor("h"))[["more", "bound"]].mean().sort_index()
    return Lost(hours["more"].to_numpy(), hours["bound"].to_numpy())


def _next(
    spec: ModelSpec,
    running: Running,
    champion: int | None,
    found: list[Finding],
    stores: Stores,
    now: datetime,
) -> tuple[str, str]:
    """What follows, and why."""
    plan = moves.plan(spec)
    if champion == running.version:
        return PROMOTED, "it is champion"
    if champion != running.champion:
        return TAKEN_BACK, f"the champion is {champion} now; it was asked beside version {running.champion}"
    if broken := breached(found):
        return TAKEN_BACK, "; ".join(f"{each.test}: {each.explanation}" for each in broken)
    waits = _waits(spec, running, stores, now)
    if waits is not None and now - running.begun > plan.longest:
        return TAKEN_BACK, f"it has not ended within {plan.longest}: {waits}"
    if waits is not None:
        return BAKES, waits
    if running.step + 1 < len(plan.steps):
        return ADVANCED, f"step {running.step + 1} of {len(plan.steps)} went without a breach"
    return PROMOTED, "every step went without a breach"


def _waits(spec: ModelSpec, running: Running, stores: Stores, now: datetime) -> str | None:
    """What the step still waits for; None if for nothing."""
    step, minimum = moves.step(spec, running), moves.plan(spec).minimum
    asked = stores.comparisons.count(running.rollout, running.since)
    if asked < minimum:
        return f"both were asked {asked:,} questions in this step, of {minimum:,}"
    if now - running.since < step.bake:
        return f"the step bakes until {running.since + step.bake:%Y-%m-%d %H:%M} UTC"
    return None


def _promoted(spec: ModelSpec, running: Running, stores: Stores, now: datetime) -> tuple[str, str]:
    """Champion at last, or why not; either way the rollout has ended."""
    moved = promote(spec, running.version, stores, now, running.begun)
    there = moved.promoted or moved.champion_version == running.version
    with champions.turn(spec.name, stores, now):
        if moves.current(spec.name, stores) == running:
            why = "every step went without a breach" if there else moved.reason
            moves.end(spec, running, COMPLETE if there else TAKE_BACK, why, stores, now)
    return (PROMOTED, "every step went without a breach") if there else (TAKEN_BACK, moved.reason)


def _told_again(spec: ModelSpec, stores: Stores, since: datetime | None) -> Look:
    entry = moves.newest(spec.name, stores)
    if entry is None or since is None or entry.at < since:
        raise NothingToDo(f"no version of {spec.name} is being rolled out")
    running = moves.running_of(entry)
    outcome = PROMOTED if entry.action == COMPLETE else TAKEN_BACK
    return _look(spec, running, stores, outcome, entry.why, [])


def _look(
    spec: ModelSpec, running: Running, stores: Stores, outcome: str, reason: str, found: Sequence[Finding]
) -> Look:
    plan = moves.plan(spec)
    return Look(
        model=spec.name,
        version=running.version,
        champion=running.champion,
        step=running.step + 1,
        steps=len(plan.steps),
        share=moves.step(spec, running).share,
        since=running.since,
        questions=stores.comparisons.count(running.rollout, running.since),
        minimum=plan.minimum,
        outcome=outcome,
        reason=reason,
        findings=tuple(found),
    )
