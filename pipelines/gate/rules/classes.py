"""Whether each class of a multiclass is found, however rare it is: a mean over rows does not see a small one."""

from pipelines.catalog.gate_spec import EveryClass
from pipelines.contracts import Decision, Kind, Rule
from pipelines.gate.case import Case
from pipelines.training.many_classes import happened, recalls


def check(case: Case) -> list[Rule]:
    """One rule per class; none where the spec asks for none."""
    asked = case.spec.gate.each_class
    if asked is None:
        return []
    found = recalls(case.labels, case.answers["candidate"])
    rows = happened(case.labels, case.spec.outputs).sum(axis=0)
    told = zip(case.spec.label.classes, found, rows, strict=True)
    return [_rule(str(name), float(recall), int(many), asked) for name, recall, many in told]


def title(name: str) -> str:
    """The name of a class's rule in every record."""
    return f"class {name} is found"


def _rule(name: str, recall: float, rows: int, asked: EveryClass) -> Rule:
    if rows < asked.minimum_rows:
        why = f"{rows:,} held-out rows are {name}, {asked.minimum_rows:,} are needed to tell"
        return Rule(
            title(name), Decision.INCONCLUSIVE, why, bound=asked.recall, kind=Kind.AT_LEAST, rows=rows
        )
    return Rule(
        title(name),
        Decision.PASS if recall >= asked.recall else Decision.FAIL,
        f"{recall:.1%} of {rows:,} rows that are {name} are predicted as it, at least {asked.recall:.0%}",
        value=recall,
        bound=asked.recall,
        kind=Kind.AT_LEAST,
        metric="recall",
        rows=rows,
    )
