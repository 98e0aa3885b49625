"""`evergreen cost`: what the loop took, by stage, model, run or day, and what could be saved."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipelines.cli.output import AsJson, explained, settings, show
from pipelines.contracts import EvergreenError


class By(StrEnum):
    STAGE, MODEL, RUN, DAY = "stage", "model", "run", "day"


def cost(
    model: Annotated[str | None, typer.Argument(help="a model of the catalog; all if left out")] = None,
    since: Annotated[str | None, typer.Option(help="first day, such as 2026-01-31; default: all")] = None,
    by: Annotated[By, typer.Option(help="what a line of the table is")] = By.STAGE,
    storage: Annotated[bool, typer.Option("--storage", help="the bytes that lie on disk instead")] = False,
    idle_days: Annotated[
        int, typer.Option(min=1, help="a model is idle after so many days without answers")
    ] = 7,
    trainings: Annotated[
        int, typer.Option(min=2, help="a schedule is wasteful if none of the last so many won")
    ] = 5,
    as_json_text: AsJson = False,
) -> None:
    """What steps took: processors, time, memory and bytes; and what is idle, wasteful or waits, with what to change."""
    from pipelines import catalog
    from pipelines.loop.costs.bill import bill
    from pipelines.loop.costs.findings import Asked
    from pipelines.loop.costs.storage import storage as lying
    from pipelines.stores import Stores

    with explained():
        stores = Stores(settings())
        if model is not None:
            catalog.model(model)
        if storage:
            return show(
                [row for row in lying(stores) if model in (None, *row["models"])], as_json_text, _lying
            )
        asked = Asked(idle_days, trainings)
        show(bill(stores, datetime.now(UTC), model, _day(since), by.value, asked), as_json_text, _billed)


def _day(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(f"{text}T00:00:00+00:00")
    except ValueError:
        raise EvergreenError(f"--since {text!r} is not a day such as 2026-01-31") from None


def _billed(found: dict[str, Any]) -> Any:
    """The table, what models share, what answers took and how many are logged, the findings, and the rule."""
    if found["whole"] is None:
        return "Nothing was measured yet: the next step that runs is."
    whose = f" of {found['model']}" if found["model"] else ""
    title = f"What steps{whose} took from {found['since'][:10]} to {found['until'][:10]}, by {found['by']}"
    parts: list[Any] = [_table(title, found["lines"], [] if found["model"] else [found["whole"]])]
    if found["shared"]:
        parts.append(_table("Of that, what models share, whole", found["shared"], []))
    if found["answers"]:
        parts.append(_answering(found["answers"]))
    parts += [Text(""), *map(Text, _answers(found["traffic"])), Text(found["rule"])]
    parts.append(Text(f"Money at {found['price']}." if found["price"] else NO_PRICE))
    parts += [Text(""), *(_told(each) for each in found["findings"])]
    if not found["findings"]:
        parts.append(Text("Nothing idle, wasteful or waiting was found."))
    return Group(*parts)


NO_PRICE = "No price is set; EVERGREEN_COST_PER_CPU_HOUR makes the table name money."


def _table(title: str, lines: list[dict[str, Any]], sums: list[dict[str, Any]]) -> Table:
    money = any(line["money"] is not None for line in lines)
    table = Table(title=title, title_justify="left", title_style="bold", padding=0)
    table.add_column("", overflow="fold", min_width=12)
    for name in (
        "runs",
        "CPU s",
        "wall s",
        "peak MB",
        "GB read",
        "GB written",
        "share",
        *(["money"] * money),
    ):
        table.add_column(name, justify="right", overflow="fold", min_width=6 if name == "money" else None)
    for line in [*lines, *sums]:
        table.add_row(*_cells(line, line in sums), *([f"{line['money']:,.4f}"] if money else []))
    return table


def _cells(line: dict[str, Any], whole: bool) -> list[str]:
    name = line["name"] + (f"\n  ({', '.join(line['used_by'])})" if line["used_by"] else "")
    notes = [
        f"{line[each]:,} {said}" for each, said in (("nothing", "empty"), ("failed", "failed")) if line[each]
    ]
    runs = f"{line['runs']:,}" + (f" ({', '.join(notes)})" if notes else "")
    peak = "?" if line["peak"] is None else f"{line['peak'] / 1e6:,.0f}"
    share = "" if whole else f"{line['share']:.1%}"
    return [name, runs, f"{line['cpu']:,.2f}", f"{line['wall']:,.2f}", peak,
            _gigabytes(line["read"]), _gigabytes(line["written"]), share]  # fmt: skip


def _answering(versions: list[dict[str, Any]]) -> Table:
    table = Table(title="What answers took where they are served", title_justify="left", title_style="bold")
    table.add_column("", overflow="fold")
    for name in ("requests", "answers", "CPU s", "CPU ms an answer", "peak MB"):
        table.add_column(name, justify="right")
    for each in versions:
        name = each["name"] + ("" if each["version"] is None else f"@{each['version']}")
        each_ms = "?" if each["cpu_ms"] is None else f"{each['cpu_ms']:,.2f}"
        peak = "?" if each["peak"] is None else f"{each['peak'] / 1e6:,.0f}"
        table.add_row(
            name, f"{each['requests']:,}", f"{each['answers']:,}", f"{each['cpu']:,.2f}", each_ms, peak
        )
    return table


def _gigabytes(count: float | None) -> str:
    return "?" if count is None else f"{count / 1e9:,.3f}"


def _answers(traffic: dict[str, dict[str, Any]]) -> list[str]:
    if not traffic:
        return ["No answer is logged."]
    return [
        f"{name}: {each['answers']:,} answers, the last at {each['last'][:16]}"
        for name, each in traffic.items()
    ]


def _told(finding: dict[str, Any]) -> Text:
    return Text(f"{finding['kind'].upper()}: {finding['evidence']}.\n  Remedy: {finding['remedy']}.")


def _lying(rows: list[dict[str, Any]]) -> Any:
    if not rows:
        return "Nothing lies on disk yet."
    table = Table(title="What lies on disk", title_justify="left", title_style="bold")
    for name in ("whose", "what", "used by", "MB"):
        table.add_column(name, overflow="fold", justify="right" if name == "MB" else "left")
    for row in sorted(rows, key=lambda row: -(row["bytes"] or 0)):
        size = row["note"] if row["bytes"] is None else f"{row['bytes'] / 1e6:,.2f}"
        table.add_row(f"{row['kind']} {row['name']}", row["what"], ", ".join(row["models"]) or "nobody", size)
    return table
