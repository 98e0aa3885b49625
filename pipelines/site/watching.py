"""What the monitor said last of a model, column by column."""

import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.catalog import ModelSpec
from pipelines.contracts import DecayFinding, DomainFinding, DriftFinding, MonitorReport
from pipelines.site.facts import Feature, Watched
from pipelines.stores import Stores
from pipelines.stores.tracking.registry import CHAMPION


def watched(spec: ModelSpec, stores: Stores) -> Watched | None:
    """The newest report; None before there is one."""
    path = stores.files.at("reports", "monitor", spec.name, "latest.json")
    if not path.is_file():
        return None
    written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return Watched(report(json.loads(path.read_text())), written, stores.tracking.named(spec.name, CHAMPION))


def report(said: dict[str, Any]) -> MonitorReport:
    """A report as it was written; what an older release did not write is as if it had found nothing."""
    known = {each.name for each in fields(MonitorReport)}
    plain = {name: value for name, value in said.items() if name in known}
    findings = tuple(DriftFinding(**each) for each in plain.get("findings", ()))
    decays = {name: DecayFinding(**said[name]) for name in ("decay", "given") if said.get(name)}
    typed = {"as_of": datetime.fromisoformat(said["as_of"]), "findings": findings, "domain": _domain(said)}
    return MonitorReport(**plain | typed | decays)


def _domain(said: dict[str, Any]) -> DomainFinding | None:
    told = said.get("domain")
    if not told:
        return None
    return DomainFinding(**told | {name: tuple(told[name]) for name in ("past", "columns")})


def features(spec: ModelSpec, stores: Stores) -> tuple[Feature, ...]:
    """The inputs: those whose rows moved first, then those that are gone, then the others as the spec has them."""
    found = watched(spec, stores)
    last = found.report if found else None
    views = {f"{v}__{name}": v for v, names in spec.features_by_view.items() for name in names}
    names = dict.fromkeys([*spec.entities, *spec.request, *(name for name in views if "*" not in name)])
    if last is not None:
        names |= dict.fromkeys([*last.columns, *last.vanished, *last.left_out])
    names.pop("label", None)
    inputs = [_feature(name, views, last) for name in names]
    return tuple(sorted(inputs, key=lambda each: (not each.moved, not each.note.startswith("vanished"))))


def _feature(name: str, views: dict[str, str], last: MonitorReport | None) -> Feature:
    view = views.get(name) or (name.partition("__")[0] if "__" in name else None)
    if last is None:
        return Feature(name, view)
    gone = f"vanished: {last.vanished[name]}" if name in last.vanished else last.left_out.get(name, "")
    return Feature(name, view, tuple(each for each in last.findings if each.column == name), gone)


def page(name: str, stores: Stores) -> Path | None:
    """The file of a model's newest report: one of its own folder, whatever the record says; None without any."""
    newest = stores.files.at("reports", "monitor", name, "latest.json")
    try:
        said = str(json.loads(newest.read_text())["html"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    path = stores.files.fetch(newest.with_name(Path(said).name))
    return path if path.is_file() and path.suffix == ".html" else None
