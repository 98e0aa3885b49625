"""What Great Expectations said of a batch, in words and as a page."""

import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.catalog import DatasetSpec
from pipelines.stores import Stores

SHOWN = 20
"""How many failing values of one expectation a report lists."""

STYLE = (
    ":root{color-scheme:light dark;--no:#fdd;--warn:#ffd}"
    "@media(prefers-color-scheme:dark){:root{--no:#5c1f1c;--warn:#4a3c10}}"
    "body{font:15px sans-serif;margin:2em;overflow-wrap:anywhere}"
    "td,th{padding:.3em .8em;text-align:left;border-bottom:1px solid #8886}"
    ".no{background:var(--no)}.warn{background:var(--warn)}@media(max-width:40em){body{margin:1em}}"
)


@dataclass(frozen=True)
class Validation:
    """What a suite said: how many rows fail, why the batch is blocked, if it is, and what it warns of."""

    failing: int = 0
    blocked: str | None = None
    warnings: tuple[str, ...] = ()
    report: str | None = None


def report_path(spec: DatasetSpec, stores: Stores, digest: str) -> str | None:
    """Where a batch's report lies; None if it never got so far as to be validated."""
    path = _folder(spec, stores) / f"{digest}.html"
    return str(path) if stores.files.there(path) else None


def write(
    spec: DatasetSpec, stores: Stores, digest: str, results: list[dict[str, Any]], validation: Validation
) -> str:
    """The report as JSON and as a page without outside links; the page's path."""
    folder = _folder(spec, stores)
    short = [{**result, "result": _shortened(result["result"])} for result in results]
    summary = {
        "dataset": spec.name,
        "batch": digest,
        "blocked": validation.blocked,
        "warnings": list(validation.warnings),
        "failing_rows": validation.failing,
        "expectations": short,
    }
    _put(folder / f"{digest}.json", json.dumps(summary, indent=2), stores)
    _put(folder / f"{digest}.html", _page(spec, digest, short, validation), stores)
    return str(folder / f"{digest}.html")


def level(result: dict[str, Any]) -> str:
    return str((result["expectation_config"].get("meta") or {}).get("level", ""))


def columns(result: dict[str, Any]) -> list[str]:
    kwargs = result["expectation_config"]["kwargs"]
    pair = [kwargs[key] for key in ("column_A", "column_B") if key in kwargs]
    found = kwargs.get("column") or kwargs.get("column_list") or pair
    return [found] if isinstance(found, str) else list(found)


def rule(result: dict[str, Any]) -> str:
    return f"{result['expectation_config']['type']}({', '.join(columns(result))})"


def note(result: dict[str, Any]) -> str:
    return str((result["expectation_config"].get("meta") or {}).get("rule", ""))


def say(result: dict[str, Any]) -> str:
    found = result["result"]
    seen = found.get("observed_value", f"{found.get('unexpected_count')} failing rows")
    return f"{rule(result)} saw {seen}" + (f": {note(result)}" if note(result) else "")


def _folder(spec: DatasetSpec, stores: Stores) -> Path:
    return stores.settings.home / "reports" / "validation" / spec.name


def _shortened(result: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in result.items() if key != "unexpected_index_query"}
    return {key: value[:SHOWN] if isinstance(value, list) else value for key, value in kept.items()}


def _put(path: Path, text: str, stores: Stores) -> None:
    with stores.files.whole(path) as part:
        part.write_text(text)


def _page(spec: DatasetSpec, digest: str, results: list[dict[str, Any]], validation: Validation) -> str:
    verdict = f"Blocked: {validation.blocked}" if validation.blocked else "Passed"
    lines = "".join(_row(result) for result in results)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{spec.name}: validation</title><style>{STYLE}</style>"
        f"<h1>{spec.name}</h1><p>Batch <code>{html.escape(digest)}</code></p>"
        f"<p><b>{html.escape(verdict)}</b>; {validation.failing} rows to quarantine</p>"
        f"<table><tr><th>Expectation<th>Why<th>Result<th>Seen</tr>{lines}</table></html>"
    )


def _row(result: dict[str, Any]) -> str:
    found, warn = result["result"], level(result) == "warn"
    word = "passed" if result["success"] else "warning" if warn else "failed"
    kind = {"passed": "yes", "warning": "warn", "failed": "no"}[word]
    seen = found.get("observed_value")
    if seen is None:
        examples = ", ".join(str(value)[:40] for value in found.get("partial_unexpected_list", [])[:5])
        seen = f"{found.get('unexpected_count', 0)} of {found.get('element_count', '?')} {examples}"
    cells = (rule(result), note(result), word, str(seen))
    return f"<tr class={kind}>" + "".join(f"<td>{html.escape(cell)}" for cell in cells) + "</tr>"
