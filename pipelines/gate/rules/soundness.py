"""What must be so before any number counts: enough rows, the right rows, and answers that are numbers."""

import json

from pipelines.contracts import Decision, Kind, Rule
from pipelines.gate.case import Case, fact
from pipelines.stores.tracking.registry import file_digest
from pipelines.training.checkout import libraries

WAIT = Decision.INCONCLUSIVE


def check(case: Case) -> list[Rule]:
    """Rows, their origin, the candidate's age and inputs, and its answers."""
    return [*enough(case), _same_rows(case), _fresh(case), _inputs(case), _libraries(case), _sound(case)]


def enough(case: Case) -> list[Rule]:
    """Rows and hours enough for an interval to mean something."""
    counts = {
        "enough rows": (len(case.held), case.spec.gate.minimum_rows, "held-out rows"),
        "enough hours": (len(set(case.blocks)), case.spec.gate.minimum_blocks, "hours with rows"),
    }
    return [
        Rule(
            name,
            Decision.PASS if found >= least else WAIT,
            f"{found:,} {what}, {least:,} needed",
            value=found,
            bound=least,
            kind=Kind.AT_LEAST,
        )
        for name, (found, least, what) in counts.items()
    ]


def _same_rows(case: Case) -> Rule:
    """The candidate was registered for exactly this training set, whose held-out part it is judged on."""
    tags, rows = case.version.tags, case.training_set
    same = tags.get("training_set") == rows.digest and tags.get("training_rows") == file_digest(rows.file)
    return fact(
        "the candidate's own training set",
        same,
        f"training set {rows.digest[:12]}, as it was when the candidate was fitted",
        "these rows are not those the candidate was registered with; train and judge on one training set",
    )


def _fresh(case: Case) -> Rule:
    champion = case.champion
    late = champion is not None and case.version.as_of < champion.as_of
    seen = f"the candidate knows data up to {case.version.as_of:%Y-%m-%d %H:%M}"
    than = f", the champion up to {champion.as_of:%Y-%m-%d %H:%M}" if champion else ""
    return fact("not staler than the champion", not late, seen + than, seen + than)


def _inputs(case: Case) -> Rule:
    """Serving can ask for every column: entities, request fields, and features of views that exist."""
    named = getattr(case.model, "feature_names_in_", None)
    if named is None:
        return fact("inputs serving can give", False, "", "the model does not say which columns it takes")
    known = {*case.spec.entities, *case.spec.request, *case.stores.features.feature_names(case.spec)}
    views = set(case.version.views)
    foreign = [n for n in map(str, named) if n not in known and n.split("__")[0] not in views]
    return fact(
        "inputs serving can give",
        not foreign,
        f"{len(named)} columns, each an entity, a request field or a feature",
        f"serving has no {', '.join(foreign)}; train on what spec.yaml names",
    )


def _libraries(case: Case) -> Rule:
    """A model file is read by the libraries that wrote it."""
    written, here = json.loads(case.version.tags.get("libraries", "{}")), libraries()
    other = [f"{n} {written.get(n, 'unknown')} (here {v})" for n, v in here.items() if written.get(n) != v]
    return fact(
        "written by the libraries that read it",
        not other,
        ", ".join(f"{name} {version}" for name, version in here.items()),
        f"written by {', '.join(other)}; train it again in this environment",
    )


def _sound(case: Case) -> Rule:
    wrong = "an answer is no number (or no probability), or labels have one class"
    if case.spec.task == "multiclass":
        wrong = "an answer is no probability of each class, or does not sum to one, or labels have one class"
    why = case.absent.get("candidate", wrong)
    return fact("sound answers", case.sound, f"all {len(case.held):,} answers are numbers", why)
