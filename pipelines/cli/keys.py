"""`evergreen keys`: who may ask the prediction API for what, where EVERGREEN_SERVING_ACCESS=keys."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from pipelines.cli.output import AsJson, console, explained, settings, show
from pipelines.cli.tables import grid
from pipelines.contracts import EvergreenError
from pipelines.stores import Stores

app = typer.Typer(no_args_is_help=True, help=__doc__)
Name = Annotated[str, typer.Argument(help="of the caller, such as billing-app")]


@app.command()
def make(
    name: Name,
    scope: Annotated[list[str], typer.Option(help="predict, feedback or read; may be given again")],
    days: Annotated[
        int | None, typer.Option(min=1, help="it ends after so many days; default: never")
    ] = None,
    per_second: Annotated[
        float | None,
        typer.Option(min=0.01, help="so many requests a second at most, by each serving process"),
    ] = None,
) -> None:
    """Make a key and print it: the only time that it is seen. A caller's other keys stay."""
    with explained():
        stores, now = Stores(settings()), datetime.now(UTC)
        ends = now + timedelta(days=days) if days else None
        token = stores.api_keys.make(name, scope, now, ends, per_second)
        evidence = {"scopes": sorted({*scope}), "ends_at": ends, "per_second": per_second}
        stores.audit.append(stores.audit.now(), stores.who, "make-key", f"key:{name}", "", evidence)
    typer.echo(token)


@app.command()
def rotate(
    name: Name,
    hours: Annotated[int, typer.Option(min=0, help="the keys before end after so many hours")] = 24,
) -> None:
    """Make a key that is good for what the caller's newest is good for, and let those before it end."""
    with explained():
        stores, now = Stores(settings()), datetime.now(UTC)
        lasting = [key for key in stores.api_keys.all() if key.name == name and key.lasts(now)]
        if not lasting:
            raise EvergreenError(f"{name} has no key that lasts; `evergreen keys make {name}` makes one")
        newest = lasting[-1]
        length = newest.ends_at - newest.made_at if newest.ends_at else None
        token = stores.api_keys.make(
            name, newest.scopes, now, now + length if length else None, newest.per_second
        )
        ended = stores.api_keys.end(name, now + timedelta(hours=hours), made_before=now)
        evidence = {"ended": ended, "hours": hours}
        stores.audit.append(stores.audit.now(), stores.who, "rotate-key", f"key:{name}", "", evidence)
    typer.echo(token)


@app.command()
def end(
    name: Name, reason: Annotated[str, typer.Option(help="why, for the record")] = "no longer needed"
) -> None:
    """End every key of a caller; serving lets none of them in within a second."""
    with explained():
        stores = Stores(settings())
        ended = stores.api_keys.end(name, datetime.now(UTC))
        if not ended:
            raise EvergreenError(f"{name} has no key that lasts; `evergreen keys list` shows all")
        stores.audit.append(
            stores.audit.now(), stores.who, "end-key", f"key:{name}", reason, {"ended": ended}
        )
        console.print(f"{ended} ended")


@app.command("list")
def listed(as_json_text: AsJson = False) -> None:
    """Every key there ever was: whose, good for what, until when; never the key."""
    with explained():
        show(Stores(settings()).api_keys.all(), as_json_text, _table)


def _table(keys: list[dict[str, Any]]) -> Any:
    rows = (
        (
            key["name"],
            ", ".join(key["scopes"]),
            str(key["per_second"] or ""),
            *(_minute(key[when]) for when in ("made_at", "ends_at")),
        )
        for key in keys
    )
    return grid("Keys", ["caller", "good for", "a second", "made", "ends"], rows)


def _minute(moment: str | None) -> str:
    return "" if moment is None else moment[:16].replace("T", " ")
