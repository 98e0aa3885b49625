"""`evergreen alerts`: what people were told of and is not over, since when, and what to do about it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.output import MENDED, AsJson, explained, settings, show
from pipelines.contracts import NothingToDo
from pipelines.stores import Stores

if TYPE_CHECKING:
    from rich.text import Text

    from pipelines.stores.watching.alerts import Kept

app = typer.Typer(help=__doc__)


@app.callback(invoke_without_command=True)
def alerts(
    asked: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="also what is over")] = False,
    as_json_text: AsJson = False,
) -> None:
    """What is open, the most severe first: since when, how often it was seen, whether to act, and where to look."""
    if asked.invoked_subcommand is not None:
        return
    with explained():
        found = Stores(settings()).alerts.listed(every)
        show([_plain(kept) for kept in found], as_json_text, _lines)


def _plain(kept: "Kept") -> dict[str, Any]:
    times = {name: getattr(kept, name) for name in ("opened_at", "last_seen", "told_at", "resolved_at")}
    return {"key": kept.key, "seen": kept.count} | times | kept.said


def _lines(found: list[dict[str, Any]]) -> "Text":
    from rich.text import Text

    told = [line for each in found for line in _one(each)]
    return Text("\n".join(map(_shown, told or ["Nothing is open."])))


def _one(each: dict[str, Any]) -> list[str]:
    state = "over" if each["resolved_at"] else each["severity"]
    since = str(each["since"] or each["opened_at"])[:16].replace("T", " ")
    head = f"[{state}] {each['what']}, since {since} UTC, seen {each['seen']} times"
    return [head, *(f"  {name}: {each[name]}" for name in ("why", "act", "look", "runbook"))]


def _shown(text: str) -> str:
    """Text for a terminal: what would steer it is escaped."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


@app.command("test")
def try_addresses(as_json_text: AsJson = False) -> None:
    """Send a test message to each address of EVERGREEN_ALERT_URLS, and say by its place whether it was delivered."""
    from pipelines.alerting.delivery import tried

    with explained():
        if not settings().alert_addresses:
            raise NothingToDo("EVERGREEN_ALERT_URLS is not set: nobody is told")
        found = [
            {"address": each.place, "delivered": each.whole, "silent": None in each.done}
            for each in tried(settings(), datetime.now(UTC))
        ]
        show(found, as_json_text, lambda lines: "\n".join(map(_outcome, lines)))
    if not all(each["delivered"] for each in found):
        raise typer.Exit(MENDED)


def _outcome(each: dict[str, Any]) -> str:
    said = "delivered" if each["delivered"] else "no answer in time" if each["silent"] else "not delivered"
    return f"address {each['address']}: {said}"


def decided(model: str, stores: Stores) -> None:
    """People are told of what a command has just decided of a model."""
    from pipelines.alerting.happened import decided as found
    from pipelines.alerting.telling import heard

    now = datetime.now(UTC)
    heard(found(model, stores, now), stores, now)
