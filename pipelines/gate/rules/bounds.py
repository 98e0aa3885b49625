"""Floors, ceilings, and what is too good to be true."""

from pipelines.catalog.gate_spec import METRICS
from pipelines.contracts import Decision, Kind, Rule
from pipelines.gate.case import Case
from pipelines.training.metrics import measure


def check(case: Case) -> list[Rule]:
    """The candidate against fixed bounds, and everybody against what nobody should reach."""
    gate = case.spec.gate
    rules = [bounded(case, metric, floor, METRICS[metric][1]) for metric, floor in gate.floors.items()]
    rules += [bounded(case, metric, ceiling, False) for metric, ceiling in gate.ceilings.items()]
    return rules + [
        _suspicious(case, metric, bound)
        for metric, bound in gate.suspicious.items()
        if case.spec.task in METRICS[metric][0]
    ]


def bounded(case: Case, metric: str, bound: float, at_least: bool) -> Rule:
    """One fixed bound on the candidate's metric."""
    found = measure(metric, case.labels, case.answers["candidate"])
    holds = found >= bound if at_least else found <= bound
    kind, word = (Kind.AT_LEAST, "floor") if at_least else (Kind.AT_MOST, "ceiling")
    return Rule(
        f"{metric} {word}",
        Decision.PASS if holds else Decision.FAIL,
        f"{found:.4f}, {kind.value} {bound}",
        value=found,
        bound=bound,
        kind=kind,
        metric=metric,
        rows=len(case.labels),
    )


def _suspicious(case: Case, metric: str, bound: float) -> Rule:
    """Nobody, the champion included, may be this good: labels or features then tell the answer."""
    found = {who: measure(metric, case.labels, said) for who, said in case.answers.items()}
    best = max(found, key=found.__getitem__)
    holds = found[best] <= bound
    said = f"the {best}'s {metric} is {found[best]:.4f}, at most {bound} is believed"
    why = said if holds else f"{said}; look for a leak, or for labels that are a model's own answers"
    return Rule(
        f"{metric} is believable",
        Decision.PASS if holds else Decision.FAIL,
        why,
        value=found[best],
        bound=bound,
        kind=Kind.AT_MOST,
        metric=metric,
        rows=len(case.labels),
    )
