"""The card of a version: what a person wrote about the model, and the facts of this one, from its records."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines import catalog
from pipelines.catalog import ModelSpec
from pipelines.contracts import Decision, EvergreenError, Promotion, Verdict
from pipelines.gate import record
from pipelines.gate.report.look import head
from pipelines.gate.report.page import kept, page
from pipelines.record import card_text
from pipelines.record.card_text import Facts
from pipelines.stores import Stores
from pipelines.stores.audit.licences import LICENCE
from pipelines.stores.tracking.registry import ANCHOR, CHAMPION, PREVIOUS, Version

CARD = "card"


def write(spec: ModelSpec, version: int, stores: Stores) -> Path:
    """Write a version's card and decision page anew, log both to its run, and set its description; the card's path.

    To be called whenever what is known of a version changes: after a promotion, a rollback, an override.
    """
    found = stores.tracking.version(spec.name, version)
    try:
        verdict = record.read(found, stores)
    except EvergreenError:
        if record.DIGEST in found.tags:
            raise
        verdict = None
    told = record.beside(spec.name, version, record.DETAILS, stores)
    details = json.loads(told.read_text()) if told.exists() else {}
    return put(found, verdict, details, spec, stores)


def moved(spec: ModelSpec, answer: Promotion, stores: Stores) -> None:
    """After a champion has moved: the cards of both versions say so. It only shows; what it lacks stops nobody."""
    for version in (answer.champion_version, answer.previous_version):
        if answer.promoted and version is not None:
            with suppress(EvergreenError):
                write(spec, version, stores)


def named(asked: str, stores: Stores) -> tuple[ModelSpec, Version]:
    """The spec and version of MODEL@VERSION, or of MODEL's champion."""
    name, _, number = asked.partition("@")
    spec = catalog.model(name)
    if number:
        if not number.isdigit():
            raise EvergreenError(f"{number!r} is no version; name a number such as {name}@1")
        return spec, stores.tracking.version(name, int(number))
    champion = stores.tracking.champion(name)
    if champion is None:
        raise EvergreenError(f"{name} has no champion; name a version such as {name}@1")
    return spec, champion


def put(
    version: Version, verdict: Verdict | None, details: Mapping[str, Any], spec: ModelSpec, stores: Stores
) -> Path:
    """As `write`, for a verdict that is not bound to its version yet."""
    facts = _facts(spec, version, verdict, details, stores)
    path = record.path_of(spec.name, version.version, stores)
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    text = card_text.markdown(facts)
    card, shown = folder / f"{CARD}.md", folder / f"{CARD}.html"
    record.put(card, text, stores)
    record.put(shown, as_page(f"{spec.name} version {version.version}", text), stores)
    stores.tracking.log_files(version.run_id, CARD, card, shown)
    if verdict is not None:
        record.put(path.with_suffix(".html"), page(verdict, details, facts.licence), stores)
        stores.tracking.log_files(version.run_id, "decision", path.with_suffix(".html"))
    stores.tracking.records.describe(spec.name, version.version, description(facts))
    return card


def description(facts: Facts) -> str:
    """The version in two lines, for MLflow's list of versions."""
    if facts.verdict is None:
        return "Not judged yet."
    found = facts.verdict.metrics.get("candidate", {})
    shown = ("mae", "r2") if facts.spec.task == "regression" else ("log_loss", "roc_auc")
    numbers = ", ".join(f"{name} {found[name]:.4f}" for name in shown if name in found)
    blocked = ", ".join(rule.name for rule in kept(facts.verdict)[:3])
    words = [f"{facts.verdict.decision.value} on {facts.verdict.rows:,} held-out rows", numbers, blocked]
    lines = ["; ".join(word for word in words if word) + "."]
    if facts.licence is not None and facts.licence.decision != Decision.PASS.value:
        lines.insert(0, f"{facts.licence.decision} by {facts.licence.by}: {facts.licence.why}")
    return "\n".join(lines)


def as_page(title: str, text: str) -> str:
    """Markdown as a page; HTML in it is shown, not obeyed."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    return f'{head(title)}<article class="card">{body}</article></main>\n'


def _facts(
    spec: ModelSpec, version: Version, verdict: Verdict | None, details: Mapping[str, Any], stores: Stores
) -> Facts:
    run = stores.tracking.run(version.run_id)
    aliased = ((name, stores.tracking.aliased(spec.name, name)) for name in (CHAMPION, PREVIOUS, ANCHOR))
    return Facts(
        spec=spec,
        version=version,
        verdict=verdict,
        details=details,
        licence=stores.tracking.licence(version) if LICENCE in version.tags else None,
        aliases=tuple(name for name, found in aliased if found and found.version == version.version),
        trained_at=datetime.fromtimestamp(run.started // 1000, UTC),
        run=dict(run.tags),
        counts=dict(run.metrics),
        parameters=dict(run.parameters),
        inputs=tuple(stores.tracking.inputs(version)),
    )
