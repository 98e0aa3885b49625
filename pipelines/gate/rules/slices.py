"""The candidate against the champion in parts of the rows, so that no good mean hides who pays for it.

Declared slices share one family: each is judged at the confidence that keeps all of them together at the spec's
(Bonferroni's rather than Holm's, so that a slice's numbers stand alone and can be checked alone). The worst slice
that a search finds on one half of the hours is judged on the other half, which the search has not seen.
"""

from dataclasses import replace

from pipelines.contracts import Decision, Kind, Rule
from pipelines.gate.case import Case
from pipelines.gate.intervals import Improvement, paired_improvement
from pipelines.gate.rules import weakest
from pipelines.gate.rules.comparisons import finite, said, unfit, wanting
from pipelines.gate.slicing import Slice, slices
from pipelines.training.metrics import defined, measure

FOUND = "worst slice found"


def check(case: Case) -> list[Rule]:
    """Declared slices, then the worst slice found."""
    rules: list[Rule] = []
    declared = {column: slices(case.held, column) for column in case.spec.gate.slices.columns}
    judged = [part for parts in declared.values() for part in parts if enough(case, part)]
    for column, parts in declared.items():
        rules += [rule for part in parts if enough(case, part) for rule in _rules(case, part, len(judged))]
        rules += _untold(case, column, parts)
    return rules + ([_worst(case)] if case.spec.gate.slices.search else [])


def enough(case: Case, part: Slice) -> bool:
    """Whether a slice is large enough to be judged."""
    return part.rows >= case.spec.gate.slices.minimum_rows


def level(case: Case, judged: int) -> float:
    """The confidence of each of so many slices that keeps all of them at the spec's (Bonferroni)."""
    return 1 - (1 - case.spec.gate.slices.confidence) / max(judged, 1)


def not_below(found: Improvement, margin: float) -> Decision:
    """FAIL if surely worse by the margin, PASS if surely not; between, INCONCLUSIVE where the slice looks worse.

    It looks worse where it lies further below 0 than a third of its interval's length, about two standard errors. A
    slice with rows enough is thus cleared only if that is shown; one too thin to show anything is not held against a
    model, or week after week an equal one would be turned away.
    """
    if found.low > -margin:
        return Decision.PASS
    if found.high < -margin:
        return Decision.FAIL
    return Decision.INCONCLUSIVE if found.mean < -(found.high - found.low) / 3 else Decision.PASS


def _rules(case: Case, part: Slice, judged: int) -> list[Rule]:
    asked = case.spec.gate.slices
    rules = [_against_champion(case, part, level(case, judged))]
    rules += [_bounded(case, part, metric, bound, Kind.AT_LEAST) for metric, bound in asked.floors.items()]
    return rules + [_bounded(case, part, m, bound, Kind.AT_MOST) for m, bound in asked.ceilings.items()]


def _against_champion(case: Case, part: Slice, confidence: float) -> Rule:
    if case.champion is None:
        why = "there is no champion yet; only floors and ceilings hold in this slice"
        return Rule(part.name, Decision.PASS, why, rows=part.rows)
    why_not = unfit(case)
    if why_not is not None:
        return Rule(part.name, Decision.INCONCLUSIVE, why_not, rows=part.rows)
    if not defined(case.spec.task, case.labels[part.mask]):
        why = f"not judged: all {part.rows:,} rows have one class, a difference means nothing"
        return Rule(part.name, Decision.PASS, why, rows=part.rows)
    return _compared(case, part, confidence)


def _compared(case: Case, part: Slice, confidence: float) -> Rule:
    asked, answers = case.spec.gate.slices, case.answers
    ours, theirs = answers["candidate"][part.mask], answers["champion"][part.mask]
    found = paired_improvement(
        asked.metric, case.labels[part.mask], ours, theirs, case.blocks[part.mask], confidence
    )
    if finite(found.low) is None:
        why = f"{part.note}not judged: its {part.rows:,} rows lie in too few hours ({found.blocks})"
        return Rule(part.name, Decision.PASS, why, rows=part.rows)
    decision = not_below(found, asked.margin)
    why = f"{part.note}{said(asked.metric, 'champion', found, confidence)}; at most {asked.margin} worse"
    return Rule(
        part.name,
        decision,
        why + _doubt(found, asked.margin, confidence, part.rows),
        value=found.mean,
        bound=-asked.margin,
        low=found.low,
        high=found.high,
        kind=Kind.NOT_BELOW,
        metric=asked.metric,
        rows=part.rows,
        confidence=confidence,
    )


def _doubt(found: Improvement, margin: float, confidence: float, rows: int) -> str:
    """What to say of a slice in which the interval holds the bound."""
    if not found.low <= -margin <= found.high:
        return ""
    looks = (
        "but it looks worse"
        if not_below(found, margin) is not Decision.PASS
        else "and nothing speaks against it"
    )
    return f"; too few rows to show that, {looks}{wanting(margin, found, confidence, rows)}"


def _bounded(case: Case, part: Slice, metric: str, bound: float, kind: Kind) -> Rule:
    """A floor or a ceiling on the candidate's metric in one slice."""
    labels, ours = case.labels[part.mask], case.answers["candidate"][part.mask]
    name = f"{part.name}, {metric} {'floor' if kind is Kind.AT_LEAST else 'ceiling'}"
    if not defined(case.spec.task, labels):
        return Rule(name, Decision.INCONCLUSIVE, f"all {part.rows:,} rows have one class", rows=part.rows)
    found = measure(metric, labels, ours)
    holds = found >= bound if kind is Kind.AT_LEAST else found <= bound
    return Rule(
        name,
        Decision.PASS if holds else Decision.FAIL,
        f"{part.note}{found:.4f}, {kind.value} {bound}",
        value=found,
        bound=bound,
        kind=kind,
        metric=metric,
        rows=part.rows,
    )


def _untold(case: Case, column: str, parts: list[Slice]) -> list[Rule]:
    """One rule for all of a column's slices that are too small to be judged."""
    name, small = f"slice {column}, small ones", [part for part in parts if not enough(case, part)]
    if not parts:
        return [
            Rule(name, Decision.INCONCLUSIVE, f"the rows have no column {column}; mend gate.slices.columns")
        ]
    told = ", ".join(f"{part.name.removeprefix('slice ')} ({part.rows:,} rows)" for part in small)
    least = case.spec.gate.slices.minimum_rows
    return [Rule(name, Decision.PASS, f"below {least:,} rows, not judged: {told}")] if small else []


def _worst(case: Case) -> Rule:
    """The worst slice of any columns, found on one half of the hours and judged on the other."""
    if case.champion is None:
        return Rule(FOUND, Decision.PASS, "there is no champion yet to be worse than")
    why_not = unfit(case)
    if why_not is not None:
        return Rule(FOUND, Decision.INCONCLUSIVE, why_not)
    asked = case.spec.gate.slices
    found = weakest.find(case, asked.minimum_rows)
    if found is None:
        why = f"none found in which {asked.minimum_rows:,} rows of each half of the hours lie"
        return Rule(FOUND, Decision.PASS, why)
    words, mask = found
    part = Slice(FOUND, mask, f"{words} (found on the other half of the hours): ")
    return _chosen(_against_champion(case, part, asked.confidence))


def _chosen(rule: Rule) -> Rule:
    """A slice that was chosen because it looks bad fails beyond doubt, is in doubt beyond the margin, else passes."""
    if rule.value is None or rule.bound is None or rule.high is None:
        return rule
    broken = Decision.FAIL if rule.high < rule.bound else Decision.INCONCLUSIVE
    return replace(rule, kind=Kind.AT_LEAST, decision=Decision.PASS if rule.value >= rule.bound else broken)
