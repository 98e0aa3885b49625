"""Whether the record of a candidate makes it again: its rows from the tables, and the model from the rows.

What was trained on other rows, on rows nobody can find, on the held-out rows or with other parameters comes out
otherwise, however good it looks.
"""

from pipelines.contracts import Decision, EvergreenError, Rule
from pipelines.gate.case import Case, fact

ROWS, MODEL = "its rows can be made again", "its answers can be made again"


def check(case: Case) -> list[Rule]:
    """The training set joined again from the tables it was read from, and the model fitted again."""
    from pipelines.training.reproduce import made_again

    if not case.spec.gate.rebuild:
        return []
    try:
        compared = {each.what: each for each in made_again(case.spec, case.version, case.stores).compared}
    except EvergreenError as error:
        return [Rule(name, Decision.FAIL, str(error)) for name in (ROWS, MODEL)]
    rows, answers = compared["training set"], compared["answers"]
    return [
        fact(
            ROWS, rows.equal, f"joined again from the tables: {rows.made[:12]}", f"{rows.how}; {_train(case)}"
        ),
        fact(
            MODEL,
            answers.equal,
            f"fitted again: answers {answers.made[:12]}",
            f"{answers.how}; {_train(case)}",
        ),
    ]


def _train(case: Case) -> str:
    return (
        "it was not made from what its record says, or its training is not repeatable (set its random_state); "
        f"`evergreen train {case.spec.name}` makes a version that is"
    )
