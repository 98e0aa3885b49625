"""What is to be told: which column, whether yes or no, one of several classes or a number, and as SQL."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.catalog.gate_spec import Task
from pipelines.contracts import EvergreenError
from pipelines.scaffold.data.moments import says_when
from pipelines.scaffold.data.profile import Facts
from pipelines.scaffold.data.sources import Source

USUAL = (
    "label", "target", "y", "class", "outcome", "answer", "survived", "churn", "churned", "default", "defaulted",
    "fraud", "is_fraud", "clicked", "converted", "cancelled", "canceled", "is_canceled", "late", "species", "diagnosis",
)  # fmt: skip
"""What the column to be told is often called, the surest first."""
YES = ("1", "true", "yes", "y", "t", "positive", "1.0", "churned", "fraud", "late", "dead", "m", "malignant")
FEW = 10
"""Whole numbers with so few values may be classes as well as amounts."""
LEAST_ROWS, LEAST_OF_A_CLASS = 100, 20
MOST_CLASSES = 20
"""So many classes are told apart at most; more are a number, or one of them against the rest."""


@dataclass(frozen=True)
class Answer:
    """The column to be told. `positive` is the value that counts as yes, as it is written; None for a number, and for
    several `classes`, which are as spec.yaml names them, `counts` the rows of each."""

    facts: Facts
    task: Task
    positive: str | None
    others: tuple[str, ...]
    why: str
    classes: tuple[str | int, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def rarest(self) -> int:
        """How many rows the rarest class has."""
        return min(self.counts)

    def sql(self, column: str) -> str:
        """The label of a row from a column of this name: a number, or the class as spec.yaml names it."""
        if self.classes:
            return column if self.facts.kind == "string" else f"cast({column} as bigint)"
        if self.positive is None:
            return column if self.facts.kind == "float" else f"cast({column} as double)"
        value = self.positive if self.facts.kind in ("integer", "float") else literal(self.positive)
        return f"cast({column} = {value} as integer)"

    def number(self, column: str) -> str:
        """The label as a number in any case: the place of a class."""
        if not self.classes:
            return self.sql(column)
        listed = ", ".join(literal(each) if isinstance(each, str) else str(each) for each in self.classes)
        return f"list_position([{listed}], {self.sql(column)}) - 1"


def literal(text: str) -> str:
    """A text as SQL says it."""
    return "'" + text.replace("'", "''") + "'"


def guessed(found: Sequence[Facts]) -> Facts:
    """The column that is most likely to be told: by its name, else the last that is no time."""
    by_name = {each.header.strip().lower(): each for each in reversed(found)}
    named = next((by_name[name] for name in USUAL if name in by_name), None)
    last = [each for each in found if each.kind != "timestamp" and each.distinct > 1]
    last = [each for each in last if not says_when(each)] or last
    if named is None and not last:
        raise EvergreenError(
            "no column has two values or more, so there is nothing to tell; look at the data"
        )
    return named or last[-1]


def answer(facts: Facts, task: Task | None, positive: str | None, source: Source) -> Answer:
    """How a column is told; EvergreenError if neither a class nor a number can say it, with what would."""
    if facts.kind == "timestamp" or facts.distinct < 2:
        what = "is a time" if facts.kind == "timestamp" else f"has {facts.distinct} value"
        raise EvergreenError(f"{facts.header!r} {what} and cannot be told; name another column with --label")
    unsaid = task is None and positive is None
    if task == "regression" or (unsaid and (_is_amount(facts) or _counts(facts, source))):
        return _number(facts, source)
    if positive is None and (task == "multiclass" or facts.distinct > 2):
        return _classes(facts, source)
    return _class(facts, positive, source)


def _is_amount(facts: Facts) -> bool:
    if facts.kind == "float":
        return facts.distinct > 2
    return facts.kind == "integer" and facts.distinct > FEW


def _counts(facts: Facts, source: Source) -> bool:
    """Whether a few whole numbers count something, as some of them are too rare to be classes."""
    if facts.kind != "integer" or facts.distinct < 3:
        return False
    return min(_values(facts, source).values()) < LEAST_OF_A_CLASS


def _number(facts: Facts, source: Source) -> Answer:
    if facts.kind == "string":
        raise EvergreenError(
            f"{facts.header!r} is text and no number, such as {', '.join(facts.examples[:3])}; take"
            " `--task classification --positive VALUE`, or another --label"
        )
    _enough(facts, facts.filled)
    return Answer(facts, "regression", None, (), f"a number with {facts.distinct:,} different values")


def _class(facts: Facts, positive: str | None, source: Source) -> Answer:
    values = _values(facts, source)
    chosen = _positive(values, positive, facts)
    count = values[chosen]
    _enough(facts, min(count, facts.filled - count))
    others = tuple(value for value in values if value != chosen) if facts.distinct == 2 else ()
    rest = others[0] if others else "the rest"
    return Answer(
        facts, "classification", chosen, others, f"{chosen} ({count / facts.filled:.1%}) against {rest}"
    )


def _classes(facts: Facts, source: Source) -> Answer:
    """Every value is a class, numbers in their order, words in the alphabet's."""
    values = _values(facts, source)
    shown = ", ".join(list(values)[:8]) + (", ..." if facts.distinct > 8 else "")
    ways = "`--positive VALUE` tells one of them against the rest"
    ways += ", or `--task regression` takes it as a number" if facts.kind != "string" else ""
    if facts.distinct < 3:
        raise EvergreenError(
            f"{facts.header!r} has {facts.distinct} values ({shown}), which `--task classification` tells"
        )
    if facts.distinct > MOST_CLASSES:
        raise EvergreenError(
            f"{facts.header!r} has {facts.distinct:,} values ({shown}), and up to {MOST_CLASSES} classes are told"
            f" apart; {ways}, or put rare ones together in the data"
        )
    if any(not value.strip() for value in values) or (facts.kind == "float" and any(map(_fraction, values))):
        raise EvergreenError(f"{facts.header!r} has values that are no names of classes ({shown}); {ways}")
    _enough_of_each(facts, values, ways)
    named = {value if facts.kind == "string" else int(float(value)): count for value, count in values.items()}
    ordered = dict(sorted(named.items()))
    rarest = min(ordered, key=ordered.__getitem__)
    why = f"{len(ordered)} classes, the rarest {rarest} ({ordered[rarest] / facts.filled:.1%}); {ways}"
    return Answer(facts, "multiclass", None, (), why, tuple(ordered), tuple(ordered.values()))


def _fraction(value: str) -> bool:
    return not float(value).is_integer()


def _enough_of_each(facts: Facts, values: dict[str, int], ways: str) -> None:
    rare = {value: count for value, count in values.items() if count < LEAST_OF_A_CLASS}
    _enough(facts, facts.filled)
    if rare:
        told = ", ".join(f"{value} ({count})" for value, count in rare.items())
        raise EvergreenError(
            f"{facts.header!r} has classes of too few rows: {told}; {LEAST_OF_A_CLASS} of each are needed to learn it"
            f" and to judge it: bring more, put rare ones together in the data, or {ways}"
        )


def _values(facts: Facts, source: Source) -> dict[str, int]:
    """The most frequent values as written, with how many rows have each."""
    rows = source.connection.execute(
        f"select cast({facts.place} as varchar), count(*) from typed where {facts.place} is not null"
        " group by 1 order by 2 desc, 1 limit 1000"
    ).fetchall()
    return dict(rows)


def _positive(values: dict[str, int], asked: str | None, facts: Facts) -> str:
    if asked is not None:
        alike = [value for value in values if value == asked or _same_number(value, asked)]
        if not alike:
            raise EvergreenError(
                f"no row of {facts.header!r} is {asked!r}; --positive takes one of {', '.join(list(values)[:8])}"
            )
        return alike[0]
    yes = [value for value in values if value.strip().lower() in YES]
    numbers = facts.kind in ("integer", "float")
    return yes[0] if len(yes) == 1 else max(values, key=float) if numbers else list(values)[-1]


def _same_number(value: str, asked: str) -> bool:
    try:
        return float(value) == float(asked)
    except ValueError:
        return False


def _enough(facts: Facts, fewest: int) -> None:
    if facts.filled < LEAST_ROWS:
        raise EvergreenError(
            f"{facts.filled} rows have a value of {facts.header!r}; a model and its gate need {LEAST_ROWS}: bring more"
        )
    if fewest < LEAST_OF_A_CLASS:
        raise EvergreenError(
            f"only {fewest} rows of {facts.header!r} are of the rarer kind; {LEAST_OF_A_CLASS} are needed to learn it"
            " and to judge it: bring more, or tell another value with --positive"
        )
