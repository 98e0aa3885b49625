"""Whether the record of a candidate makes it again: its rows from the tables, and the model from the rows.

What was trained on other rows, on rows nobody can find, on the held-out rows or with other parameters comes out
otherwise, however good it looks.
"""

from pipelines.contracts import Decision, EvergreenError, Rule
from pipelines.gate.case import Case, fact
from pipelines.training.answers import apart, digest_of
from pipelines.training.rebuild import Rebuild, rebuilt

ROWS, MODEL = "its rows can be made again", "its answers can be made again"


def check(case: Case) -> list[Rule]:
    """The training set joined again from the tables it was read from, and the model fitted again."""
    if not case.spec.gate.rebuild:
        return []
    try:
        again = rebuilt(case.spec, case.version, case.stores)
    except EvergreenError as error:
        return [Rule(name, Decision.FAIL, str(error)) for name in (ROWS, MODEL)]
    return [_rows(case, again), _answers(case, again)]


def _rows(case: Case, again: Rebuild) -> Rule:
    holds = again.rows == case.version.tags.get("training_rows")
    broken = f"the tables give other rows, with the digest {again.rows[:12]}; {_remedy(case)}"
    return fact(ROWS, holds, f"joined again from the tables: {again.rows[:12]}", broken)


def _answers(case: Case, again: Rebuild) -> Rule:
    made = digest_of(again.answers)
    holds = made == case.version.tags.get("answers_digest")
    return fact(MODEL, holds, f"fitted again: answers {made[:12]}", f"{_apart(case, again)}; {_remedy(case)}")


def _apart(case: Case, again: Rebuild) -> str:
    """How far the answers are from those of the candidate."""
    said = case.answers["candidate"]
    if said.shape != again.answers.shape:
        return f"{len(again.answers):,} rows are held out of those that come out, not {len(said):,}"
    gaps = apart(again.answers, said)
    return f"{int((gaps > 0).sum()):,} of {len(gaps):,} rows answered otherwise, by up to {gaps.max(initial=0):.4g}"


def _remedy(case: Case) -> str:
    return (
        "it was not made from what its record says, or its training is not repeatable (set its random_state); "
        f"`evergreen reproduce {case.spec.name}@{case.version.version}` tells more, "
        f"`evergreen train {case.spec.name}` makes a version that is"
    )
