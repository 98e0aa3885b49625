"""Where a model's inputs come from and who asks it, as one picture: datasets, views, the model, consumers."""

from html import escape

from pipelines.site.facts import ModelFacts, ViewFacts

WIDTH, BOX, HIGH, STEP, TOP, LONGEST = 880, 184, 34, 46, 34, 25
LEFT = tuple(round((WIDTH - BOX) * place / 3) for place in range(4))
HEADS = ("datasets", "feature views", "model", "consumers")
Spot = tuple[float, float]


def picture(found: ModelFacts) -> str:
    """An SVG whose every text is escaped; its title says the same in one sentence."""
    views = found.views.value or ()
    sets = [each.name for each in found.datasets.value or ()]
    callers = _callers(found)
    rows = max(len(views), len(sets), len(callers), 1)
    places = [
        _column(names, at, rows)
        for at, names in enumerate((sets, [v.name for v in views], [found.name], callers))
    ]
    lines = _edges(views, places, found)
    boxes = "".join(
        _box(name, *spot, at) for at, column in enumerate(places) for name, spot in column.items()
    )
    heads = "".join(f"<text class=h x='{LEFT[at]}' y='18'>{name}</text>" for at, name in enumerate(HEADS))
    high = TOP + rows * STEP
    return (
        f"<svg class=lineage width={WIDTH} height={high} viewBox='0 0 {WIDTH} {high}' role=img>"
        f"<title>{escape(sentence(found))}</title>{heads}{lines}{boxes}</svg>"
    )


def sentence(found: ModelFacts) -> str:
    """The same in words."""
    views = [
        f"{each.name} (from {', '.join(each.sources) or 'nothing known'})" for each in found.views.value or ()
    ]
    asked = ", ".join(_callers(found))
    return f"{found.name} reads {', '.join(views) or 'no view'}; it is asked by: {asked}"


def _callers(found: ModelFacts) -> list[str]:
    keys = list(found.callers.value.keys) if found.callers.value else []
    return keys or ["nobody known"]


def _column(names: list[str], at: int, rows: int) -> dict[str, Spot]:
    """Where each box of a column begins, the column in the middle of the picture."""
    gap = (rows - len(names)) * STEP / 2
    return {name: (LEFT[at], TOP + gap + STEP * place) for place, name in enumerate(names)}


def _edges(views: tuple[ViewFacts, ...], places: list[dict[str, Spot]], found: ModelFacts) -> str:
    sets, shown, (model,), callers = places[0], places[1], list(places[2].values()), places[3]
    pairs = [(sets[s], shown[v.name]) for v in views for s in v.sources if s in sets]
    read = {source for view in views for source in view.sources}
    pairs += [(spot, model) for name, spot in sets.items() if name not in read]
    pairs += [(spot, model) for spot in shown.values()]
    pairs += [(model, spot) for spot in callers.values()]
    return "".join(_edge(*pair) for pair in pairs)


def _edge(begin: Spot, end: Spot) -> str:
    x, y, to, down = begin[0] + BOX, begin[1] + HIGH / 2, end[0], end[1] + HIGH / 2
    middle = (x + to) / 2
    return f"<path class=e d='M{x:.0f},{y:.1f} C{middle:.0f},{y:.1f} {middle:.0f},{down:.1f} {to:.0f},{down:.1f}' />"


def _box(name: str, x: float, y: float, at: int) -> str:
    shown = name if len(name) <= LONGEST else name[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return (
        f"<g class='k{at}'><title>{escape(name)}</title>"
        f"<rect x='{x:.0f}' y='{y:.1f}' width='{BOX}' height='{HIGH}' rx='7' />"
        f"<text x='{x + 11:.0f}' y='{y + 22:.1f}'>{escape(shown)}</text></g>"
    )
