"""What the loop cost: its figures added up by stage, model, run or day, and what could be saved."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any

from pipelines.contracts import as_json
from pipelines.loop.costs import idle, schedules, slow
from pipelines.loop.costs.answers import answering
from pipelines.loop.costs.findings import Asked, Finding
from pipelines.loop.costs.shares import RULE, Users, shares, users
from pipelines.settings import Settings
from pipelines.stores import Stores
from pipelines.stores.watching.costs import FAILED, MODEL, NOTHING, SEVERAL, WAITING, Figure

BYS = ("stage", "model", "run", "day")


@dataclass
class Line:
    """Some figures added up: of `runs` so many `failed` or found `nothing` to do. Bytes are None where the system told
    none, `money` where no price is set; `share` is of the processors' seconds of all."""

    name: str
    runs: int = 0
    nothing: int = 0
    failed: int = 0
    cpu: float = 0.0
    wall: float = 0.0
    peak: int | None = None
    read: float | None = None
    written: float | None = None
    share: float = 0.0
    money: float | None = None
    used_by: tuple[str, ...] = field(default=())

    def add(self, figure: Figure, part: Fraction) -> None:
        self.runs += figure.runs
        self.nothing += figure.runs * (figure.outcome in (NOTHING, WAITING))
        self.failed += figure.runs * (figure.outcome == FAILED)
        self.cpu += figure.cpu * float(part)
        self.wall += figure.wall * float(part)
        self.peak = max(filter(None, (self.peak, figure.peak)), default=None)
        self.read = _sum(self.read, figure.read, part)
        self.written = _sum(self.written, figure.written, part)


def bill(
    stores: Stores, now: datetime, model: str | None, since: datetime | None, by: str, asked: Asked
) -> dict[str, Any]:
    """The lines of what began since a moment, of all models or the parts of one; findings look at all that is kept."""
    ever, known = stores.costs.between(None, now), users()
    figures = [figure for figure in ever if since is None or figure.began_at >= since]
    kept = [
        (f, p) for f in figures if (p := shares(f, known).get(model, Fraction(0)) if model else Fraction(1))
    ]
    whole = _lines(figures, lambda _: [("all", Fraction(1))], stores.settings)
    mine = _lines([f for f, _ in kept], _by(by, model, known), stores.settings, by == "day")
    _shared_out(mine, sum(line.cpu for line in whole))
    return {
        "since": as_json(since or (figures[0].began_at if figures else None)),
        "until": as_json(now),
        "model": model,
        "by": by,
        "lines": [as_json(line) for line in mine],
        "whole": as_json(whole[0]) if whole else None,
        "shared": [as_json(line) for line in _common(figures, known, model, stores.settings)],
        "answers": [as_json(each) for each in answering(figures, model)],
        "traffic": _traffic(stores, since, model),
        "findings": [as_json(each) for each in _findings(ever, known, stores, now, model, asked)],
        "rule": RULE,
        "price": _price(stores.settings),
    }


def lines(stores: Stores, since: datetime, now: datetime, by: str, model: str | None = None) -> list[Line]:
    """The lines alone, of what began since a moment: of all models, or the parts of one, without any finding."""
    figures, known = stores.costs.between(since, now), users()
    kept = [each for each in figures if model is None or model in shares(each, known)]
    found = _lines(kept, _by(by, model, known), stores.settings, by == "day")
    _shared_out(found, sum(figure.cpu for figure in figures))
    return found


def _by(by: str, model: str | None, known: Users) -> Callable[[Figure], Iterable[tuple[str, Fraction]]]:
    """To which lines a figure is added, and which part of it."""

    def parts(figure: Figure) -> Iterator[tuple[str, Fraction]]:
        for name, part in shares(figure, known).items():
            if model in (None, name):
                yield name, part

    def lines(figure: Figure) -> Iterable[tuple[str, Fraction]]:
        if by == "model":
            return parts(figure)
        part = sum((each for _, each in parts(figure)), Fraction(0))
        return [(_name(by, figure), part)]

    return lines


def _name(by: str, figure: Figure) -> str:
    if by == "day":
        return f"{figure.began_at:%Y-%m-%d}"
    if by == "run":
        return (
            figure.run
            if figure.run != SEVERAL
            else f"(several: {figure.stage}, {figure.error or figure.outcome})"
        )
    return figure.stage


def _lines(
    figures: Iterable[Figure],
    names: Callable[[Figure], Iterable[tuple[str, Fraction]]],
    settings: Settings,
    in_order: bool = False,
) -> list[Line]:
    """One line for each name, the dearest first or in order."""
    found: dict[str, Line] = {}
    for figure in figures:
        for name, part in names(figure):
            found.setdefault(name, Line(name)).add(figure, part)
    for line in found.values():
        price = settings.cost_per_cpu_hour
        line.money = None if price is None else line.cpu / 3600 * price
    return sorted(found.values(), key=lambda line: (0 if in_order else -line.cpu, line.name))


def _shared_out(lines: list[Line], whole: float) -> None:
    for line in lines:
        line.share = line.cpu / whole if whole else 0.0


def _common(figures: list[Figure], known: Users, model: str | None, settings: Settings) -> list[Line]:
    """What several models share, whole."""
    theirs = [f for f in figures if f.kind != MODEL and model in (None, *shares(f, known))]
    named = _lines(theirs, lambda f: [(f"{f.stage} {f.subject}".strip(), Fraction(1))], settings)
    _shared_out(named, sum(figure.cpu for figure in figures))
    of = {f"{f.stage} {f.subject}".strip(): tuple(sorted(shares(f, known))) for f in theirs}
    for line in named:
        line.used_by = of[line.name]
    return named


def _traffic(stores: Stores, since: datetime | None, model: str | None) -> dict[str, Any]:
    """Answers in the prediction log, and when the last one was asked for."""
    found = stores.predictions.traffic(since)
    return {
        name: {"answers": number, "last": as_json(last)}
        for name, (number, last) in found.items()
        if model in (None, name)
    }


def _findings(
    figures: list[Figure], known: Users, stores: Stores, now: datetime, model: str | None, asked: Asked
) -> list[Finding]:
    found = [
        *idle.findings(figures, known, stores, now, asked),
        *schedules.findings(figures, stores, asked),
        *slow.findings(figures, known),
    ]
    return [each for each in found if model in (None, *each.models)]


def _price(settings: Settings) -> str | None:
    price = settings.cost_per_cpu_hour
    return (
        None if price is None else f"{price:g} {settings.cost_currency}".strip() + " an hour of one processor"
    )


def _sum(before: float | None, more: int | None, part: Fraction) -> float | None:
    """Bytes that are known; those of figures without any are no zero, and add nothing."""
    return before if more is None else (before or 0.0) + more * float(part)
