"""How our pages in Airflow's UI look: one style, light and dark, wide and narrow."""

from html import escape

STYLE = (
    ":root{color-scheme:light dark;--text:#1c1e21;--soft:#666;--line:#ddd;--paper:#fff;--bad:#c62828;--warn:#9a6200;"
    "--good:#2e7d32}@media(prefers-color-scheme:dark){:root{--text:#e6e6e6;--soft:#a0a0a0;--line:#3a3a3a;"
    "--paper:#161616;--bad:#ff8a80;--warn:#ffca60;--good:#81c784}}"
    "body{font:15px/1.45 sans-serif;margin:2em;color:var(--text);background:var(--paper)}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.4em .9em .4em 0;text-align:left;vertical-align:top;"
    "border-bottom:1px solid var(--line);max-width:34em;overflow-wrap:break-word}"
    "th{font-weight:600;white-space:nowrap}td.n,th.n{text-align:right;"
    "white-space:nowrap;font-variant-numeric:tabular-nums}small,.soft{color:var(--soft)}a{color:inherit}"
    "small{display:block;max-width:26em;overflow-wrap:anywhere}.no{color:var(--bad)}.warn{color:var(--warn)}.yes{color:var(--good)}"
    "@media(max-width:40em){body{margin:1em}table{display:block;overflow-x:auto}}"
)


def page(title: str, body: str, style: str = "") -> str:
    """A whole page; `body` and `style` are HTML and CSS, the title is text."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style>{body}</html>"
    )
