"""What to tell of files that landed and of the features made of them."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from pipelines import catalog
from pipelines.alerting.alert import Alert, Well, key
from pipelines.alerting.kinds import Kind, Severity
from pipelines.contracts import IngestResult, as_json
from pipelines.stores import Stores

COLUMNS = re.compile(r"required column|no header|column .+ (stands twice|is nested)|\d+ columns;")
"""How the reasons begin that refuse a file for its columns."""
HELD = (Kind.FILE_REFUSED, Kind.FILE_SCHEMA, Kind.ROWS_QUARANTINED, Kind.FILE_WAITS)
LAST, ENOUGH = 30, 7
"""So many earlier files say what share of rows is usually held back; with fewer than ENOUGH it is none."""
ALWAYS_USUAL = 0.01
Result = dict[str, Any]


def ingested(dataset: str, results: Iterable[Result], stores: Stores) -> Iterator[Alert | Well]:
    """Each file that was refused, lost rows, waits or deserves a look; and those that nobody holds back any more."""
    bad = [each for each in results if each["state"] == "refused" or each["quarantined"] or each["reason"]]
    found = [_file(dataset, each, stores) for each in bad]
    yield from found
    yield from _released(dataset, {each.key for each in found}, stores)


def _file(dataset: str, result: Result, stores: Stores) -> Alert:
    kind = _kind(result)
    waits = kind is Kind.FILE_WAITS
    state = "waits" if waits else f"{result['state']}, {result['quarantined']} rows quarantined"
    unusual = kind is Kind.ROWS_QUARANTINED and _unusual(dataset, result, stores)
    return Alert(
        kind=kind,
        subject=_subject(dataset, result),
        what=f"{dataset}: {result['name']}: {state}",
        why=f"{result['reason'] or 'rows broke the dataset rules'}{unusual or ''}",
        look=f"evergreen quarantine show {result['digest'][:12]}" if result["digest"] else "evergreen status",
        dataset=dataset,
        said_severity=Severity.WARNING if unusual else None,
    )


def _kind(result: Result) -> Kind:
    reason = str(result["reason"] or "")
    if not result["digest"]:
        return Kind.FILE_ODD
    if result["state"] in ("seen", "claimed"):
        return Kind.FILE_WAITS
    if result["state"] == "refused":
        return Kind.FILE_SCHEMA if COLUMNS.match(reason) else Kind.FILE_REFUSED
    return Kind.ROWS_QUARANTINED if result["quarantined"] else Kind.FILE_ODD


def _subject(dataset: str, result: Result) -> str:
    return f"{dataset}/{result['digest'] or result['name']}"


def _unusual(dataset: str, result: Result, stores: Stores) -> str | None:
    """In words that more rows of a file are held back than of any of the newest files before it; None if not."""
    batches = stores.ledger.batches(dataset)
    before = [_share(as_json(b)) for b in batches if b.digest != result["digest"] and b.parsed][-LAST:]
    share, usual = _share(result), max(before, default=0.0) if len(before) >= ENOUGH else 0.0
    if share <= max(usual, ALWAYS_USUAL):
        return None
    return f"; {share:.1%} of its rows are held back, of earlier files {usual:.1%} at most"


def _share(result: Result) -> float:
    return float(result["quarantined"] / result["parsed"]) if result["parsed"] else 0.0


def _released(dataset: str, told: set[str], stores: Stores) -> Iterator[Alert | Well]:
    """Of the files that people were told of before: those still held back are told again when it is time."""
    begins = {kind: key(kind, f"{dataset}/") for kind in HELD}
    mine = [
        (kind, kept.key)
        for kept in stores.alerts.listed()
        for kind, begin in begins.items()
        if kept.key.startswith(begin) and kept.key not in told
    ]
    held = {b.digest: b for b in stores.ledger.quarantined(dataset)} if mine else {}
    for kind, name in mine:
        digest = name.removeprefix(begins[kind])
        yield _still(dataset, kind, held.get(digest), digest, stores)


def _still(dataset: str, kind: Kind, batch: IngestResult | None, digest: str, stores: Stores) -> Alert | Well:
    if batch is None or _kind(as_json(batch)) is not kind:
        return Well(kind, f"{dataset}/{digest}")
    return _file(dataset, as_json(batch), stores)


def computed(run: dict[str, Any], stores: Stores) -> Iterator[Alert | Well]:
    """Views whose checks failed, and those that were computed without; datasets that are late beyond patience."""
    found = [_view(alert) for alert in run["alerts"]]
    yield from found
    doubted = {each.key for each in found}
    for view in {name.partition("@")[0] for name in run["rows"]}:
        for kind in (Kind.FEATURES_DOUBTFUL, Kind.FEATURES_REFUSED):
            if key(kind, view) not in doubted:
                yield Well(kind, view)
    yield from late(stores)


def _view(alert: dict[str, str]) -> Alert:
    refused = alert["act"].startswith("Yes")
    view = alert["what"].removeprefix("feature view ").partition("@")[0]
    return Alert(
        kind=Kind.FEATURES_REFUSED if refused else Kind.FEATURES_DOUBTFUL,
        subject=view,
        what=alert["what"],
        why=alert["why"],
        look="the tab Evergreen of the DAG features, or evergreen features health",
        said_act=alert["act"],
    )


def late(stores: Stores) -> Iterator[Alert | Well]:
    """Each growing dataset: whether a model waits for it longer than the model's patience."""
    known: dict[str, datetime | None] = {
        name: stores.ledger.watermark(name) for name, spec in catalog.datasets().items() if not spec.reference
    }
    waiting: dict[str, Alert] = {}
    for spec in catalog.models().values():
        here = {name: at for name in spec.datasets if (at := known.get(name)) is not None}
        last = max(here.values(), default=None)
        for name, at in here.items():
            if last is not None and at < last - spec.training.patience:
                waiting.setdefault(name, _late(name, at, last, spec.name))
    for name in known:
        yield waiting.get(name) or Well(Kind.DATASET_LATE, name)


def _late(dataset: str, at: datetime, last: datetime, model: str) -> Alert:
    return Alert(
        kind=Kind.DATASET_LATE,
        subject=dataset,
        what=f"{dataset} is late",
        why=f"nothing after {at:%Y-%m-%d %H:%M} UTC landed of it, but of what {model} reads beside it until"
        f" {last:%Y-%m-%d %H:%M} UTC",
        look="evergreen status",
        since=at,
        model=model,
        dataset=dataset,
    )
