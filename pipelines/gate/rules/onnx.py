"""Whether the ONNX form of a candidate answers as the candidate does."""

from pipelines.contracts import Decision, EvergreenError, Kind, Rule
from pipelines.gate.case import Case
from pipelines.training.onnx import loaded

RULE = "the ONNX form answers the same"


def check(case: Case) -> list[Rule]:
    """The ONNX form, where spec.yaml asks for one, answers every held-out row as the candidate does."""
    import numpy as np

    if case.spec.onnx is None:
        return []
    bound = case.spec.onnx.tolerance
    try:
        said = loaded(case.version, case.stores).answers(case.held)
    except EvergreenError as error:
        return [Rule(RULE, Decision.FAIL, str(error))]
    gap = float(np.max(np.abs(said - case.answers["candidate"]), initial=0.0))
    holds = gap <= bound  # false for NaN
    why = f"{len(said):,} answers, at most {gap:.2g} apart, {bound:.2g} allowed"
    return [
        Rule(
            RULE,
            Decision.PASS if holds else Decision.FAIL,
            why,
            gap,
            bound,
            kind=Kind.AT_MOST,
            rows=len(said),
        )
    ]
