"""Everything that is decided about a model, each with its reason, before a line of it is written."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from pipelines.catalog.gate_spec import Task
from pipelines.contracts import EvergreenError
from pipelines.scaffold import answers, leaks, moments, names, sizes
from pipelines.scaffold.answers import Answer
from pipelines.scaffold.moments import MINUTE, Clock
from pipelines.scaffold.profile import Facts, Kind
from pipelines.scaffold.sizes import Sizes
from pipelines.scaffold.sources import Source

Role = Literal["answer", "time", "key", "asked", "history", "unused"]
ROW, MADE = "row_id", "recorded_at"
"""The columns that are added where nothing tells rows apart, or says when they happened."""
NO_TIME = "none"
MOST_WATCHED = 6
LONG_TEXT, MANY = 60.0, 0.5


@dataclass(frozen=True)
class Said:
    """What a person says of the data; None is not said. `time` may be "none": there is no time."""

    label: str | None = None
    time: str | None = None
    keys: tuple[str, ...] = ()
    task: Task | None = None
    positive: str | None = None
    horizon: timedelta | None = None


@dataclass(frozen=True)
class Column:
    """One column as the model has it, what it is for, and why."""

    name: str
    facts: Facts
    role: Role
    why: str
    kind: Kind

    @property
    def renamed(self) -> bool:
        return self.name != self.facts.header


@dataclass(frozen=True)
class Design:
    """A whole model before it is written."""

    name: str
    origin: str
    rows: int
    columns: tuple[Column, ...]
    answer: Answer
    clock: Clock | None
    row_key: tuple[str, ...]
    horizon: timedelta
    forecast: bool
    sizes: Sizes
    span: tuple[datetime, datetime]
    reasons: dict[str, tuple[str, str]]
    notes: tuple[str, ...] = ()
    windows: tuple[timedelta, ...] = ()
    seasons: tuple[timedelta, ...] = field(default=())

    def of(self, *roles: Role) -> list[Column]:
        return [column for column in self.columns if column.role in roles]

    @property
    def label(self) -> Column:
        return self.of("answer")[0]

    @property
    def time(self) -> str:
        """The column that says when a row happened."""
        return self.of("time")[0].name if self.clock else MADE

    @property
    def keys(self) -> list[str]:
        """What history is kept by; the one made-up series where it is that of all rows."""
        return [column.name for column in self.of("key")] or ["series"]

    @property
    def series(self) -> bool:
        """Whether all rows are one history, with no column that says whose they are."""
        return self.clock is not None and not self.of("key")

    @property
    def added(self) -> list[str]:
        """The columns that the landed file has beside the person's own."""
        return [*([ROW] if self.row_key == (ROW,) else []), *([] if self.clock else [MADE])]


def design(name: str, origin: str, said: Said, found: Sequence[Facts], source: Source) -> Design:
    """The model for a table; EvergreenError says why there can be none, and what to do."""
    rows = found[0].rows
    label = _column(said.label, found, "--label") if said.label else answers.guessed(found)
    answer = answers.answer(label, said.task, said.positive, source)
    others = [each for each in found if each is not label]
    time = _time(said, others, rows)
    keys = _keys(said, time, others, rows, source)
    clock = moments.clock(time, keys, source) if time else None
    _no_holes([*keys, *([time] if time else [])], source)
    told = leaks.leaks([each for each in others if each not in keys and each is not time], answer, source)
    inputs = [each for each in others if each not in keys and each is not time]
    roles = {each.place: _unfit(each, told, clock, source, rows) for each in inputs}
    usable = [each for each in inputs if not roles[each.place]]
    varying = [each for each in usable if _varies(each, keys, source)]
    horizon, forecast = _horizon(said, answer, clock, varying)
    ahead = clock is not None and (said.horizon or timedelta()) > MINUTE or forecast
    columns = _columns(found, answer, time, keys, roles, varying if ahead else [], horizon)
    sized = sizes.sized(answer, clock, horizon, leaks.strongest(usable, source), source)
    key = moments.row_key(keys, time, found, source)
    by_place = {column.facts.place: column.name for column in columns}
    span = sizes.span(clock, source)
    return Design(
        name, origin, rows, columns, answer, clock,
        tuple(by_place[each.place] for each in key) or (ROW,), horizon, forecast, sized, span,
        _reasons(said, answer, clock, keys, horizon, forecast, sized), source.notes,
        tuple(moments.windows(clock.step)) if clock else (),
        tuple(moments.seasons(clock.step, horizon, span[1] - span[0])) if clock and forecast else (),
    )  # fmt: skip


def _column(asked: str, found: Sequence[Facts], flag: str) -> Facts:
    """A column by its header, or by the name it is given."""
    headers = [each.header for each in found]
    for theirs in (headers, names.mapped(headers), [header.strip().lower() for header in headers]):
        for wanted in (asked, asked.strip().lower()):
            if wanted in theirs:
                return found[theirs.index(wanted)]
    raise EvergreenError(f"{flag}: there is no column {asked!r}; there are: {', '.join(map(repr, headers[:30]))}")


def _time(said: Said, others: Sequence[Facts], rows: int) -> Facts | None:
    if said.time == NO_TIME:
        return None
    return _column(said.time, others, "--time") if said.time else moments.guessed_time(others, rows)


def _keys(
    said: Said, time: Facts | None, others: Sequence[Facts], rows: int, source: Source
) -> list[Facts]:
    if time is None:
        return []
    free = [each for each in others if each is not time]
    if said.keys:
        return [_column(key, free, "--key") for key in said.keys]
    return moments.guessed_keys(free, time, rows, source)


def _no_holes(columns: Sequence[Facts], source: Source) -> None:
    """Rows that do not say when they happened, or whose they are, cannot be learned from: they are left out."""
    holes = [each for each in columns if each.missing]
    if holes:
        source.connection.execute(f"delete from typed where {' or '.join(f'{e.place} is null' for e in holes)}")


def _unfit(facts: Facts, told: dict[str, str], clock: Clock | None, source: Source, rows: int) -> str:
    """Why a column is of no use to the model; empty if it is."""
    if facts.place in told:
        return f"leaks: {told[facts.place]}"
    if facts.distinct < 2:
        return "it has one value, which says nothing"
    if facts.kind == "string" and facts.distinct > MANY * facts.filled:
        return "its text is another in most rows, like a name or an id"
    if facts.kind == "string" and facts.length > LONG_TEXT:
        return "it is running text, which takes a model of language"
    if facts.kind == "integer" and facts.distinct == rows and _counts(facts):
        return "it numbers the rows"
    if facts.kind == "timestamp" and (clock is None or _after(facts, clock, source)):
        return "leaks: it is a time after the event" if clock else "it is a time, of which nothing says what it is to the answer"
    return ""


def _counts(facts: Facts) -> bool:
    plain = facts.most - facts.least < 2 * facts.rows
    return plain or any(part in ("id", "index", "no", "number", "uuid", "key") for part in facts.header.lower().split("_"))


def _after(facts: Facts, clock: Clock, source: Source) -> bool:
    share = source.one(f"select avg(cast({facts.place} > {clock.sql} as integer)) from typed where {facts.place} is not null")
    planned = any(word in facts.header.lower() for word in ("plan", "sched", "due", "booked", "expected"))
    return not planned and float(share or 0) > 0.5


def _varies(facts: Facts, keys: Sequence[Facts], source: Source) -> bool:
    """Whether a column changes within a key; what does not is known long before."""
    if not keys:
        return True
    by = ", ".join(each.place for each in keys)
    return bool(
        source.one(f"select count(*) from (select {by} from typed group by {by} having count(distinct {facts.place}) > 1)")
    )


def _horizon(
    said: Said, answer: Answer, clock: Clock | None, varying: Sequence[Facts]
) -> tuple[timedelta, bool]:
    """How long before the event is asked, and whether only the past is known then."""
    if clock is None:
        return timedelta(0), False
    if said.horizon is not None:
        asked = max(said.horizon, MINUTE)
        return asked, answer.task == "regression" and asked >= clock.shortest
    if answer.task == "regression" and not varying:
        shortest = max(clock.shortest, MINUTE)
        unit = next(unit for unit in (timedelta(days=1), timedelta(hours=1), MINUTE) if shortest >= unit)
        return unit * int(shortest / unit), True
    return MINUTE, False


def _columns(
    found: Sequence[Facts],
    answer: Answer,
    time: Facts | None,
    keys: Sequence[Facts],
    roles: dict[str, str],
    hidden: Sequence[Facts],
    horizon: timedelta,
) -> tuple[Column, ...]:
    """Every column with its name and its part."""
    made = []
    later = f"it is known at the event only, not {moments.written(horizon)} before; its past is"
    for facts, name in zip(found, names.mapped(each.header for each in found), strict=True):
        kind: Kind = "float" if facts.kind == "integer" and facts not in keys else facts.kind
        role: Role = "asked"
        why = "known when the question is asked"
        if facts is answer.facts:
            role, why = "answer", answer.why
        elif facts is time:
            role, kind, why = "time", "timestamp", "when it happened"
        elif facts in keys:
            role, why = "key", f"history is kept for each of its {facts.distinct:,} values"
        elif roles[facts.place]:
            role, why = "unused", roles[facts.place]
        elif facts in hidden:
            number = facts.kind in ("integer", "float")
            role, why = ("history", later) if number else ("unused", "it is known at the event only")
        made.append(Column(name, facts, role, why, kind))
    return _fewer_watched(made)


def _fewer_watched(columns: Sequence[Column]) -> tuple[Column, ...]:
    watched = [column for column in columns if column.role == "history"][MOST_WATCHED:]
    return tuple(
        Column(c.name, c.facts, "unused", f"the past of {MOST_WATCHED} columns is kept, and it comes later", c.kind)
        if c in watched else c
        for c in columns
    )  # fmt: skip


def _reasons(
    said: Said, answer: Answer, clock: Clock | None, keys: Sequence[Facts], horizon: timedelta, forecast: bool, sized: Sizes
) -> dict[str, tuple[str, str]]:
    """What was decided for the whole, and why."""
    told = {"label": (answer.facts.header, "you said so" if said.label else "by its name" if answer.facts.header.lower() in answers.USUAL else "the last column")}
    told["task"] = (answer.task, answer.why)
    if clock is None:
        told["time"] = ("none", "no column says when a row happened, with moments enough to hold the newest out: times are made, and the hold-out is a random sample")
    else:
        told["time"] = (clock.facts.header, f"rows are usually {moments.about(clock.step)} apart")
        whose = ", ".join(each.header for each in keys)
        told["key"] = (whose or "none: one series", f"with the time it tells rows apart" if keys and not said.keys else "you said so" if keys else "the history of all rows is one")
        what = "only the past is known then" if forecast else "the row's own columns are known then"
        told["horizon"] = (moments.written(horizon), f"asked so long before the event; {what}")
    told["hold-out"] = (moments.written(sized.holdout), f"the newest {sized.held:,} rows judge, {sized.learned:,} are learned from")
    told["estimator"] = ("linear" if sized.linear else "gradient boosting", sized.why)
    return told
