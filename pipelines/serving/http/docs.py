"""The API's documentation as one page that stands alone: no script, style or font from elsewhere."""

import json
import secrets
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi.responses import HTMLResponse

STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --accent: #1a7f4b; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; text-transform: capitalize; }
article { border: 1px solid var(--line); border-radius: 8px; margin: 1rem 0; padding: .2rem 1.2rem 1rem; }
code, pre, textarea { font: 14px/1.45 ui-monospace, monospace; }
pre, textarea { background: var(--soft); border: 0; border-radius: 6px; padding: .8rem; overflow-x: auto; }
textarea { width: 100%; box-sizing: border-box; color: inherit; }
.verb { background: var(--accent); color: #fff; border-radius: 4px; padding: .15rem .5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; }
td { border-top: 1px solid var(--line); }
button { font: inherit; color: #fff; background: var(--accent); border: 0; border-radius: 6px;
  padding: .4rem 1.2rem; cursor: pointer; }
"""
SCRIPT = """
for (const form of document.querySelectorAll("form")) form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const out = form.querySelector("pre"), body = form.querySelector("textarea");
  out.hidden = false;
  try {
    const reply = await fetch(form.dataset.path, body
      ? { method: "POST", headers: { "Content-Type": "application/json" }, body: body.value } : {});
    const text = await reply.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { }
    out.textContent = reply.status + " " + reply.statusText + "\\n" + shown;
  } catch (error) { out.textContent = "no answer: " + error; }
});
"""


def page(document: dict[str, Any]) -> HTMLResponse:
    """An OpenAPI document as HTML, each operation with its schema, a real example and a way to try it."""
    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
    html = "".join(_page(document, nonce))
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


def _page(document: dict[str, Any], nonce: str) -> Iterator[str]:
    info = document["info"]
    yield '<!doctype html><html lang="en"><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
    yield f'<title>{escape(info["title"])}</title><style nonce="{nonce}">{STYLE}</style>'
    yield f"<h1>{escape(info['title'])}</h1><p>{escape(info.get('description', ''))} "
    yield 'The same for machines: <a href="openapi.json">openapi.json</a>.</p>'
    shown = None
    for path, verb, operation in _operations(document):
        tag = operation.get("tags", ["other"])[0]
        if tag != shown:
            yield f"<h2>{escape(tag)}</h2>"
            shown = tag
        yield from _operation(document, path, verb, operation)
    yield f'<script nonce="{nonce}">{SCRIPT}</script></html>'


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            yield path, verb, operation


def _operation(document: dict[str, Any], path: str, verb: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<article><h3><code class="verb">{escape(verb.upper())}</code> <code>{escape(path)}</code></h3>'
    yield f"<p><b>{escape(operation.get('summary', ''))}</b></p>"
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    body = _schema(document, operation.get("requestBody"))
    if body:
        yield _table(("field", "type", "what it is", "example"), _fields(document, body))
    yield from _form(path, body)
    yield _table(("answer", "when"), _answers(operation))
    answer = _schema(document, operation["responses"].get("200"))
    if answer.get("properties"):
        yield "<p>An answer has:</p>"
        yield _table(("field", "type", "what it is"), _described(document, answer))
    yield "</article>"


def _form(path: str, body: dict[str, Any]) -> Iterator[str]:
    if "{" in path:
        return
    yield f'<form data-path="{escape(path.lstrip("/"))}">'
    if body:
        text = json.dumps(body.get("examples", [{}])[0], indent=2)
        yield f'<textarea rows="{text.count(chr(10)) + 1}" spellcheck="false">{escape(text)}</textarea>'
    yield "<p><button>Send</button></p><pre hidden></pre></form>"


def _answers(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for status, response in operation["responses"].items():
        yield f"<code>{escape(status)}</code>", escape(response["description"])


def _fields(document: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, ...]]:
    """Each leaf of a schema as a row: dotted name, type, description, example."""
    for name, part in schema.get("properties", {}).items():
        resolved = _resolved(document, part)
        if resolved.get("properties"):
            yield from _fields(document, resolved, f"{prefix}{name}.")
        else:
            kinds = [
                " ".join(str(p[k]) for k in ("type", "format") if k in p)
                for p in resolved.get("anyOf", [resolved])
            ]
            sample = json.dumps(resolved["examples"][0]) if resolved.get("examples") else ""
            yield (
                f"<code>{escape(prefix + name)}</code>",
                escape(" or ".join(kinds)),
                escape(resolved.get("description", "")),
                f"<code>{escape(sample)}</code>",
            )


def _described(document: dict[str, Any], schema: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    return (row[:3] for row in _fields(document, schema))


def _schema(document: dict[str, Any], part: dict[str, Any] | None) -> dict[str, Any]:
    content = (part or {}).get("content", {}).get("application/json", {})
    return _resolved(document, content.get("schema", {}))


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
    return found


def _table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
