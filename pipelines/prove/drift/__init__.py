"""The test of drift held against a source whose truth is known: a quiet year, and shifts of each kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.contracts import Say
from pipelines.monitoring.drift.column import INPUT, RELATION
from pipelines.monitoring.drift.reference import Reference, made
from pipelines.monitoring.drift.seasons import Seasons
from pipelines.monitoring.drift.sketch import Sketches
from pipelines.monitoring.drift.verdict import look
from pipelines.prove import Proof
from pipelines.prove.drift.domain import told
from pipelines.prove.drift.stock import called
from pipelines.prove.drift.worlds import LABEL, RELATED, Day, Shift, World, together

PROMISE = (
    "a quiet year has at most four alarms, and so has one whose months differ if they are held apart; a shift of a"
    " quarter of a deviation is caught in a week of 1,000 rows, and each kind of shift is found for what it is;"
    " columns that go together as they did not are told in half of all worlds, and told where they do not as seldom as"
    " their rank says"
)
HISTORY, WINDOW = 120, 7
"""Days of the reference, and of a window, which is looked at once a day."""
FALSE, LEAST, MOST, CAUGHT = 2.0, 0.05, 4, 0.95
SEASONED, YEARLY = 730, 1.0
"""Days of the reference of a source whose months differ, and by how many deviations they do."""
LONG = 60
"""So many days a shift has to be found in."""
Where = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Rung:
    """A kind of shift: in which test of each column it belongs, and in how many days half of them must have it."""

    shift: Shift
    family: str
    within: int


LADDER = {
    "place, 0.25 deviations at once": Rung(Shift(place=0.25), INPUT, 7),
    "place, 0.01 more each day": Rung(Shift(daily=0.01), INPUT, 40),
    "spread, 1.3 times": Rung(Shift(spread=1.3), INPUT, 14),
    "missing, 15% of the values": Rung(Shift(missing=0.15), INPUT, 7),
    "prior: the label's log odds + 0.5": Rung(Shift(prior=0.5), INPUT, 14),
    "concept: columns say the opposite of the label": Rung(Shift(turned=2.0), RELATION, 14),
}


def prove(days: int, columns: int, rows: int, stock: int, worlds: int, seed: int, say: Say) -> Proof:
    """A quiet year of so many days, columns and rows a day, each rung of shifts, columns that go together in so many
    worlds, and Evidently on so many weeks."""
    failures = list[str]()
    quiet, known, reference = _begun(columns, rows, [seed, 0])
    table = [
        _year(quiet, reference, days, f"{days} quiet days", say, failures),
        _caught(columns, rows, seed, say, failures),
        *_months(columns, rows, days, seed, say, failures),
    ]
    table += [
        _rung(name, rung, columns, rows, [seed, 2 + n], say, failures)
        for n, (name, rung) in enumerate(LADDER.items())
    ]
    if worlds:
        begun = (_begun(columns, rows, [seed, 100 + number]) for number in range(worlds))
        table.append(told(begun, worlds, WINDOW, (FALSE, LEAST), say, failures))
    if stock:
        table += _stock(quiet, known, columns, rows, stock, seed, say)
    return Proof(PROMISE, table, failures)


def _begun(
    columns: int, rows: int, seed: list[int], yearly: float = 0.0, seasons: Seasons = ()
) -> tuple[World, list[Day], Reference]:
    """A world, the days that a model learned from, and the reference that they are."""
    import numpy as np

    world = World(columns, rows, int(np.random.SeedSequence(seed).generate_state(1)[0]), yearly=yearly)
    known = [world.day(day) for day in range(SEASONED if seasons else HISTORY)]
    return world, known, made(together([each.sketches() for each in known]), WINDOW, seasons)


def _year(
    world: World, reference: Reference, days: int, what: str, say: Say, failures: list[str]
) -> dict[str, Any]:
    """How often an alarm began in so many quiet days, and how many tests were looked at."""
    window, open_until, alarms, looks = list[Sketches](), dict[tuple[str, str], int](), 0, 0
    begun = len(reference.days)
    for day in range(begun, begun + days):
        window = [*window[-WINDOW + 1 :], world.day(day).sketches()]
        for found in look(reference, together(window), FALSE, LEAST):
            key, looks = (found.column, found.family), looks + 1
            if found.moved:
                alarms += day > open_until.get(key, -1)
                open_until[key] = day + WINDOW
        if day % 50 == 0:
            say(f"{what}: {alarms} alarms in {day - begun}")
    if alarms > MOST * days / 365 + 1e-9:
        failures.append(f"{alarms} alarms in {what}, {MOST} a year may be")
    return {"what": what, "alarms": alarms, "of": f"{looks:,} looks"}


def _caught(columns: int, rows: int, seed: int, say: Say, failures: list[str]) -> dict[str, Any]:
    """The share of the columns in which a week of a shift of 0.25 deviations is found, week by week anew."""
    world, _, reference = _begun(columns, rows, [seed, 1])
    hits, asked = _hits(world, reference, HISTORY)
    say(f"0.25 deviations in {rows * WINDOW:,} rows: {hits} of {asked} caught")
    if rows * WINDOW >= 1000 and hits < CAUGHT * asked:
        failures.append(
            f"a shift of 0.25 deviations was caught in {hits / asked:.1%}, {CAUGHT:.0%} were promised"
        )
    what = f"0.25 deviations in {rows * WINDOW:,} rows"
    return {"what": what, "caught": f"{hits / asked:.1%}", "of": f"{asked:,} weeks"}


def _months(
    columns: int, rows: int, days: int, seed: int, say: Say, failures: list[str]
) -> list[dict[str, Any]]:
    """A source whose months differ, two years of which are known, month by month: quiet days, and then shifts."""
    world, _, reference = _begun(columns, rows, [seed, 100], YEARLY, ("month",))
    quiet = _year(world, reference, days, f"{days} quiet days, months apart", say, failures)
    hits, asked = _hits(world, reference, SEASONED + days)
    what = f"0.25 deviations in {rows * WINDOW:,} rows, months apart"
    return [quiet, {"what": what, "caught": f"{hits / asked:.1%}", "of": f"{asked:,} weeks"}]


def _hits(world: World, reference: Reference, begun: int) -> tuple[int, int]:
    """In how many of ten weeks a shift of 0.25 deviations is found, over all columns of numbers."""
    hits = asked = 0
    for start in range(begun, begun + 10 * WINDOW, WINDOW):
        week = [world.day(day, Shift(place=0.25)).sketches() for day in range(start, start + WINDOW)]
        found = look(reference, together(week), FALSE, LEAST)
        own = [each for each in found if each.family == INPUT and _numbers(world, each.column)]
        hits, asked = hits + sum(each.moved for each in own), asked + len(own)
    return hits, asked


def _numbers(world: World, name: str) -> bool:
    return name != LABEL and world.kinds[name] == "numeric"


def _where(world: World, rung: Rung) -> Where:
    """The tests that a shift belongs to."""
    if rung.shift.prior:
        return [(LABEL, INPUT)]
    if rung.family == RELATION:
        return [(name, RELATION) for name in world.names[:RELATED]]
    numeric = rung.shift.spread != 1
    return [(name, INPUT) for name in world.names if not numeric or _numbers(world, name)]


def _rung(
    name: str, rung: Rung, columns: int, rows: int, seed: list[int], say: Say, failures: list[str]
) -> dict[str, Any]:
    """After how many days a shift is found, where it belongs, and what else was said."""
    world, _, reference = _begun(columns, rows, seed)
    begun, window = HISTORY + WINDOW, [world.day(day).sketches() for day in range(HISTORY, HISTORY + WINDOW)]
    first = dict[tuple[str, str], int]()
    for day in range(begun, begun + LONG):
        window = [*window[-WINDOW + 1 :], world.day(day, rung.shift, begun).sketches()]
        for found in look(reference, together(window), FALSE, LEAST):
            if found.moved:
                first.setdefault((found.column, found.family), day - begun + 1)
    where = _where(world, rung)
    delays = sorted(first.get(each, LONG + 1) for each in where)
    half, found_in = delays[(len(delays) - 1) // 2], sum(each <= LONG for each in delays)
    others = len([each for each in first if each not in where and each[1] != rung.family])
    say(f"{name}: half in {half} days")
    if half > rung.within:
        failures.append(f"{name}: half were found in {half} days, {rung.within} were promised")
    caught = f"{found_in} of {len(delays)}"
    return {
        "what": name,
        "caught": caught,
        "half after (days)": half,
        "all after": delays[-1] if found_in == len(delays) else "",
        "of another kind": others,
    }


def _stock(
    world: World, known: list[Day], columns: int, rows: int, weeks: int, seed: int, say: Say
) -> list[dict[str, Any]]:
    """What Evidently's preset calls of quiet weeks, quiet days, and weeks of a small shift."""
    week = dict[int, list[Day]]()
    for number in range(weeks):
        week[number] = [world.day(HISTORY + 1000 * 7 + 7 * number + day) for day in range(WINDOW)]
    of_weeks = [len(called(known, days)) for days in week.values()]
    say(f"Evidently: {sum(of_weeks)} columns in {weeks} quiet weeks")
    of_days = [len(called(known[-WINDOW:], days[-1:])) for days in week.values()]
    shifted = [world.day(HISTORY + day, Shift(place=0.25)) for day in range(WINDOW)]
    hit = called(known, shifted)
    numeric = [name for name in world.names if _numbers(world, name)]
    return [
        {
            "what": "Evidently, a quiet week against all days",
            "alarms": sum(of_weeks),
            "of": f"{weeks * (columns + 1):,} columns",
        },
        {
            "what": "Evidently, a quiet day against the week before",
            "alarms": sum(of_days),
            "of": f"{weeks * (columns + 1):,} columns",
        },
        {
            "what": f"Evidently, 0.25 deviations in {rows * WINDOW:,} rows",
            "caught": f"{len(hit & set(numeric)) / len(numeric):.1%}",
            "of": f"{len(numeric)} columns",
        },
    ]
