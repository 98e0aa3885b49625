"""A scorecard as a table for a terminal, as Markdown, and for machines."""

from typing import Any

from pipelines.contracts import as_json
from pipelines.review.changes.markdown import code, plain, seen
from pipelines.review.scorecard.card import Card, Row


def as_plain(card: Card) -> dict[str, Any]:
    """For machines."""
    return {
        "model": card.model, "score": card.score, "reading": card.reading, "sections": card.sums,
        "items": [as_json(row) for row in card.rows],
    }  # fmt: skip


def summary(card: Card) -> str:
    """The four sums, the least of them, and what the paper makes of it."""
    sums = ", ".join(f"{name} {value:g}" for name, value in card.sums.items())
    return f"{card.model}: {card.score:g}, the least of {sums} (of 7 each). {card.reading}"


def table(card: Card) -> Any:
    """For a terminal."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=f"ML Test Score of {card.model}", title_justify="left", show_lines=True)
    for name in ("", "", "item", "evidence"):
        shown.add_column(name, overflow="fold")
    for row in card.rows:
        color = {0.0: "red", 0.5: "yellow", 1.0: "green"}[row.points]
        said = "\n".join(filter(None, [seen(row.said), row.remedy and f"-> {row.remedy}"]))
        dated = f"{row.title}\n{_date(row)}`{row.command}`"
        shown.add_row(
            f"{row.section} {row.number}", f"[{color}]{row.points:g}[/]", escape(dated), escape(said)
        )
    return Group(shown, Text(summary(card)))


def markdown(card: Card) -> str:
    """For a page."""
    head = [
        f"## ML Test Score of {plain(card.model)}: {card.score:g}", "", plain(card.reading) + ".", "",
        "| section | points of 7 |", "| --- | --- |", *(f"| {n} | {v:g} |" for n, v in card.sums.items()), "",
        "| item | points | evidence | date | shown by | remedy |", "| --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    rows = [
        f"| {row.section} {row.number}: {plain(row.title)} | {row.points:g} | {plain(row.said)} | {_date(row).strip()} "
        f"| {code(row.command)} | {plain(row.remedy)} |"
        for row in card.rows
    ]
    return "\n".join([*head, *rows]) + "\n"


def _date(row: Row) -> str:
    return f"{row.at:%Y-%m-%d %H:%M} " if row.at else ""
