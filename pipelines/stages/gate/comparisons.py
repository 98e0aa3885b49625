"""The candidate against baseline, champion and anchor: paired, on identical rows."""

from pipelines.catalog import Comparison
from pipelines.contracts import Decision, Kind, Rule
from pipelines.stages.gate.case import Case
from pipelines.stages.gate.intervals import decide, improvement, losses


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
    champion, name = case.champion, title("champion", comparison)
    if champion is None:
        return Rule(name, Decision.PASS, "there is no champion yet; bounds and baseline decide")
    if champion.digest == case.version.digest:
        return Rule(
            name, Decision.INCONCLUSIVE, f"the candidate is the champion (version {champion.version}) itself"
        )
    if (case.held["label_known_at"] < champion.as_of - case.spec.training.holdout).any():
        return Rule(
            name, Decision.INCONCLUSIVE, "the champion has learned from these rows; ask with newer ones"
        )
    return _against("champion", _relaxed(comparison, case), case)


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
    name = title(who, comparison)
    if who not in case.answers:
        why = f"the {who} cannot answer for these rows: {case.absent.get(who, 'it was not asked')}"
        return Rule(name, Decision.INCONCLUSIVE, why)
    return paired(who, comparison, case)


def paired(who: str, comparison: Comparison, case: Case) -> Rule:
    """The interval of the improvement on another's answers to the same rows."""
    ours, theirs = (losses(comparison.metric, case.labels, case.answers[w]) for w in ("candidate", who))
    found = improvement(ours, theirs, case.blocks, comparison.level)
    why = (
        f"{comparison.metric} improves on the {who} by {found.mean:.5f} "
        f"({comparison.level:.1%} interval {found.low:.5f} to {found.high:.5f}, {found.blocks} hours); "
        f"must lie above {comparison.bound}"
    )
    return Rule(
        title(who, comparison),
        decide(comparison, found),
        why,
        value=found.mean,
        bound=comparison.bound,
        low=found.low,
        high=found.high,
        kind=Kind.ABOVE,
        metric=comparison.metric,
        rows=len(case.labels),
        confidence=comparison.level,
    )
