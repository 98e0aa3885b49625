"""How the pages of the record look: self-contained, no script, nothing fetched, light and dark."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from pipelines.contracts import Decision

SIGNS = {Decision.PASS: "✓", Decision.FAIL: "✕", Decision.INCONCLUSIVE: "?"}

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def head(title: str) -> str:
    """Everything before a page's first word; the browser is told to run and fetch nothing."""
    style = Path(__file__).with_name("page.css").read_text()
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8>"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name=viewport content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{style}</style></head><body><main>"
    )


def pill(decision: Decision) -> str:
    """A decision as a coloured word."""
    return f'<span class="pill {decision.value.lower()}">{decision.value}</span>'


def section(title: str, inside: str) -> str:
    """A titled box; nothing inside, no box."""
    return f"<section><h2>{title}</h2>{inside}</section>" if inside else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0) -> str:
    """Cells as given, already escaped; the `numbers` columns after the first stand right."""
    names = "".join(_cell("th", place, text, numbers) for place, text in enumerate(head))
    body = "".join(
        f"<tr>{''.join(_cell('td', place, text, numbers) for place, text in enumerate(row))}</tr>"
        for row in rows
    )
    return f"<table><thead>{f'<tr>{names}</tr>' if any(head) else ''}</thead><tbody>{body}</tbody></table>"


def _cell(tag: str, place: int, text: str, numbers: int) -> str:
    shade = " class=n" if 0 < place <= numbers else ""
    return f"<{tag}{shade}>{text}</{tag}>"
