"""The candidate against baseline, champion and anchor: paired, on identical rows."""

from math import isfinite

from pipelines.catalog import Comparison
from pipelines.contracts import Decision, Kind, Rule
from pipelines.gate.case import Case
from pipelines.gate.intervals import Improvement, decide, needed, paired_improvement


def check(case: Case) -> list[Rule]:
    """One rule per comparison that the spec names."""
    gate = case.spec.gate
    rules = [_against("baseline", gate.baseline, case)]
    rules += [_champion(comparison, case) for comparison in (gate.champion, *gate.guards)]
    return rules + ([_anchor(gate.anchor, case)] if gate.anchor else [])


def title(who: str, comparison: Comparison) -> str:
    """A comparison's name in every record."""
    return f"{comparison.metric} {comparison.rule.replace('_', ' ')} than the {who}'s"


def _champion(comparison: Comparison, case: Case) -> Rule:
    """The rule against the champion; a candidate is never compared with itself."""
    name = title("champion", comparison)
    if case.champion is None:
        return Rule(name, Decision.PASS, "there is no champion yet; bounds and baseline decide")
    why = unfit(case)
    return (
        Rule(name, Decision.INCONCLUSIVE, why)
        if why
        else paired("champion", _relaxed(comparison, case), case)
    )


def unfit(case: Case) -> str | None:
    """Why nobody can be held against the champion on these rows; None if it can."""
    champion = case.champion
    if champion is None:
        return "there is no champion yet"
    if champion.digest == case.version.digest:
        return f"the candidate is the champion (version {champion.version}) itself"
    if (case.held["label_known_at"] < champion.as_of - case.spec.training.holdout).any():
        return "the champion has learned from these rows; ask with newer ones"
    return _silent("champion", case)


def _relaxed(comparison: Comparison, case: Case) -> Comparison:
    """Against a champion that has become stale, `not_worse` is enough where the spec says so."""
    old = case.champion and case.version.as_of - case.champion.as_of
    if comparison.stale_after is None or not old or old < comparison.stale_after:
        return comparison
    return comparison.model_copy(update={"rule": "not_worse"})


def _anchor(comparison: Comparison, case: Case) -> Rule:
    if case.anchor is None:
        return Rule(title("anchor", comparison), Decision.PASS, "no version is pinned as anchor yet")
    if case.anchor.digest == case.version.digest:
        return Rule(title("anchor", comparison), Decision.PASS, "the candidate is the anchor itself")
    return _against("anchor", comparison, case)


def _against(who: str, comparison: Comparison, case: Case) -> Rule:
    why = _silent(who, case)
    return Rule(title(who, comparison), Decision.INCONCLUSIVE, why) if why else paired(who, comparison, case)


def _silent(who: str, case: Case) -> str | None:
    if who in case.answers:
        return None
    return f"the {who} cannot answer for these rows: {case.absent.get(who, 'it was not asked')}"


def paired(who: str, comparison: Comparison, case: Case) -> Rule:
    """The interval of the improvement on another's answers to the same rows."""
    ours, theirs = case.answers["candidate"], case.answers[who]
    found = paired_improvement(comparison.metric, case.labels, ours, theirs, case.blocks, comparison.level)
    decision = decide(comparison, found)
    why = f"{said(comparison.metric, who, found, comparison.level)}; must lie above {comparison.bound}"
    if decision is Decision.INCONCLUSIVE:
        why += wanting(comparison.margin, found, comparison.level, len(case.labels))
    return Rule(
        title(who, comparison),
        decision,
        why,
        value=found.mean,
        bound=comparison.bound,
        low=finite(found.low),
        high=finite(found.high),
        kind=Kind.ABOVE,
        metric=comparison.metric,
        rows=len(case.labels),
        confidence=comparison.level,
    )


def said(metric: str, who: str, found: Improvement, confidence: float) -> str:
    """What an interval shows, in words."""
    return (
        f"{metric} improves on the {who} by {found.mean:.5f} "
        f"({percent(confidence)} interval {found.low:.5f} to {found.high:.5f}, {found.blocks} hours)"
    )


def finite(end: float) -> float | None:
    """The end of an interval as JSON can say it: None where it has no end."""
    return end if isfinite(end) else None


def percent(share: float) -> str:
    """0.999 as 99.9%, with no digit lost."""
    return f"{100 * share:.5g}%"


def wanting(margin: float, found: Improvement, confidence: float, rows: int) -> str:
    """How many rows would decide, should such rows spread no less: the next thing a person asks."""
    effect = margin or abs(found.mean)
    enough = needed(found, effect, confidence, rows)
    if enough is None:
        return ""
    what = "a difference of the margin" if margin else "a difference such as this"
    return f"; {what}, {effect:.5f}, shows eight times in ten with about {enough:,} rows (here {rows:,})"
