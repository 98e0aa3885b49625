"""The pages as HTML: every text from outside is escaped, and nothing is fetched from anywhere."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from markupsafe import Markup

from pipelines.site import charts, lineage
from pipelines.site.facts import HouseFacts, ModelFacts

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
KINDS = {"input": "its values", "relation": "what it says of the label"}
"""What a finding of drift is about, in a reader's words."""
UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


class Links(Protocol):
    """Where a page's links lead, from where it stands; None where there is nothing to lead to."""

    over: str

    def model(self, name: str) -> str: ...
    def decision(self, name: str, version: int) -> str | None: ...
    def card(self, name: str, version: int) -> str | None: ...
    def run(self, run_id: str) -> str | None: ...
    def performance(self, name: str) -> str | None: ...
    def drift(self, name: str) -> str | None: ...


def over(house: HouseFacts, links: Links, now: datetime) -> str:
    """The page over all models."""
    return _filled("over", "Models", now, house=house, links=links)


def model(found: ModelFacts, links: Links, now: datetime, actions: Markup = Markup()) -> str:  # noqa: B008
    """The page of one model; `actions` is what the reader may do there, as HTML that its maker answers for."""
    # Both are made of escaped texts by `lineage` and the plugin.
    told = {"lineage": Markup(lineage.picture(found)), "sentence": lineage.sentence(found)}  # noqa: S704
    return _filled("model", found.name, now, m=found, links=links, actions=actions, **told)


def _filled(template: str, title: str, now: datetime, **said: object) -> str:
    style = Markup((TEMPLATES / "style.css").read_text())  # noqa: S704 - our own file
    page = _environment().get_template(f"{template}.html.j2")
    return page.render(title=title, style=style, now=now, **said)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context

    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    shown = {
        "moment": moment,
        "day": day,
        "age": age,
        "number": number,
        "count": _count,
        "markdown": markdown,
    }
    made.filters |= {**shown, "ago": pass_context(_ago)}
    made.globals |= {"trend": _trend, "word": word, "cost": cost, "kinds": KINDS}
    return made


def word(found: ModelFacts) -> str:
    """In two words what the monitor says: steady, drifted, decayed, both, not watched, or unknown."""
    if found.watched.trouble:
        return "unknown"
    if found.watched.value is None:
        return "not watched"
    last = found.watched.value.report
    said = [name for name, so in (("drifted", last.drifted), ("decayed", last.decayed)) if so]
    return ", ".join(said) or "steady"


def cost(found: ModelFacts) -> str:
    """What a week cost: money where a price is set, seconds of processors where none is."""
    week = found.cost.value
    if week is None:
        return "unknown"
    if week.money is not None:
        return f"{week.money:,.2f} {week.currency}".strip()
    return age(timedelta(seconds=week.cpu)) if week.lines else ""


def moment(when: datetime | None) -> str:
    return "" if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M}"


def day(when: datetime | None) -> str:
    return "" if when is None else f"{when.astimezone(UTC):%Y-%m-%d}"


def age(span: timedelta | None) -> str:
    """A length of time in its largest unit."""
    seconds = abs(span.total_seconds()) if span is not None else 0.0
    unit, size = next((each for each in UNITS if seconds >= each[1]), UNITS[-1])
    return f"{seconds / size:,.1f}".removesuffix(".0") + f" {unit}"


def number(value: float | None) -> str:
    """Four digits that count; nothing for nothing."""
    return "" if value is None else f"{value:,.4g}"


def markdown(text: str) -> Markup:
    """A person's Markdown. HTML in it is shown, not obeyed, and pictures, which would be fetched, are links."""
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return Markup(made.render(text))  # noqa: S704 - what markdown-it made of it


def _ago(context: Mapping[str, Any], when: datetime | None) -> str:
    """How long ago, by the moment of the page."""
    return "" if when is None else f"{age(context['now'] - when)} ago"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _trend(values: list[float | None], title: str) -> Markup:
    return Markup(charts.trend(values, title))  # noqa: S704 - its one text is escaped
