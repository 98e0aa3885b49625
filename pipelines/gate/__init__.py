"""The gate: holds a candidate against rules on held-out rows, says PASS, FAIL or INCONCLUSIVE, and writes why.

In come a candidate, its held-out rows, and whom it is held against; out goes a signed decision record bound to the
model file's digest. It trains nothing that may serve and moves no alias; the notary in it trusts none of its numbers.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import Candidate, Decision, Rule, TrainingSet, Verdict
from pipelines.gate.case import Case, Check, asked
from pipelines.gate.rules import (
    behaviour,
    bounds,
    calibration,
    classes,
    comparisons,
    fairness,
    onnx,
    rebuild,
    serving,
    slices,
    soundness,
)
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import ANCHOR, Version
from pipelines.training.answers import answers
from pipelines.training.checkout import commit, environment
from pipelines.training.metrics import measures

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "case",
    "estimates",
    "evaluate",
    "evaluate_on",
    "intervals",
    "judged",
    "notary",
    "opened",
    "overall",
    "probes",
    "record",
    "report",
    "rules",
    "slicing",
]

FIRST: tuple[Check, ...] = (soundness.check,)
"""Tried on every candidate."""
CHECKS: tuple[Check, ...] = (
    bounds.check,
    classes.check,
    comparisons.check,
    slices.check,
    calibration.check,
    fairness.check,
    behaviour.check,
    serving.check,
    rebuild.check,
    onnx.check,
)
"""Tried on every candidate whose answers are numbers."""


def evaluate(
    spec: ModelSpec, candidate: Candidate, training_set: TrainingSet, stores: Stores, now: datetime
) -> Verdict:
    """The verdict on exactly this candidate, written down and bound to its digest.

    Any rule that fails makes it FAIL; else any that cannot tell makes it INCONCLUSIVE; else PASS.
    """
    from pipelines.gate import record
    from pipelines.gate.report import files

    case = _laid(spec, candidate.version, training_set, stores, now)
    with serving.beside(case):
        asked(case)
        rules = judged(case)
    verdict = record.write(case, _verdict(case, training_set, rules))
    files.first(verdict, stores)
    return verdict


def opened(spec: ModelSpec, version: int, training_set: TrainingSet, stores: Stores, now: datetime) -> Case:
    """The case of a version on the held-out rows of a training set; everybody has been asked."""
    case = _laid(spec, version, training_set, stores, now)
    asked(case)
    return case


def _laid(spec: ModelSpec, version: int, training_set: TrainingSet, stores: Stores, now: datetime) -> Case:
    """The case, of which nobody knows yet."""
    import pandas as pd

    rows = pd.read_parquet(training_set.path)
    held = rows[rows["split"] == "holdout"].reset_index(drop=True)
    tracking = stores.tracking
    found, champion = tracking.version(spec.name, version), tracking.champion(spec.name)
    return Case(spec, found, champion, tracking.aliased(spec.name, ANCHOR), held, training_set, stores, now)


def judged(case: Case) -> list[Rule]:
    """Every rule of the gate on this case."""
    rules = [rule for check in FIRST for rule in check(case)]
    if case.sound:
        rules += [rule for check in CHECKS for rule in check(case)]
    return rules


def overall(rules: Iterable[Rule]) -> Decision:
    """The worst of the rules; no rule at all decides nothing."""
    said = {rule.decision for rule in rules}
    for decision in (Decision.FAIL, Decision.INCONCLUSIVE, Decision.PASS):
        if decision in said:
            return decision
    return Decision.INCONCLUSIVE


def evaluate_on(spec: ModelSpec, version: Version, rows: "pd.DataFrame", stores: Stores) -> dict[str, Any]:
    """A version's metrics beside its baseline's on rows of any later time."""
    found = {
        "candidate": answers(stores.tracking.load(spec.name, version.version), rows, spec.outputs),
        "baseline": answers(stores.tracking.load_baseline(version), rows, spec.outputs),
    }
    return {who: measures(spec.task, rows["label"].to_numpy("float64"), said) for who, said in found.items()}


def _verdict(case: Case, training_set: TrainingSet, rules: list[Rule]) -> Verdict:
    champion, anchor = case.champion, case.anchor
    return Verdict(
        model=case.spec.name,
        version=case.version.version,
        digest=case.version.digest,
        decision=overall(rules),
        rules=tuple(rules),
        rows=len(case.held),
        metrics={who: measures(case.spec.task, case.labels, said) for who, said in case.answers.items()},
        champion_version=champion.version if champion else None,
        champion_digest=champion.digest if champion else None,
        anchor_version=anchor.version if anchor else None,
        training_set=training_set.digest,
        as_of=training_set.as_of,
        judged_at=case.now,
        spec_digest=case.spec.digest,
        code=commit(),
        environment=environment(),
    )
