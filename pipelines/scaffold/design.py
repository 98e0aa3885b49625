"""Everything that is decided about a model, each with its reason, before a line of it is written."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from pipelines.catalog.gate_spec import Task
from pipelines.contracts import EvergreenError
from pipelines.scaffold import names
from pipelines.scaffold.data import answers, leaks, moments, sizes
from pipelines.scaffold.data.answers import Answer
from pipelines.scaffold.data.moments import MINUTE, Clock
from pipelines.scaffold.data.profile import Facts, Kind
from pipelines.scaffold.data.sizes import Sizes
from pipelines.scaffold.data.sources import Source
from pipelines.scaffold.reasons import Whole

Role = Literal["answer", "time", "key", "asked", "history", "unused"]
ROW, MADE = "row_id", "recorded_at"
"""The columns that are added where nothing tells rows apart, or says when they happened."""
NO_TIME = "none"
MOST_WATCHED = 6
YEARS = (1900, 2100)
"""Times that files may have."""
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

    @property
    def given(self) -> frozenset[str]:
        """What of it was said."""
        return frozenset(name for name, value in vars(self).items() if value)


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
    label = _column(said.label, found, "--label") if said.label else answers.guessed(found)
    answer = answers.answer(label, said.task, said.positive, source)
    time, keys, gone = _when_and_whose(said, [each for each in found if each is not label], source)
    clock = moments.clock(time, keys, source) if time else None
    inputs = [each for each in found if each not in (label, time, *keys)]
    told = leaks.leaks(inputs, answer, source)
    unfit = {each.place: _unfit(each, told, clock, source) for each in inputs}
    usable = [each for each in inputs if not unfit[each.place]]
    varying = [each for each in usable if _varies(each, keys, source)]
    horizon, forecast = _horizon(said, answer, clock, varying)
    hidden = varying if forecast or horizon > MINUTE else []
    parts = _Parts(answer, time, keys, unfit, hidden, horizon)
    columns = _fewer_watched([parts.column(f, n) for f, n in zip(found, _names(found), strict=True)])
    _tells_from_something(columns, clock)
    sized = sizes.sized(answer, clock, horizon, leaks.strongest(usable, source), source)
    whole = Whole(said.given, answer, clock, keys, horizon, forecast, sized)
    span = sizes.span(clock, source)
    by_place = {column.facts.place: column.name for column in columns}
    return Design(
        name, origin, found[0].rows, tuple(columns), answer, clock,
        tuple(by_place[each.place] for each in moments.row_key(keys, time, found, source)) or (ROW,),
        horizon, forecast, sized, span, whole.reasons(), (*source.notes, *gone, *whole.notes()),
        tuple(moments.windows(clock.step)) if clock else (),
        tuple(moments.seasons(clock.step, horizon, span[1] - span[0])) if clock and forecast else (),
    )  # fmt: skip


def _tells_from_something(columns: Sequence[Column], clock: Clock | None) -> None:
    """EvergreenError if no column is left to tell the answer from; with a time its own past always is."""
    if clock is None and not any(column.role == "asked" for column in columns):
        unused = [f"{c.facts.header!r}: {c.why}" for c in columns if c.role == "unused"]
        raise EvergreenError(
            f"nothing is left to tell the answer from ({'; '.join(unused) or 'there is no other column'}); bring more"
            " columns, or name with --time the one that says when a row happened: its past tells, then"
        )


def _names(found: Sequence[Facts]) -> list[str]:
    return names.mapped(each.header for each in found)


def _column(asked: str, found: Sequence[Facts], flag: str) -> Facts:
    """A column by its header, or by the name it is given."""
    headers = [each.header for each in found]
    for theirs in (headers, names.mapped(headers), [header.strip().lower() for header in headers]):
        for wanted in (asked, asked.strip().lower()):
            if wanted in theirs:
                return found[theirs.index(wanted)]
    raise EvergreenError(
        f"{flag}: there is no column {asked!r}; there are: {', '.join(map(repr, headers[:30]))}"
    )


def _when_and_whose(
    said: Said, others: Sequence[Facts], source: Source
) -> tuple[Facts | None, list[Facts], list[str]]:
    """The column of times and those of keys, as said or as guessed; rows that lack one are gone, which is told."""
    rows = others[0].rows
    if said.time == NO_TIME:
        return None, [], []
    time = _column(said.time, others, "--time") if said.time else moments.guessed_time(others, rows)
    if time is None:
        return None, [], []
    free = [each for each in others if each is not time]
    keys = [_column(key, free, "--key") for key in said.keys]
    keys = keys or moments.guessed_keys(free, time, rows, source)
    return time, keys, _left_out([time, *keys], moments.instant(time) or "null", source)


def _left_out(columns: Sequence[Facts], moment: str, source: Source) -> list[str]:
    """Takes out the rows that cannot be learned from: no time, a time nobody keeps, or nobody's; what to say of it."""
    holes = " or ".join(f"{each.place} is null" for each in columns)
    years = f"year({moment}) not between {YEARS[0]} and {YEARS[1]}"
    told = []
    for what, which in (
        (f"do not say {_listed(columns)}", holes),
        (f"are not from {YEARS[0]} to {YEARS[1]}", years),
    ):
        gone = source.one(f"select count(*) from typed where {which}")
        source.connection.execute(f"delete from typed where {which}")
        told += [f"{gone:,} rows {what} and are left out."] if gone else []
    return told


def _listed(columns: Sequence[Facts]) -> str:
    return " or ".join(repr(each.header) for each in columns)


def _unfit(facts: Facts, told: dict[str, str], clock: Clock | None, source: Source) -> str:
    """Why a column is of no use to the model; empty if it is."""
    if facts.place in told:
        return f"leaks: {told[facts.place]}"
    if facts.distinct < 2:
        return "it has one value, which says nothing"
    if facts.kind == "string" and facts.distinct > MANY * facts.filled:
        return "its text is another in most rows, like a name or an id"
    if facts.kind == "string" and facts.length > LONG_TEXT:
        return "it is running text, which takes a model of language"
    if facts.kind == "integer" and facts.distinct == facts.rows and _counts(facts):
        return "it numbers the rows"
    if facts.kind == "timestamp" and (clock is None or _after(facts, clock, source)):
        return (
            "leaks: it is a time after the event"
            if clock
            else "it is a time, of which nothing says what it is to the answer"
        )
    return ""


def _counts(facts: Facts) -> bool:
    plain = facts.most - facts.least < 2 * facts.rows
    return plain or any(
        part in ("id", "index", "no", "number", "uuid", "key") for part in facts.header.lower().split("_")
    )


def _after(facts: Facts, clock: Clock, source: Source) -> bool:
    share = source.one(
        f"select avg(cast({facts.place} > {clock.sql} as integer)) from typed where {facts.place} is not null"
    )
    planned = any(word in facts.header.lower() for word in ("plan", "sched", "due", "booked", "expected"))
    return not planned and float(share or 0) > 0.5


def _varies(facts: Facts, keys: Sequence[Facts], source: Source) -> bool:
    """Whether a column changes within a key; what does not is known long before."""
    if not keys:
        return True
    by = ", ".join(each.place for each in keys)
    return bool(
        source.one(
            f"select count(*) from (select {by} from typed group by {by} having count(distinct {facts.place}) > 1)"
        )
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


@dataclass(frozen=True)
class _Parts:
    """Which part each column has."""

    answer: Answer
    time: Facts | None
    keys: Sequence[Facts]
    unfit: dict[str, str]
    hidden: Sequence[Facts]
    horizon: timedelta

    def column(self, facts: Facts, name: str) -> Column:
        role, why = self._part(facts)
        whole = facts.kind == "integer" and facts not in self.keys
        kind: Kind = "timestamp" if facts is self.time else "float" if whole else facts.kind
        return Column(name, facts, role, why, kind)

    def _part(self, facts: Facts) -> tuple[Role, str]:
        if facts is self.answer.facts:
            return "answer", self.answer.why
        if facts is self.time:
            return "time", "when it happened"
        if facts in self.keys:
            return "key", f"history is kept for each of its {facts.distinct:,} values"
        if self.unfit[facts.place]:
            return "unused", self.unfit[facts.place]
        if facts not in self.hidden:
            return "asked", "known when the question is asked"
        if facts.kind in ("integer", "float"):
            return "history", f"known at the event, not {moments.written(self.horizon)} before; its past is"
        return "unused", "it is known at the event only"


def _fewer_watched(columns: list[Column]) -> list[Column]:
    watched = [column for column in columns if column.role == "history"][MOST_WATCHED:]
    why = f"the past of {MOST_WATCHED} columns is kept, and it comes later"
    return [replace(each, role="unused", why=why) if each in watched else each for each in columns]
