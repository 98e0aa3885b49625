"""`evergreen drift`: what moved in any range of days, from what the monitor kept of them."""

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.output import AsJson, explained, settings, show
from pipelines.contracts import EvergreenError, as_json

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = 20


def drift(
    model: Annotated[str, typer.Argument(help="a model of the catalog")],
    since: Annotated[str | None, typer.Option("--from", help="first day, such as 2013-05-01")] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="last day; the newest that was kept if left out")
    ] = None,
    version: Annotated[
        int | None, typer.Option(help="whose training it is held against; the champion's")
    ] = None,
    as_json_text: AsJson = False,
) -> None:
    """What moved in a range of days against a version's training, by sketches of all rows that the monitor kept.

    Without days it is the newest window. No row is read, so months cost as little as days.
    """
    from pipelines import catalog
    from pipelines.monitoring.ranges import ranged
    from pipelines.stores import Stores

    with explained():
        first, last = _day("--from", since), _day("--to", until)
        found = ranged(catalog.model(model), Stores(settings()), first, last, version)
        show(as_json(found), as_json_text, _table)


def _day(name: str, told: str | None) -> date | None:
    try:
        return None if told is None else date.fromisoformat(told)
    except ValueError:
        raise EvergreenError(f"{name} {told!r} is no day; write it like 2013-05-01") from None


def _table(found: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    from pipelines.cli.tables import grid

    head = (
        f"{found['model']} version {found['version']}, {found['since']} to {found['until']}: {_kept(found)},"
        f" {found['rows']:,} rows; {found['share']:.0%} of the columns moved, by what the answers hang on."
        f" A p-value of at most {min(each['level'] for each in found['findings']):.1g} is no chance."
    )
    heads = ["column", "what", "p-value", "distance", "moved"]
    rows = [_row(each) for each in found["findings"][:SHOWN]]
    return Group(Text(head), grid("The surest first", heads, rows))


def _kept(found: dict[str, Any]) -> str:
    asked = (date.fromisoformat(found["until"]) - date.fromisoformat(found["since"])).days + 1
    return f"{found['days']} days" if found["days"] == asked else f"{found['days']} of {asked} days were kept"


def _row(each: dict[str, Any]) -> list[str]:
    from pipelines.monitoring.drift.column import WHAT

    moved = "no" if not each["moved"] else "yes" if each["matters"] else "yes, hardly read"
    numbers = [f"{each['pvalue']:.2g}", f"{each['effect']:.3f}"]
    return [each["column"], f"{WHAT[each['family']]}, {each['towards']}", *numbers, moved]
