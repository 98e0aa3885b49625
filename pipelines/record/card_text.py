"""A version's card in Markdown."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipelines.catalog import ModelSpec
from pipelines.catalog.gate_spec import METRICS
from pipelines.contracts import Decision, Rule, Verdict
from pipelines.gate.report.charts import number
from pipelines.gate.report.page import groups, kept
from pipelines.stores.audit.licences import Licence
from pipelines.stores.tracking.registry import Version

UNKNOWN = "not recorded"
MOST = 15


@dataclass(frozen=True)
class Facts:
    """All that is known of one version. Who was not judged has no verdict; what does not serve has no licence."""

    spec: ModelSpec
    version: Version
    verdict: Verdict | None
    details: Mapping[str, Any]
    licence: Licence | None
    aliases: tuple[str, ...]
    trained_at: datetime
    run: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()


def markdown(facts: Facts) -> str:
    """The card: how the version stands, what a person wrote of the model, then the facts."""
    parts = [
        f"# {facts.spec.name} version {facts.version.version}",
        _standing(facts),
        _written(facts),
        _section("How it was trained", _trained(facts)),
        *_judged(facts),
        _section("What it goes by", _importance(facts.details.get("importance") or {})),
        _section("What it is made from", _lineage(facts)),
        _section("What it is asked", _asked(facts)),
        _section("Parameters", _pairs(facts.parameters)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _standing(facts: Facts) -> str:
    """In one glance: the verdict, whether it may serve and who let it, and which alias names it."""
    verdict, licence = facts.verdict, facts.licence
    lines = [f"**{verdict.decision.value}** said its gate." if verdict else "**It was not judged yet.**"]
    if verdict and kept(verdict):
        lines.append("In the way: " + _text("; ".join(rule.name for rule in kept(verdict))) + ".")
    if licence is None:
        lines.append("It has no licence, so it does not serve.")
    elif licence.decision == Decision.PASS.value:
        lines.append(f"It may serve: it passed its gate, licensed {licence.at:%Y-%m-%d %H:%M} UTC.")
    else:
        lines.append(
            f"**{_text(licence.decision)}**: it may serve because **{_text(licence.by)}** let it, "
            f"{licence.at:%Y-%m-%d %H:%M} UTC, with this reason: “{_text(licence.why)}”"
        )
    lines += [f"It is the {' and the '.join(facts.aliases)}."] if facts.aliases else []
    return "\n".join(f"> {line}  " for line in lines)


def _written(facts: Facts) -> str:
    """What a person wrote in CARD.md, under this card's own headings."""
    path = facts.spec.folder / "CARD.md"
    if not path.exists():
        return f"Nobody wrote about this model yet; {facts.spec.name}/CARD.md is the place.\n\n{facts.spec.description}"
    lines = path.read_text().strip().splitlines()
    body = [f"#{line}" if line.startswith("#") else line for line in lines if not line.startswith("# ")]
    return "\n".join(body).strip()


def _trained(facts: Facts) -> str:
    tags, counts = facts.version.tags, facts.counts
    rows = counts.get("rows_train")
    share = counts.get("positive_share")
    return _pairs(
        {
            "when": f"{facts.trained_at:%Y-%m-%d %H:%M} UTC",
            "knows data up to": f"{facts.version.as_of:%Y-%m-%d %H:%M} UTC",
            "labels of": f"the {facts.spec.training.window.days} days before, the newest "
            f"{facts.spec.training.holdout.days} held out",
            "rows learned from": f"{rows:,.0f}" if rows else UNKNOWN,
            "of them positive": f"{share:.1%}" if share and facts.spec.task == "classification" else "",
            "why": tags.get("reasons", UNKNOWN),
            "woken by": tags.get("trigger", UNKNOWN),
            "policy": tags.get("policy", ""),
            "new to it": tags.get("batches", ""),
            "owner": facts.spec.owner,
        }
    )


def _judged(facts: Facts) -> list[str]:
    """What the gate found, group by group."""
    verdict = facts.verdict
    if verdict is None:
        return []
    found = groups(verdict.rules)
    titles = {
        "comparisons": "Against the others",
        "classes": "Classes",
        "slices": "Slices",
        "calibration": "Calibration",
        "fairness": "Fairness",
        "behaviour": "Behaviour",
        "serving": "Size and latency where it serves",
        "others": "Bounds and facts",
    }
    tables = {
        "classes": _confusion(facts.details.get("classes")),
        "fairness": _groups(facts.details.get("fairness") or ()),
    }
    return [
        _section("The gate", _gate(verdict, facts.details)),
        *(
            _section(title, "\n\n".join(filter(None, (_rules(found[name]), tables.get(name)))))
            for name, title in titles.items()
        ),
    ]


def _gate(verdict: Verdict, details: Mapping[str, Any]) -> str:
    facts = _pairs(
        {
            "decision": f"{verdict.decision.value}, {len(verdict.rules)} rules",
            "judged": f"{verdict.judged_at:%Y-%m-%d %H:%M} UTC, by {details.get('by', UNKNOWN)}",
            "on": details.get("held_out", f"{verdict.rows:,} held-out rows"),
            "champion then": verdict.champion_version or "none yet",
        }
    )
    names = [name for name in METRICS if any(name in found for found in verdict.metrics.values())]
    rows = [[name, *(number(found.get(name)) for found in verdict.metrics.values())] for name in names]
    return "\n\n".join(filter(None, (facts, _table(["metric", *verdict.metrics], rows))))


def _rules(rules: Sequence[Rule]) -> str:
    rows = [[rule.name, rule.decision.value, rule.explanation] for rule in rules]
    return _table(["rule", "", "what was seen"], rows)


def _confusion(found: Mapping[str, Any] | None) -> str:
    """Of a multiclass: held-out rows by what they are, down, and what is predicted, across."""
    if not found:
        return ""
    rows = [[name, *counts] for name, counts in zip(found["names"], found["confusion"], strict=True)]
    return _table(["is, and is predicted as", *found["names"]], rows)


def _groups(found: Iterable[Mapping[str, Any]]) -> str:
    tables = []
    for each in found:
        names = [name for name in (each["groups"] or [{}])[0] if name not in ("group", "judged")]
        rows = [
            [
                each_["group"] + ("" if each_["judged"] else " (too small to judge)"),
                *(number(each_[n]) for n in names),
            ]
            for each_ in each["groups"]
        ]
        tables.append(_table([each["group"], *(name.replace("_", " ") for name in names)], rows))
    return "\n\n".join(tables)


def _importance(found: Mapping[str, Any]) -> str:
    if not found.get("columns"):
        return ""
    note = (
        f"How much {found['loss']} grows on {found['rows']:,} held-out rows when a column, or a feature view as a "
        f"whole, is shuffled ({found['repeats']} times). Columns that say the same share their importance."
    )
    tables = [
        _table(
            [what, "grows by", "spread"], [[c["name"], number(c["mean"]), number(c["spread"])] for c in part]
        )
        for what, part in (("view", found.get("views") or []), ("column", found["columns"][:MOST]))
    ]
    return "\n\n".join([note, *filter(None, tables)])


def _lineage(facts: Facts) -> str:
    tags, run = facts.version.tags, facts.run
    tables = json.loads(run.get("delta_versions", "{}"))
    return _pairs(
        {
            "model file": _code(facts.version.digest),
            "training set": _code(tags.get("training_set", UNKNOWN)),
            "its rows": _code(tags.get("training_rows", UNKNOWN)),
            "tables": ", ".join(f"{name} at {version}" for name, version in tables.items()) or UNKNOWN,
            "feature views": ", ".join(f"{view} v{n}" for view, n in facts.version.views.items()) or UNKNOWN,
            "commit": _code(run.get("git_commit", UNKNOWN)),
            "spec": _code(tags.get("spec_digest", UNKNOWN)),
            "environment": _code(run.get("lock_digest", UNKNOWN)),
            "libraries": ", ".join(f"{n} {v}" for n, v in json.loads(tags.get("libraries", "{}")).items())
            or UNKNOWN,
            "MLflow run": _code(facts.version.run_id),
        }
    )


def _asked(facts: Facts) -> str:
    """The columns it takes: who is asked about, what the request says, and features by their view."""
    spec, views = facts.spec, dict[str, list[str]]()
    for name in spec.features_among(facts.inputs):
        view, _, feature = name.partition("__")
        views.setdefault(view, []).append(feature)
    given = {
        name: f"{field.type}: {field.description}"
        for name, field in {**spec.entities, **spec.request}.items()
    }
    return _pairs({**given, **{f"view {view}": ", ".join(names) for view, names in views.items()}})


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _pairs(pairs: Mapping[str, Any]) -> str:
    return _table(["", ""], [[name, value] for name, value in pairs.items() if value not in (None, "")])


def _table(above: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return ""
    lines = [above, ["---"] * len(above), *rows]
    return "\n".join(f"| {' | '.join(_text(cell) for cell in line)} |" for line in lines)


def _code(value: str) -> str:
    return f"`{value}`" if value != UNKNOWN else value


def _text(value: Any) -> str:
    """One line that breaks no table and holds no HTML."""
    text = " ".join(str(value).split())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")
