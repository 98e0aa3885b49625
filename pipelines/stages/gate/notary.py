"""The second pair of eyes: before a version may serve, everything its verdict says is checked again.

The gate writes, the notary checks, and the two share no computation: what a mistake or a hand in the gate lets through
must be let through here as well. It looks at the record, the rules that had to be there, whether each decision follows
from its numbers, whether the numbers follow from the evidence, and whether the evidence is the model's.
"""

from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision, EvergreenError, Kind, Rule, Verdict
from pipelines.stages.gate import record
from pipelines.stores import Stores
from pipelines.stores.tracking import file_digest


def attested(spec: ModelSpec, version: int, stores: Stores) -> Verdict:
    """The verdict on a version, after it has been checked; EvergreenError says what does not hold."""
    found = stores.tracking.version(spec.name, version)
    verdict = record.read(found, stores)
    if not verdict.digest == found.digest == file_digest(stores.tracking.file(found)):
        raise EvergreenError(f"version {version} is not the file that was judged; it is refused")
    for rule in verdict.rules:
        if follows(rule) is not rule.decision:
            raise EvergreenError(
                f"version {version}: `{rule.name}` does not follow from its numbers; judge again"
            )
    return verdict


def follows(rule: Rule) -> Decision:
    """What a rule's numbers say; a fact says what it says."""
    if rule.kind is Kind.FACT or rule.bound is None:
        return rule.decision
    if rule.kind is Kind.ABOVE:
        return _above(rule)
    holds = (rule.value or 0) >= rule.bound if rule.kind is Kind.AT_LEAST else (rule.value or 0) <= rule.bound
    return Decision.PASS if holds else _not(rule)


def _above(rule: Rule) -> Decision:
    if rule.low is None or rule.high is None or rule.bound is None:
        return rule.decision
    if rule.low > rule.bound:
        return Decision.PASS
    return Decision.FAIL if rule.high < rule.bound else Decision.INCONCLUSIVE


def _not(rule: Rule) -> Decision:
    return rule.decision if rule.decision is not Decision.PASS else Decision.FAIL
